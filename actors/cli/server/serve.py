"""`actors serve`: an ASGI application over several nodes, as a topology of one listener."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Final

from actors._base.errors import InvalidSpec
from actors._system.cpu_budget import usable_cpus
from actors._system.topology import Topology
from actors.cli._failure import WRONG, CommandFailed
from actors.nodes import nodes
from actors.routing import Policy, Sticky, asgi, key_from, listen, policy_from

__all__ = ["serving"]

_GROUP: Final = "web"
_AT_PEACE: Final = 5.0
_AT_WORK: Final = 1.0
"""Seconds a process has to finish what it serves; whoever writes code waits for its end."""
_NEEDED: Final = ("uvicorn", "httptools", "websockets")


def serving(
    app: str,
    *,
    bind: str,
    count: str,
    sticky: str | None,
    policy: str | None,
    factory: bool = False,
    certfile: str | None = None,
    keyfile: str | None = None,
    develop: bool = False,
) -> Topology:
    """Describe what serves *app*; with *develop*, so that old code is gone soon after a reload.

    Raises:
        CommandFailed: something of this cannot be, or what it needs is not installed.
    """
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        raise CommandFailed(
            f"actors serve needs {', '.join(missing)}: pip install actors-framework[web]"
        )
    try:
        return Topology(
            nodes=[nodes(_GROUP, count=_count(count), shutdown=_AT_WORK if develop else _AT_PEACE)],
            listeners=[
                listen(
                    asgi(app, factory=factory),
                    bind,
                    nodes=_GROUP,
                    policy=_policy(sticky, policy),
                    certfile=certfile,
                    keyfile=keyfile,
                )
            ],
        )
    except InvalidSpec as error:
        raise CommandFailed(str(error), WRONG) from error


def _count(text: str) -> int:
    if text == "max":
        return usable_cpus()
    if not (text.isascii() and text.isdigit()):
        raise CommandFailed(f"--nodes must be a number from 1 up, or max, got {text!r}", WRONG)
    return int(text)


def _policy(sticky: str | None, policy: str | None) -> Policy | None:
    if sticky is not None:
        return Sticky(key_from(sticky))
    return None if policy is None else policy_from(policy)
