"""`actors spawn`, `scale`, `reload`, `kill`, and `stop` of one node: the nodes of a running system."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from actors.cli._failure import WRONG, CommandFailed
from actors.cli.client.client import connect

__all__ = [
    "group_counts",
    "kill_node",
    "reload_nodes",
    "scale_groups",
    "spawn_nodes",
    "stop_node",
]

_CHANGING: Final = 120.0
"""Seconds that nodes may take to boot or to finish what they have; the system bounds both itself."""
_ROLLING: Final = 3600.0
"""Seconds that all nodes may take for it one after another, bounded likewise."""


def spawn_nodes(chosen: Any) -> Any:
    """Add a group of nodes; return the facts about them when all are ready."""
    env = dict(_variable(text) for text in chosen.env)
    wanted = {"count": chosen.count, "kind": chosen.kind, "backend": chosen.backend}
    with connect(chosen.pid) as system:
        return system.ask(
            "spawn", wait=_CHANGING, name=chosen.name, env=env, nice=chosen.nice, **wanted
        )


def scale_groups(chosen: Any) -> Any:
    """Have other numbers of nodes; return the facts about the nodes of each group."""
    groups = group_counts(chosen.groups)
    with connect(chosen.pid) as system:
        return system.ask("scale", wait=_CHANGING, groups=groups)


def reload_nodes(chosen: Any) -> Any:
    """Renew the code of nodes; return the facts about them when all are renewed."""
    options: dict[str, Any] = {"nodes": chosen.nodes, "surge": chosen.surge}
    if chosen.ready_timeout is not None:
        options["ready_timeout"] = chosen.ready_timeout
    with connect(chosen.pid) as system:
        return system.ask("reload", wait=_ROLLING, **options)


def stop_node(chosen: Any) -> Any:
    """End one node for good; return the facts about it when it is gone."""
    with connect(chosen.pid) as system:
        return system.ask("stop_node", wait=_CHANGING, node=chosen.node)


def kill_node(chosen: Any) -> Any:
    """Kill one node; return the facts about it as it was."""
    with connect(chosen.pid) as system:
        return system.ask("kill", node=chosen.node)


def group_counts(texts: Sequence[str]) -> dict[str, int]:
    """Read ``group=N`` several times over.

    Raises:
        CommandFailed: one of them is nothing like that, or a group is named twice.
    """
    counts: dict[str, int] = {}
    for text in texts:
        name, _, count = text.partition("=")
        if not name or not (count.isascii() and count.isdigit()):
            raise CommandFailed(
                f"a number of nodes is GROUP=COUNT such as web=4, got {text!r}", WRONG
            )
        if name in counts:
            raise CommandFailed(
                f"{name} has one number of nodes, got {text!r} after another", WRONG
            )
        counts[name] = int(count)
    return counts


def _variable(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise CommandFailed(f"--env must be NAME=VALUE, got {text!r}", WRONG)
    return name, value
