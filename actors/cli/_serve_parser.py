"""The options of `actors serve`: ours, and the names that users of other servers type.

Rule: every option has an environment variable, ACTORS_SERVE_ and its name; the command line wins. What other
servers have and this one has not is in `_serve_answers`.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from typing import Any, Final

__all__ = ["CERT_REQS", "add_log", "add_log_level", "add_options", "from_environment"]

CERT_REQS: Final = {
    "none": "none",
    "optional": "optional",
    "required": "required",
    "0": "none",
    "1": "optional",
    "2": "required",
    "CERT_NONE": "none",
    "CERT_OPTIONAL": "optional",
    "CERT_REQUIRED": "required",
}
"""What other servers call it, and what it is here."""
_PREFIX: Final = "ACTORS_SERVE_"
_TRUE: Final = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add all options of `actors serve` but --reload."""
    _add_app(parser)
    _add_http2(parser)
    _add_environment(parser)
    add_log(parser)
    _add_access_log(parser)
    _add_headers(parser)
    _add_address(parser)
    _add_processes(parser)
    _add_loop(parser)
    _add_recycling(parser)
    _add_ready(parser)
    _add_shares(parser)
    _add_request_times(parser)
    _add_limits(parser)
    _add_websockets(parser)
    _add_tls(parser)
    _add_client_certs(parser)
    _add_proxy(parser)


def from_environment(
    parser: argparse.ArgumentParser, environ: Mapping[str, str] = os.environ
) -> None:
    """Take the default of each option from its environment variable, where that is set.

    WEB_CONCURRENCY, which platforms set, is the number of processes if nothing else says it.
    """
    for action in parser._actions:  # noqa: SLF001 - argparse has no other way to list them
        names = [name for name in action.option_strings if name.startswith("--")]
        if not names or action.dest in ("help", "reload"):
            continue
        for name in names:
            variable = _PREFIX + name.strip("-").replace("-", "_").upper()
            if variable in environ:
                _set_default(parser, action, variable, environ[variable])
    if parser.get_default("nodes") == "max" and (count := environ.get("WEB_CONCURRENCY")):
        parser.set_defaults(nodes=count)


def _set_default(
    parser: argparse.ArgumentParser, action: argparse.Action, variable: str, text: str
) -> None:
    value: Any = text
    if action.nargs == 0 or isinstance(action, argparse.BooleanOptionalAction):
        value = _TRUE.get(text.lower())
        if value is None:
            parser.error(f"{variable} must be 1 or 0, got {text!r}")
    elif action.type is not None:
        value = _converted(parser, action.type, variable, text)
    if action.choices is not None and value not in action.choices:
        parser.error(f"{variable} must be one of {', '.join(action.choices)}, got {text!r}")
    if isinstance(action.default, list):
        value = [value]
    parser.set_defaults(**{action.dest: value})


def _converted(parser: argparse.ArgumentParser, convert: Any, variable: str, text: str) -> Any:
    try:
        return convert(text)
    except (ValueError, argparse.ArgumentTypeError):
        kind = getattr(convert, "__name__", "value")
        parser.error(f"{variable}: invalid {kind} value: {text!r}")


def _add_app(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("app", metavar="APP", help="pkg.mod:app, an ASGI or WSGI application")
    parser.add_argument(
        "--interface",
        choices=("auto", "asgi", "asgi3", "wsgi"),
        default="auto",
        help="how APP is called; default: auto, as it takes three or two arguments",
    )
    parser.add_argument(
        "--threads",
        "--blocking-threads",
        metavar="N",
        type=int,
        default=8,
        help="threads of a process that run a WSGI application; default: %(default)s",
    )
    parser.add_argument(
        "--factory",
        action="store_true",
        help="call APP without arguments, once per node, to get the application",
    )
    parser.add_argument(
        "--app-dir", metavar="DIR", help="look for APP in this folder; default: the current one"
    )
    parser.add_argument(
        "--root-path",
        "--url-path-prefix",
        metavar="PATH",
        default="",
        help="the path under which a proxy serves APP",
    )
    parser.add_argument(
        "--lifespan",
        choices=("auto", "on", "off"),
        default="auto",
        help="whether APP has a lifespan: on makes one required, off runs none; default: auto",
    )


def _add_http2(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--http2",
        action=argparse.BooleanOptionalAction,
        default=False,
        help="serve HTTP/2 as well, by ALPN where there is TLS; needs the extra http2; default: no",
    )


def _add_environment(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--env-file",
        "--env-files",
        metavar="FILE",
        action="append",
        default=[],
        help="set the variables of this file, NAME=VALUE in each line, that are not set; repeatable",
    )


def add_log_level(parser: argparse.ArgumentParser) -> None:
    """Add the option of the level, which `actors join` has as well."""
    parser.add_argument(
        "--log-level",
        choices=("debug", "info", "warning", "error", "critical"),
        help="the lowest level of the log; default: ACTORS_LOG, or info",
    )


def add_log(parser: argparse.ArgumentParser) -> None:
    """Add the options of the log that `actors run` has as well."""
    add_log_level(parser)
    parser.add_argument(
        "--log-config",
        "--log-config-json",
        metavar="FILE",
        help="configure `logging` in every node by this file: a dict for logging.config in .json or .toml, "
        "or the format of logging.config.fileConfig",
    )
    parser.add_argument(
        "--tracing",
        action="store_true",
        help="spans of OpenTelemetry for requests, asks and handlers; needs the extra otel",
    )


def _add_access_log(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--access-log",
        action=argparse.BooleanOptionalAction,
        default=False,
        help="log every request, as `request` with client, method, path, status and seconds; default: no",
    )


def _add_address(parser: argparse.ArgumentParser) -> None:
    address = parser.add_mutually_exclusive_group()
    address.add_argument(
        "--bind",
        "-b",
        metavar="ADDRESS",
        help="HOST:PORT, [::]:PORT for IPv6 and IPv4, unix:/path or fd://NAME, an inherited socket "
        "(LISTEN_FDNAMES); default: 127.0.0.1:8000",
    )
    address.add_argument(
        "--fd",
        metavar="N",
        help="serve the listening socket inherited as this descriptor, from systemd or a shell",
    )
    address.add_argument(
        "--uds",
        metavar="PATH",
        help="serve this Unix socket: --bind unix:PATH",
    )
    parser.add_argument("--host", metavar="HOST", help="with --port, instead of --bind")
    parser.add_argument("--port", metavar="PORT", type=int, help="with --host, instead of --bind")
    parser.add_argument(
        "--backlog",
        metavar="N",
        type=int,
        default=1024,
        help="connections that wait in the kernel to be accepted; default: %(default)s",
    )


def _add_processes(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--nodes",
        "--workers",
        "-w",
        metavar="COUNT",
        default="max",
        help="number of processes, or max: one for each usable CPU, the default; WEB_CONCURRENCY",
    )
    parser.add_argument(
        "--preload",
        "--preload-app",
        action="store_true",
        help="import APP's module once for all processes, which are forked from that one: they share "
        "what it loads, and a killed one serves again at once",
    )


def _add_loop(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--loop",
        choices=("auto", "uvloop", "asyncio"),
        default="auto",
        help="the event loop of the processes; default: auto, uvloop where it is installed",
    )
    parser.add_argument(
        "--hang-after",
        "--timeout-worker-healthcheck",
        metavar="SECONDS",
        type=float,
        default=30.0,
        help="seconds without a sign of life after which a process is killed and started again; "
        "default: %(default)g",
    )
    parser.add_argument(
        "--shutdown",
        "--timeout-graceful-shutdown",
        "--graceful-timeout",
        "--workers-kill-timeout",
        metavar="SECONDS",
        type=float,
        help="seconds that a process has to finish its requests, when it is reloaded and when the "
        "service ends; default: 5, with --reload 1",
    )


def _add_headers(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--header",
        metavar="NAME:VALUE",
        action="append",
        default=[],
        help="a header of every response; repeatable",
    )
    parser.add_argument(
        "--date-header",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="whether responses have a Date; default: yes",
    )


def _add_ready(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--ready",
        metavar="CHECK",
        help="pkg.mod:check, a function that says whether its process may be given new connections; asked "
        "once a second",
    )


def _add_recycling(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--max-requests",
        "--limit-max-requests",
        metavar="N",
        type=int,
        help="requests after which a new process takes the place of one; default: no limit",
    )
    parser.add_argument(
        "--max-requests-jitter",
        "--limit-max-requests-jitter",
        metavar="N",
        type=int,
        default=0,
        help="up to N requests more, at random for each process; default: %(default)s",
    )
    parser.add_argument(
        "--lifetime",
        "--workers-lifetime",
        metavar="SECONDS",
        type=float,
        help="seconds after which a new process takes the place of one, up to a tenth of them earlier; "
        "default: no limit",
    )
    parser.add_argument(
        "--max-rss",
        "--workers-max-rss",
        metavar="MIB",
        type=int,
        help="MiB of memory above which a new process takes the place of one; default: no limit",
    )


def _add_shares(parser: argparse.ArgumentParser) -> None:
    shares = parser.add_mutually_exclusive_group()
    shares.add_argument(
        "--sticky",
        metavar="KEY",
        help="send all connections with the same key to one node: ip, proxy, sni, "
        "cookie:NAME (cookie:NAME:set sets it), query:NAME, header:NAME or path:SEGMENTS; "
        "a|b takes the first that is found",
    )
    parser.add_argument(
        "--sticky-learn",
        metavar="N",
        type=int,
        default=65_536,
        help="session ids of the application that --sticky remembers, for a cookie or header that "
        "its responses set; 0 for none; default: %(default)d",
    )
    shares.add_argument(
        "--policy",
        metavar="POLICY",
        help="least-connections (the default), round-robin, sticky=KEY, or reuse-port, where the "
        "kernel chooses",
    )


def _add_request_times(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--timeout",
        "-t",
        metavar="SECONDS",
        type=float,
        help="how long a request may take: then it is answered 504, or disconnected if its response has "
        "begun; not for WebSockets and event streams; default: no limit",
    )
    parser.add_argument(
        "--slow",
        metavar="SECONDS",
        type=float,
        help="report a request that runs for longer, with its stack: `request slow`; default: never",
    )
    parser.add_argument(
        "--timeout-send",
        metavar="SECONDS",
        type=float,
        default=60.0,
        help="after how long a client is disconnected that takes nothing of its response; default: %(default)g",
    )


def _add_limits(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--limit-concurrency",
        metavar="N",
        type=int,
        help="connections of a process beyond which requests are answered 503; default: no limit",
    )
    parser.add_argument(
        "--timeout-keep-alive",
        "--keep-alive",
        metavar="SECONDS",
        type=float,
        default=5.0,
        help="how long an idle connection stays open between two requests; default: %(default)g",
    )
    parser.add_argument(
        "--timeout-head",
        metavar="SECONDS",
        type=float,
        default=10.0,
        help="how long a client may take for a request's head; default: %(default)g",
    )
    parser.add_argument(
        "--timeout-body",
        metavar="SECONDS",
        type=float,
        default=60.0,
        help="how long a client may pause while it sends a body; default: %(default)g",
    )
    parser.add_argument(
        "--max-head",
        "--h11-max-incomplete-event-size",
        "--limit-request-line",
        metavar="BYTES",
        type=int,
        default=64 * 1024,
        help="how long a request's head may be; default: %(default)s",
    )


def _add_websockets(parser: argparse.ArgumentParser) -> None:
    for names, default, text in (
        ("--ws-ping-interval --websocket-ping-interval", 20.0, "seconds between two pings"),
        ("--ws-ping-timeout", 20.0, "seconds to wait for the answer to one"),
    ):
        parser.add_argument(
            *names.split(),
            metavar="SECONDS",
            type=float,
            default=default,
            help=f"{text}, 0 for never; default: %(default)g",
        )
    parser.add_argument(
        "--ws-max-size",
        "--websocket-max-message-size",
        metavar="BYTES",
        type=int,
        default=16 * 1024 * 1024,
        help="the longest message of a WebSocket; default: %(default)s",
    )
    parser.add_argument(
        "--ws-per-message-deflate",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="compress the messages of clients that can; default: yes",
    )


def _add_tls(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--certfile",
        "--ssl-certfile",
        "--ssl-certificate",
        metavar="FILE",
        help="serve TLS with this certificate (PEM); a changed file is read again at once",
    )
    parser.add_argument(
        "--keyfile",
        "--ssl-keyfile",
        metavar="FILE",
        help="its private key (PEM); default: CERTFILE",
    )
    parser.add_argument(
        "--ssl-keyfile-password",
        "--keyfile-password",
        metavar="TEXT",
        help="the password of the key; better in ACTORS_SERVE_SSL_KEYFILE_PASSWORD",
    )


def _add_client_certs(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--ssl-ca-certs",
        "--ssl-ca",
        "--ca-certs",
        metavar="FILE",
        help="serve clients with a certificate of these authorities only (PEM)",
    )
    parser.add_argument(
        "--ssl-cert-reqs",
        "--cert-reqs",
        "--verify-mode",
        metavar="WHETHER",
        choices=tuple(CERT_REQS),
        default="required",
        help="whether clients need a certificate, if --ssl-ca-certs is given: none, optional or required, "
        "the default; or 0, 1, 2",
    )
    parser.add_argument(
        "--ssl-ciphers",
        "--ciphers",
        metavar="LIST",
        help="the ciphers of TLS 1.2, as OpenSSL names them; default: OpenSSL's own",
    )


def _add_proxy(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--uds-permissions",
        metavar="MODE",
        type=_mode,
        help="the mode of the Unix socket, such as 660; default: that of a socket which is there "
        "already, or 666",
    )
    parser.add_argument(
        "--proxy-protocol",
        action="store_true",
        help="every connection begins with a PROXY header, and one without it is closed; only the proxy "
        "may be able to reach the address",
    )
    parser.add_argument(
        "--proxy-headers",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="believe X-Forwarded-For and -Proto of the proxies below; default: yes",
    )
    parser.add_argument(
        "--forwarded-allow-ips",
        metavar="ADDRESSES",
        help="proxies whose X-Forwarded-* headers are believed, with commas between: addresses, "
        "networks, unix, or * for all; default: FORWARDED_ALLOW_IPS, or 127.0.0.1,::1. Those of a "
        "Unix socket that not every user may write to are believed",
    )


def _mode(text: str) -> int:
    """Read the mode of a file as `chmod` does."""
    return int(text, 8)


_mode.__name__ = "mode"  # argparse names it in its error
