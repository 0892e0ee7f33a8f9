"""What a command is told of a node that does not run: what has ended it, as whoever knows for certain says.

Rule: the end of a link is a hint. Whoever asks the node waits, as long as it would for an answer, for more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio

from actors._base.errors import ActorsError

if TYPE_CHECKING:
    from actors._system.coordinator import Coordinator
    from actors.nodes import Link, RemoteNode

__all__ = ["link_of", "not_running", "settled"]


def not_running(node: RemoteNode) -> ActorsError:
    """Return the error for who needs a node that does not run."""
    how = _first_line(node.last_end)
    ended = f", as it has ended: {how}" if how else ""
    return ActorsError(f"node {node.name} is not running: it is {node.state.value}{ended}")


def link_of(node: RemoteNode) -> Link:
    """Return the link to a node.

    Raises:
        ActorsError: it does not run; the error says what has ended it.
    """
    if node.run is None or node.run.link is None:
        raise not_running(node)
    return node.run.link


async def settled(core: Coordinator, link: Link, seconds: float) -> None:
    """Return at once while a link has not ended.

    Raises:
        ActorsError: it has, and what has ended its node; or that nobody has said so within so many *seconds*.
    """
    if link.closed is None:
        return
    run = core.runs.get(link.peer)
    if run is None:
        raise ActorsError(f"{link.peer}: {link.closed}")
    with anyio.move_on_after(seconds) as limit:
        await run.wait()
    name = run.node.name
    if limit.cancelled_caught:
        raise ActorsError(
            f"node {name} cannot be reached ({link.closed}), and it is not known yet whether it has ended"
        )
    raise ActorsError(f"node {name} is down ({_first_line(run.last_end)})")


def _first_line(text: str) -> str:
    return text.partition("\n")[0]
