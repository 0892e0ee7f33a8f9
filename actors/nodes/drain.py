"""Draining: the actors of a node that ends in order finish what they have.

No other node sends them anything new by now; what they send each other is still handled.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from anyio import move_on_after, sleep

from actors._actor.cell import CellState

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from actors._actor.cell import Cell

__all__ = ["finish_cells"]

_EVERY: Final = 0.02
"""Seconds between two checks. Polled, so that no message has to be counted while nodes run."""
_QUIET: Final = 5
"""Checks in a row that find no actor busy: by then all messages have come that were on their way."""


async def finish_cells(cells: Mapping[int, Cell], ours: Iterable[Cell], seconds: float) -> None:
    """Wait until no actor has anything to do, stop *ours*, and wait until they have ended.

    Args:
        cells: all actors of the node, children of actors too.
        ours: the actors that have no parent actor on this node to end them.
        seconds: the limit of the first wait; the caller limits the second.
    """
    with move_on_after(seconds):
        quiet = 0
        while quiet < _QUIET:
            quiet = 0 if any(map(_busy, list(cells.values()))) else quiet + 1
            await sleep(_EVERY)
    ending = list(ours)
    for cell in ending:
        cell.shut_down(renew=True)
    while any(cell.incarnation is not None for cell in ending):  # noqa: ASYNC110 - polled, as above
        await sleep(_EVERY)


def _busy(cell: Cell) -> bool:
    run = cell.incarnation
    if run is None:
        return False
    return run.message_loop.busy or bool(cell.mailbox.queue) or cell.state is not CellState.READY
