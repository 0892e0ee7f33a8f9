"""Every option of uvicorn, gunicorn, hypercorn and granian is taken, or answered with what does it here."""

from pathlib import Path

import pytest

from actors.cli._failure import CommandFailed
from actors.cli._parser import parse
from actors.cli._serve_answers import answer_to_option
from actors.cli.server.env_file import load_variables
from actors.cli.server.serve import serve_topology
from actors.routing import Asgi, Listener
from tests.cli.running_command import ROOT
from tests.routing.certificates import Certified, authority

FLAGS = {
    "uvicorn 0.54": """
        --access-log --app-dir --backlog --date-header --env-file --factory --fd
        --forwarded-allow-ips --h11-max-incomplete-event-size --header --help --host --http
        --http2 --interface --lifespan --limit-concurrency --limit-max-requests
        --limit-max-requests-jitter --log-config --log-level --loop --no-access-log
        --no-date-header --no-proxy-headers --no-server-header --no-use-colors --port
        --proxy-headers --reload --reload-delay --reload-dir --reload-exclude
        --reload-include --reset-contextvars --root-path --server-header --ssl-ca-certs
        --ssl-cert-reqs --ssl-certfile --ssl-ciphers --ssl-keyfile --ssl-keyfile-password
        --ssl-version --timeout-graceful-shutdown --timeout-keep-alive
        --timeout-worker-healthcheck --uds --use-colors --version --workers --ws
        --ws-max-queue --ws-max-size --ws-per-message-deflate --ws-ping-interval
        --ws-ping-timeout
    """,
    "gunicorn 27.0": """
        --access-logfile --access-logformat --asgi-disconnect-grace-period --asgi-lifespan
        --asgi-loop --backlog --bind --ca-certs --capture-output --casefold-http-method
        --cert-reqs --certfile --chdir --check-config --ciphers --config --control-socket
        --control-socket-mode --daemon --dirty-app --dirty-graceful-timeout --dirty-threads
        --dirty-timeout --dirty-workers --disable-redirect-access-to-syslog
        --do-handshake-on-connect --dogstatsd-tags --enable-backlog-metric
        --enable-stdio-inheritance --env --error-logfile --forwarded-allow-ips
        --forwarder-headers --graceful-timeout --group --header-map --help --http-parser
        --http-protocols --http2-cleartext --http2-initial-window-size
        --http2-max-concurrent-streams --http2-max-frame-size --http2-max-header-list-size
        --initgroups --keep-alive --keyfile --limit-request-field --limit-request-fields
        --limit-request-line --log-config --log-config-json --log-file --log-level
        --log-syslog --log-syslog-facility --log-syslog-prefix --log-syslog-to
        --logger-class --max-requests --max-requests-jitter --name --no-control-socket
        --no-sendfile --paste --paste-global --paster --permit-obsolete-folding
        --permit-unconventional-http-method --permit-unconventional-http-version --pid
        --preload --print-config --protocol --proxy-allow-from --proxy-protocol --pythonpath
        --reload --reload-engine --reload-extra-file --reuse-port --root-path --spew
        --ssl-version --statsd-host --statsd-prefix --strip-header-spaces
        --suppress-ragged-eofs --threads --timeout --umask --user --uwsgi-allow-from
        --version --websocket-max-message-size --worker-class --worker-connections
        --worker-tmp-dir --workers -D -R -b -c -e -g -h -k -m -n -p -t -u -v -w
    """,
    "hypercorn 0.18": """
        --access-log --access-logfile --access-logformat --backlog --bind --ca-certs
        --cert-reqs --certfile --ciphers --config --daemon --debug --error-log
        --error-logfile --graceful-timeout --group --help --insecure-bind --keep-alive
        --keyfile --keyfile-password --log-config --log-file --log-level --max-requests
        --max-requests-jitter --pid --quic-bind --read-timeout --reload --root-path
        --server-name --statsd-host --statsd-prefix --umask --user --verify-mode
        --websocket-ping-interval --worker-class --workers -D -b -c -g -h -k -m -p -u -w
    """,
    "granian 2.8": """
        --access-log --access-log-fmt --backlog --backpressure --blocking-threads
        --blocking-threads-idle-timeout --env-files --factory --help --host --http
        --http1-buffer-size --http1-header-read-timeout --http1-keep-alive
        --http1-pipeline-flush --http2-adaptive-window
        --http2-initial-connection-window-size --http2-initial-stream-window-size
        --http2-keep-alive-interval --http2-keep-alive-timeout
        --http2-max-concurrent-streams --http2-max-frame-size --http2-max-headers-size
        --http2-max-send-buffer-size --interface --log --log-config --log-level --loop
        --metrics --metrics-address --metrics-port --metrics-scrape-interval --no-access-log
        --no-factory --no-http1-keep-alive --no-http1-pipeline-flush
        --no-http2-adaptive-window --no-log --no-metrics --no-reload
        --no-reload-ignore-worker-failure --no-respawn-failed-workers --no-ssl-client-verify
        --no-ws --pid-file --port --process-name --reload --reload-ignore-dirs
        --reload-ignore-paths --reload-ignore-patterns --reload-ignore-worker-failure
        --reload-paths --reload-tick --respawn-failed-workers --respawn-interval
        --rss-sample-interval --rss-samples --runtime-blocking-threads --runtime-mode
        --runtime-threads --ssl-ca --ssl-certificate --ssl-client-verify --ssl-crl
        --ssl-keyfile --ssl-keyfile-password --ssl-protocol-min --static-path-dir-to-file
        --static-path-expires --static-path-mount --static-path-route --task-impl --uds
        --uds-permissions --url-path-prefix --version --workers --workers-kill-timeout
        --workers-lifetime --workers-max-rss --working-dir --ws
    """,
}
"""As their ``--help`` lists them."""
SAID_BY_ALL = {"--help", "-h", "--version", "-v"}


def made(*arguments: str) -> Listener:
    [listener] = serve_topology(parse(["serve", "p:a", *arguments])).listeners
    return listener


@pytest.mark.parametrize("server", FLAGS)
def test_each_option_of_another_server_is_taken_or_answered(server: str) -> None:
    unanswered = []
    for flag in FLAGS[server].split():
        if flag in SAID_BY_ALL or answer_to_option(flag):
            continue
        try:
            parse(["serve", "p:a", flag])
        except CommandFailed as error:
            if "does not take" in str(error):
                unanswered.append(flag)
    assert unanswered == []


@pytest.mark.parametrize("server", FLAGS)
def test_the_page_about_other_servers_has_each_option_with_its_answer(server: str) -> None:
    page = (ROOT / "docs" / "coming-from" / "servers.md").read_text(encoding="utf-8")
    part = page.partition(f"## {server}\n")[2].partition("\n## ")[0]
    for flag in FLAGS[server].split():
        answer = answer_to_option(flag).replace("|", "\\|")
        assert f"`{flag}`" in part
        assert not answer or f"| `{flag}` | {answer} |" in part


def test_an_option_is_not_both_taken_and_answered() -> None:
    both = []
    for flag in {flag for flags in FLAGS.values() for flag in flags.split()} - SAID_BY_ALL:
        try:
            parse(["serve", "p:a", flag])
        except CommandFailed as error:
            if answer_to_option(flag) and "here that is" not in str(error):
                both.append(flag)
        else:
            if answer_to_option(flag):
                both.append(flag)
    assert both == []


def test_what_they_do_is_done() -> None:
    arguments = (
        *("--header", "X-Frame-Options: DENY", "--header", "x-b:2", "--no-date-header"),
        *("--no-ws-per-message-deflate", "--proxy-protocol", "--timeout-worker-healthcheck=7"),
        *("--loop=asyncio", "--interface=asgi3", "--url-path-prefix=/x", "--threads=3"),
        *("--http2", "--timeout=9", "--slow=2", "--websocket-ping-interval=3"),
    )
    topology = serve_topology(parse(["serve", "p:a", *arguments]))
    [listener], [group] = topology.listeners, topology.nodes
    assert (group.uvloop, group.hang_after, listener.proxy_protocol) == (False, 7, True)
    assert listener.handler == Asgi(
        app="p:a",
        headers=(("X-Frame-Options", "DENY"), ("x-b", "2")),
        date_header=False,
        ws_deflate=False,
        root_path="/x",
        threads=3,
        http2=True,
        timeout=9,
        slow=2,
        ws_ping_interval=3,
    )


@pytest.mark.parametrize(
    "reqs, wanted",
    [((), "required"), (("--ssl-cert-reqs=1",), "optional"), (("--verify-mode=CERT_NONE",), None)],
)
def test_certificates_of_clients_are_asked_for(
    reqs: tuple[str, ...], wanted: str | None, tmp_path: Path
) -> None:
    certified, ca = Certified(tmp_path), tmp_path / "ca.pem"
    authority().cert_pem.write_to_path(ca)
    files = [f"--{name}={path}" for name, path in certified.files.items()]
    tls = made(*files, f"--ca-certs={ca}", "--ciphers=ECDHE+AESGCM", *reqs).tls
    assert tls is not None
    assert tls.ciphers == "ECDHE+AESGCM"
    assert (tls.client_ca, tls.client_certs) == (
        (str(ca), wanted) if wanted else (None, "required")
    )


def test_a_file_sets_the_variables_that_are_not_set(tmp_path: Path) -> None:
    file = tmp_path / "env"
    file.write_text(
        "# database\n\nexport A=1\nB = 'two words' \nC=\"x=y\"\nD=plain # why\nE=\nSET=no\n"
    )
    environ = {"SET": "yes"}
    load_variables(str(file), environ)
    assert environ == {"A": "1", "B": "two words", "C": "x=y", "D": "plain", "E": "", "SET": "yes"}


def test_the_mark_that_some_editors_begin_a_file_with_is_of_no_name(tmp_path: Path) -> None:
    file = tmp_path / "env"
    file.write_text("A=1\n", encoding="utf-8-sig")
    environ: dict[str, str] = {}
    load_variables(str(file), environ)
    assert environ == {"A": "1"}


def test_a_variable_that_no_process_can_have_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "env"
    file.write_text("A=1\nB=a\0b\n")
    with pytest.raises(CommandFailed, match="cannot have a NUL in a name or value, got B="):
        load_variables(str(file), {})


def test_a_file_that_sets_nothing_is_refused_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "env"
    file.write_text("A=1\nnonsense\n")
    with pytest.raises(CommandFailed, match="line 2 is not NAME=VALUE: 'nonsense'"):
        load_variables(str(file), {})
    with pytest.raises(CommandFailed, match="No such file"):
        load_variables(str(tmp_path / "other"), {})
