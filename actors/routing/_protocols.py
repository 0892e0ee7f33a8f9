"""What the router needs of an event loop and of a node, and no more.

Rule 1: Protocols only. `actors._loop` and the nodes fulfil them; tests bring their own.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Protocol

from ._keys import Address

__all__ = ["Loop", "Place", "Report", "ServerLoop", "Timer"]


class Timer(Protocol):
    """A call that is due later."""

    def cancel(self) -> object: ...


class Loop(Protocol):
    """The event loop of the parent; readiness is level-triggered, seconds are monotonic."""

    def now(self) -> float: ...
    def call_soon(self, fn: Callable[..., object], /, *args: Any) -> object: ...
    def call_later(self, seconds: float, fn: Callable[..., object], /, *args: Any) -> Timer: ...
    def watch_readable(self, fd: int, fn: Callable[[], object], /) -> object: ...
    def unwatch_readable(self, fd: int, /) -> object: ...


class ServerLoop(Protocol):
    """The event loop of a node, as its servers see it."""

    def start(
        self,
        fn: Callable[..., Coroutine[Any, Any, Any]],
        /,
        *args: Any,
        name: str,
        fresh: bool = False,
    ) -> object: ...


class Place(Protocol):
    """A node that connections can be handed to."""

    @property
    def name(self) -> str:
        """The node's name, unique among those that live."""
        ...

    @property
    def slot(self) -> int:
        """The node's stable number in its group; a restarted node has the same."""
        ...

    def hand_over(self, connection: int, fd: int, listener: str, client: Address) -> None:
        """Send the connection to the node; do not wait.

        The router keeps *fd* open until the node has acknowledged or refused the connection or is
        gone, so a frame that waits in a queue needs no dup. A place that keeps the descriptor
        itself (a node in this process) dups it during this call.

        Args:
            connection: the number that acknowledges, refuses and closes it; never used twice.
            fd: the router's descriptor of the connection, non-blocking.
            listener: the name of the listener.
            client: the client's address.

        Raises:
            OSError: the node cannot be reached; the connection goes to another.
        """
        ...


class Report(Protocol):
    """Takes facts (see `_events`) upwards; must not raise."""

    def __call__(self, fact: object, /) -> None: ...
