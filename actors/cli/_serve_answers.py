"""Options of uvicorn, gunicorn, hypercorn and granian that `actors serve` does not have, and what does it here.

Rule: a table, and one sentence each: what to type instead, or why there is nothing.
"""

from __future__ import annotations

from typing import Final

__all__ = ["answer_to_option"]

_TOPOLOGY: Final = "an option of a topology: `actors run pkg:topology`"
_NO_CHOICE: Final = "nothing: there is one, and it is the fastest installed"
_ONE_PROTOCOL: Final = "nothing: HTTP is read by one rule, that of llhttp in strict mode"
_LOGS: Final = (
    "--log-level and ACTORS_LOG_FORMAT=json|console; the handlers of an application are its own"
)
_REDIRECT: Final = "standard error, always: redirect it"
_ACCESS: Final = "--access-log: its lines are in the log, with named facts"
_SUPERVISOR: Final = "the task of systemd, a container or a shell that starts this command"
_SHELL: Final = "--env-file FILE, or the environment of the shell"
_FIGURES: Final = "`actors top` and `actors ps --json`"
_FILES: Final = "a route of the application with http.response.pathsend, or a proxy in front"
_RUNTIME: Final = "nothing: each process has one event loop in one thread"
_CONTROL: Final = "the control socket, in $XDG_RUNTIME_DIR/actors: `actors ps` finds the system"
_WORKER: Final = "--interface asgi, on asyncio, or wsgi, with --threads N"
_IDLE: Final = "--timeout-keep-alive SECONDS"
_TLS: Final = "TLS 1.2 and later, always; ciphers by --ssl-ciphers"
_HTTP2: Final = (
    "--http2, with TLS and without; a connection has 100 streams, and heads up to --max-head"
)
_ALWAYS: Final = "always so: nodes are supervised"
_CONFIG: Final = f"options, ACTORS_SERVE_... variables, or {_TOPOLOGY}"
_OTHERS: Final = {
    "--http": "HTTP/1.1 and WebSockets, and with --http2 HTTP/2",
    "--http-parser": _ONE_PROTOCOL,
    "--http-protocols": _HTTP2,
    "--http2-cleartext": _HTTP2,
    "--quic-bind": "not there: a proxy in front speaks HTTP/3 to clients",
    "--protocol": "HTTP, always: a proxy in front speaks uWSGI or FastCGI to clients",
    "--uwsgi-allow-from": "nothing: uWSGI's protocol is not spoken",
    "--ws": "nothing: an application that serves no WebSockets refuses them",
    "--ws-max-queue": "nothing: the client is not read while the application has messages to receive",
    "--worker-class": _WORKER,
    "-k": _WORKER,
    "--worker-connections": "--limit-concurrency N",
    "--backpressure": "--limit-concurrency N",
    "--blocking-threads-idle-timeout": "nothing: threads stay",
    "--worker-tmp-dir": "nothing: heartbeats are messages, no files",
    "--runtime-threads": _RUNTIME,
    "--runtime-mode": _RUNTIME,
    "--runtime-blocking-threads": _RUNTIME,
    "--task-impl": "asyncio.Task, always",
    "--reset-contextvars": "always so: each request has a context of its own",
    "--asgi-loop": "--loop",
    "--asgi-lifespan": "--lifespan",
    "--asgi-disconnect-grace-period": "--shutdown SECONDS",
    "--respawn-failed-workers": _ALWAYS,
    "--respawn-interval": f"backoff= of nodes(...), {_TOPOLOGY}",
    "--rss-sample-interval": "nothing: --max-rss is looked at once a second",
    "--rss-samples": "nothing: one look above --max-rss is enough",
    "--read-timeout": "--timeout-body SECONDS",
    "--http1-header-read-timeout": "--timeout-head SECONDS",
    "--http1-buffer-size": "--max-head BYTES",
    "--http1-keep-alive": _IDLE,
    "--http1-pipeline-flush": "always so: one write for each response",
    "--limit-request-field": "--max-head BYTES, for all of a head",
    "--limit-request-fields": "--max-head BYTES, for all of a head",
    "--log": _LOGS,
    "--logger-class": _LOGS,
    "--log-syslog": _REDIRECT,
    "--log-syslog-facility": _REDIRECT,
    "--log-syslog-prefix": _REDIRECT,
    "--log-syslog-to": _REDIRECT,
    "-R": "always so: what a node prints is in the log",
    "--error-log": _REDIRECT,
    "--error-logfile": _REDIRECT,
    "--log-file": _REDIRECT,
    "--capture-output": "always so: what a node prints is in the log",
    "--enable-stdio-inheritance": "always so: what a node prints is in the log",
    "--disable-redirect-access-to-syslog": _ACCESS,
    "--access-logfile": _ACCESS,
    "--access-logformat": _ACCESS,
    "--access-log-fmt": _ACCESS,
    "--use-colors": _LOGS,
    "--debug": "--log-level debug, --reload",
    "--spew": "nothing: `actors stack NODE` shows where each thread and task is",
    "--reload-engine": "the extra reload (watchfiles) if it is installed, else files are polled",
    "--reload-tick": "--reload-delay SECONDS",
    "--reload-ignore-worker-failure": "always so: code that does not start leaves the old code serving",
    "--env": _SHELL,
    "-e": _SHELL,
    "--server-header": "no such header, always; --header 'Server: NAME' sends one",
    "--server-name": "nothing: every Host is served; the application or a proxy chooses",
    "--ssl-version": _TLS,
    "--ssl-protocol-min": _TLS,
    "--ssl-crl": "nothing: have a proxy in front check the certificates of clients against it",
    "--ssl-client-verify": "--ssl-cert-reqs required, with --ssl-ca-certs FILE",
    "--do-handshake-on-connect": "always so",
    "--suppress-ragged-eofs": "always so",
    "--proxy-allow-from": "whoever can reach the address of --proxy-protocol is believed: bind it to where "
    "only the proxy is",
    "--forwarder-headers": "nothing: headers with an underscore in the name are none of a WSGI environment",
    "--header-map": "nothing: headers with an underscore in the name are none of a WSGI environment",
    "--casefold-http-method": _ONE_PROTOCOL,
    "--permit-obsolete-folding": _ONE_PROTOCOL,
    "--permit-unconventional-http-method": _ONE_PROTOCOL,
    "--permit-unconventional-http-version": _ONE_PROTOCOL,
    "--strip-header-spaces": _ONE_PROTOCOL,
    "--no-sendfile": "nothing: sendfile is not used",
    "--daemon": _SUPERVISOR,
    "-D": _SUPERVISOR,
    "--user": _SUPERVISOR,
    "-u": _SUPERVISOR,
    "--group": _SUPERVISOR,
    "-g": _SUPERVISOR,
    "--initgroups": _SUPERVISOR,
    "--umask": f"--uds-permissions MODE; else {_SUPERVISOR}",
    "-m": f"--uds-permissions MODE; else {_SUPERVISOR}",
    "--chroot": _SUPERVISOR,
    "--pid": _CONTROL,
    "--pid-file": _CONTROL,
    "-p": _CONTROL,
    "--control-socket": _CONTROL,
    "--control-socket-mode": "nothing: its folder is for its user alone",
    "--name": "the name of each node, set already",
    "-n": "the name of each node, set already",
    "--process-name": "the name of each node, set already",
    "--config": _CONFIG,
    "-c": _CONFIG,
    "--check-config": "nothing: what is wrong with options is said before anything starts",
    "--print-config": "nothing: `actors ps` shows what runs",
    "--chdir": "--app-dir DIR",
    "--working-dir": "--app-dir DIR",
    "--pythonpath": "--app-dir DIR, or PYTHONPATH",
    "--paste": "a module with `app = paste.deploy.loadapp(...)`",
    "--paster": "a module with `app = paste.deploy.loadapp(...)`",
    "--paste-global": "a module with `app = paste.deploy.loadapp(...)`",
    "--dirty-app": f"pool(...) or a group of nodes, {_TOPOLOGY}",
    "--reuse-port": "--policy reuse-port",
    "--enable-backlog-metric": _FIGURES,
    "--metrics": _FIGURES,
    "--statsd-host": _FIGURES,
    "--statsd-prefix": _FIGURES,
    "--dogstatsd-tags": _FIGURES,
    "--insecure-bind": f"a second listen(...), {_TOPOLOGY}",
    "--fd-name": "--bind fd://NAME",
    "--no-factory": "so without --factory",
    "--no-reload": "so without --reload",
}
_FAMILIES: Final = {
    "--http2-": _HTTP2,
    "--dirty-": f"pool(...) or a group of nodes, {_TOPOLOGY}",
    "--metrics-": _FIGURES,
    "--static-path-": _FILES,
}
"""What options of a common beginning have here."""


def answer_to_option(option: str) -> str:
    """Return what does here what an option of another server does there; "" if nothing is known of it."""
    name = option.partition("=")[0]
    for plain in (name, name.replace("--no-", "--", 1)):
        if plain in _OTHERS:
            return _OTHERS[plain]
        for family, answer in _FAMILIES.items():
            if plain.startswith(family):
                return answer
    return ""
