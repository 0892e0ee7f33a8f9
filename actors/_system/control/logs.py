"""What `actors logs` shows: the last lines of the log, and those that follow.

Rule: nobody waits for a reader: one that is too slow misses the oldest lines, and is told how many.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any, Final

import anyio

from actors._base.errors import InvalidSpec
from actors._base.log import RING, SYSTEM
from actors._base.suggestions import did_you_mean
from actors._system.coordinator import Coordinator

__all__ = ["logs"]

_AT_ONCE: Final = 500
"""Lines that are sent in one piece."""
_LOOK_AGAIN: Final = 0.1
"""Seconds between two looks for new lines."""
_MOST: Final = 1_000_000


async def logs(
    core: Coordinator, node: str | None = None, lines: int = 100, *, follow: bool = False
) -> AsyncIterator[Any]:
    """Yield which system this is, then lines of the log, and how many were lost before them.

    Args:
        core: of the system.
        node: whose lines: a node's, a program's instance's, a group's; None is everybody's.
        lines: how many of those that are there already, at most.
        follow: whether new lines are waited for.

    Raises:
        InvalidSpec: there is no such node, or a number that cannot work.
    """
    if type(lines) is not int or not 0 <= lines <= _MOST:
        raise InvalidSpec(f"lines must be 0 to {_MOST}, got {lines!r}")
    found, position, _ = RING.after(0, _MOST)
    names = {name for name, _ in found}
    if node is not None:
        _check_name(core, node, names)
    yield {"node": node}
    wanted = _of(found, node)
    for begin in range(max(0, len(wanted) - lines), len(wanted), _AT_ONCE):
        yield {"lines": wanted[begin : begin + _AT_ONCE], "lost": 0}
    while follow:
        found, position, lost = RING.after(position, _AT_ONCE)
        if lost or (wanted := _of(found, node)):
            yield {"lines": _of(found, node), "lost": lost}
        if not found:
            await anyio.sleep(_LOOK_AGAIN)


def _of(found: Sequence[tuple[str, str]], node: str | None) -> list[str]:
    return [line for name, line in found if node in {None, name} or name.startswith(f"{node}/")]


def _check_name(core: Coordinator, node: str, seen: set[str]) -> None:
    known = {SYSTEM, *core.nodes, *(each.group for each in core.nodes.values()), *seen}
    groups = {name.rpartition("/")[0] for name in known}
    if node not in known | groups:
        hint = did_you_mean(node, known)
        raise InvalidSpec(f"the log has no lines of {node!r}, and no node is called so{hint}")
