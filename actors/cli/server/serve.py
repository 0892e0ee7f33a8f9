"""`actors serve`: the topology that serves an ASGI application on several nodes."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Final

from actors._base.errors import InvalidSpec
from actors._system.cpu_budget import usable_cpus
from actors._system.topology import Topology
from actors.cli._failure import WRONG, CommandFailed, is_count
from actors.nodes import nodes
from actors.routing import Policy, Sticky, asgi, key_from, listen, policy_from

__all__ = ["serve_topology"]

_GROUP: Final = "web"
_SHUTDOWN: Final = 5.0
"""Seconds that a process has to finish its requests."""
_DEVELOPMENT_SHUTDOWN: Final = 1.0
"""Shorter, because a developer waits for the old process after each change."""
_REQUIRED: Final = ("httptools", "websockets")


def serve_topology(
    app: str,
    *,
    bind: str,
    count: str,
    preload: Sequence[str] = (),
    sticky: str | None,
    policy: str | None,
    factory: bool = False,
    certfile: str | None = None,
    keyfile: str | None = None,
    development: bool = False,
    shutdown: float | None = None,
    uds_permissions: int | None = None,
    forwarded_allow_ips: str | None = None,
) -> Topology:
    """Return the topology that serves *app*; in *development* its old processes end sooner after a reload.

    *shutdown* is how many seconds the processes have to finish their requests, at a reload and at the end.

    Raises:
        CommandFailed: a value is wrong, or a package that this needs is not installed.
    """
    missing = [name for name in _REQUIRED if find_spec(name) is None]
    if missing:
        raise CommandFailed(
            f"actors serve needs {', '.join(missing)}: pip install actors-framework[web]"
        )
    if shutdown is None:
        shutdown = _DEVELOPMENT_SHUTDOWN if development else _SHUTDOWN
    try:
        return Topology(
            nodes=[nodes(_GROUP, count=_count(count), preload=preload, shutdown=shutdown)],
            listeners=[
                listen(
                    asgi(app, factory=factory, forwarded_allow_ips=forwarded_allow_ips),
                    bind,
                    nodes=_GROUP,
                    policy=_policy(sticky, policy),
                    certfile=certfile,
                    keyfile=keyfile,
                    uds_permissions=uds_permissions,
                )
            ],
        )
    except InvalidSpec as error:
        raise CommandFailed(str(error), WRONG) from error


def _count(text: str) -> int:
    if text == "max":
        return usable_cpus()
    if not is_count(text):
        raise CommandFailed(f"--nodes must be a number from 1 up, or max, got {text!r}", WRONG)
    return int(text)


def _policy(sticky: str | None, policy: str | None) -> Policy | None:
    if sticky is not None:
        return Sticky(key_from(sticky))
    return None if policy is None else policy_from(policy)
