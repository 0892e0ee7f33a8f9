"""`actors serve`: the topology that serves an ASGI application on several nodes."""

from __future__ import annotations

import os
import sys
from argparse import Namespace
from importlib.util import find_spec
from typing import Any, Final

from actors._base.cpus import usable_cpus
from actors._base.errors import InvalidSpec
from actors._system.topology import Topology
from actors.cli._failure import WRONG, CommandFailed, is_count
from actors.cli._serve_parser import CERT_REQS
from actors.nodes import NodesSpec, nodes
from actors.routing import Asgi, Listener, Policy, Sticky, key_from, listen, policy_from

__all__ = ["serve_topology"]

_GROUP: Final = "web"
_SHUTDOWN: Final = 5.0
"""Seconds that a process has to finish its requests."""
_DEVELOPMENT_SHUTDOWN: Final = 1.0
"""Shorter, because a developer waits for the old process after each change."""
_DEFAULT_HOST: Final = "127.0.0.1"
_DEFAULT_PORT: Final = 8000
_DEFAULT_ADDRESS: Final = f"{_DEFAULT_HOST}:{_DEFAULT_PORT}"
_MIB: Final = 2**20
_NO_PROCESSES: Final = (
    f"actors serve: warning: there are no process nodes on {sys.platform}: the application runs in one "
    "thread of this process. That is for development, and untested; in production use Linux"
)
_REQUIRED: Final = ("httptools", "websockets")


def serve_topology(options: Namespace) -> Topology:
    """Return the topology that `actors serve` runs with these options.

    Raises:
        CommandFailed: a value is wrong, or a package that this needs is not installed.
    """
    missing = [name for name in _REQUIRED if find_spec(name) is None]
    if missing:
        raise CommandFailed(
            f"actors serve needs {', '.join(missing)}: pip install 'actors-framework[web]'"
        )
    try:
        return Topology(nodes=[_nodes(options)], listeners=[_listener(options)])
    except InvalidSpec as error:
        raise CommandFailed(str(error), WRONG) from error


def _nodes(options: Namespace) -> NodesSpec:
    shutdown = options.shutdown
    if shutdown is None:
        shutdown = _DEVELOPMENT_SHUTDOWN if options.reload else _SHUTDOWN
    count = _count(options.nodes)
    if not hasattr(os, "pidfd_open"):
        # The options of processes have no meaning there; what limits requests has.
        print(_NO_PROCESSES, file=sys.stderr)
        return nodes(_GROUP, kind="thread", shutdown=shutdown, uvloop=options.loop != "asyncio")
    return nodes(
        _GROUP,
        count=count,
        shutdown=shutdown,
        uvloop=options.loop != "asyncio",
        hang_after=options.hang_after,
        max_rss=None if options.max_rss is None else options.max_rss * _MIB,
        max_requests=options.max_requests,
        max_requests_jitter=options.max_requests_jitter,
        lifetime=options.lifetime,
        ready=options.ready,
    )


def _times_of_clients(options: Namespace) -> dict[str, float]:
    return {
        "head_timeout": options.timeout_head,
        "body_timeout": options.timeout_body,
        "send_timeout": options.timeout_send,
        "keep_alive": options.timeout_keep_alive,
    }


def _listener(options: Namespace) -> Listener:
    app = Asgi(
        app=options.app,
        interface="asgi" if options.interface == "asgi3" else options.interface,
        threads=options.threads,
        http2=options.http2,
        timeout=options.timeout,
        headers=tuple(_header(text) for text in options.header),
        date_header=options.date_header,
        ws_deflate=options.ws_per_message_deflate,
        slow=options.slow,
        factory=options.factory,
        lifespan=options.lifespan,
        root_path=options.root_path,
        preload=options.preload,
        max_head=options.max_head,
        **_times_of_clients(options),
        ws_ping_interval=options.ws_ping_interval or None,
        ws_ping_timeout=options.ws_ping_timeout or None,
        ws_max_size=options.ws_max_size,
        limit_concurrency=options.limit_concurrency,
        proxy_headers=options.proxy_headers,
        forwarded_allow_ips=options.forwarded_allow_ips,
        access_log=options.access_log,
    )
    return listen(
        app,
        _address(options),
        nodes=_GROUP,
        policy=_policy(options),
        backlog=options.backlog,
        certfile=options.certfile,
        keyfile=options.keyfile,
        keyfile_password=options.ssl_keyfile_password,
        ciphers=options.ssl_ciphers,
        **_client_certs(options),
        proxy_protocol=options.proxy_protocol,
        uds_permissions=options.uds_permissions,
    )


def _client_certs(options: Namespace) -> dict[str, Any]:
    reqs = CERT_REQS[options.ssl_cert_reqs]
    if options.ssl_ca_certs is None or reqs == "none":
        return {}
    return {"client_ca": options.ssl_ca_certs, "client_certs": reqs}


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon:
        raise CommandFailed(f"--header must be NAME:VALUE, got {text!r}", WRONG)
    return name, value.strip()


def _address(options: Namespace) -> str:
    host, port = options.host, options.port
    bind: str | None = options.bind
    if options.uds is not None:
        bind = f"unix:{options.uds}"
    if options.fd is not None:
        bind = f"fd://{options.fd}"
    if host is None and port is None:
        return _DEFAULT_ADDRESS if bind is None else bind
    if bind is not None:
        given = "--host" if host is not None else "--port"
        raise CommandFailed(f"{given} goes with a host and a port, not with {bind}", WRONG)
    host = _DEFAULT_HOST if host is None else host
    shown = f"[{host}]" if ":" in host and not host.startswith("[") else host
    return f"{shown}:{_DEFAULT_PORT if port is None else port}"


def _count(text: str) -> int:
    if text == "max":
        return usable_cpus()
    if not is_count(text):
        raise CommandFailed(f"--nodes must be a number from 1 up, or max, got {text!r}", WRONG)
    return int(text)


def _policy(options: Namespace) -> Policy | None:
    if options.sticky is not None:
        return Sticky(key_from(options.sticky), learn=options.sticky_learn)
    return None if options.policy is None else policy_from(options.policy)
