"""How the actors of a node that ends in order finish what they have.

Nobody sends them anything new from outside by now; what they send each other still counts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from anyio import move_on_after, sleep

from actors._actor.cell import CellState

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from actors._actor.cell import Cell

__all__ = ["finish_cells"]

_LOOK: Final = 0.02
"""Seconds between two looks; only while a node ends, so that messages need no account of it."""
_QUIET: Final = 5
"""Looks in a row that find nobody busy: what was on its way when senders were told has come."""


async def finish_cells(cells: Mapping[int, Cell], ours: Iterable[Cell], seconds: float) -> None:
    """Wait until nobody has anything to do, end *ours*, and wait until they have ended.

    Args:
        cells: all actors of the node, children of actors too.
        ours: those nobody on this node ends.
        seconds: for the first wait; whoever called bounds the second.
    """
    with move_on_after(seconds):
        quiet = 0
        while quiet < _QUIET:
            quiet = 0 if any(map(_busy, list(cells.values()))) else quiet + 1
            await sleep(_LOOK)
    ending = list(ours)
    for cell in ending:
        cell.shut_down()
    while any(cell.incarnation is not None for cell in ending):  # noqa: ASYNC110 - as above, looked at
        await sleep(_LOOK)


def _busy(cell: Cell) -> bool:
    run = cell.incarnation
    if run is None:
        return False
    return run.message_loop.busy or bool(cell.mailbox.queue) or cell.state is not CellState.READY
