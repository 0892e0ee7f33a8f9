"""What an operation between the parent and a node is: how it is declared, and how a side serves it.

The operations themselves are in `operations`.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable

__all__ = ["Call", "FdNote", "Handlers", "Note", "Operation", "Side", "call", "fd_note", "note"]

P = ParamSpec("P")
R = TypeVar("R")
LinkT = TypeVar("LinkT")


class Side(enum.Enum):
    """Who serves an operation."""

    PARENT = "parent"
    NODE = "node"
    BOTH = "both"
    AGENT = "agent"
    """That of nodes of another machine, and not the parent."""


class Operation:
    """One operation: its name on the link, and the side that serves it."""

    def __init__(self, name: str, side: Side) -> None:
        self.name = name
        self.side = side


class Call(Operation, Generic[P, R]):
    """An operation that is answered."""


class Note(Operation, Generic[P]):
    """An operation that is not answered."""


class FdNote(Operation, Generic[P]):
    """An operation that is not answered and carries descriptors, which belong to its handler."""


class Handlers(Generic[LinkT]):
    """What one side does when the other asks, by the name of the operation."""

    def __init__(self) -> None:
        self.calls: dict[str, Callable[..., Coroutine[Any, Any, Any]]] = {}
        self.notes: dict[str, Callable[..., None]] = {}
        self.fd_notes: dict[str, Callable[..., None]] = {}
        self.fds_lost: dict[str, Callable[..., None]] = {}

    def on_call(
        self, op: Call[P, R], handler: Callable[Concatenate[LinkT, P], Coroutine[Any, Any, R]]
    ) -> None:
        """Answer calls of *op* by what *handler* returns or raises."""
        self.calls[op.name] = handler

    def on_note(self, op: Note[P], handler: Callable[Concatenate[LinkT, P], None]) -> None:
        """Call *handler* for every note of *op*."""
        self.notes[op.name] = handler

    def on_fd_note(
        self,
        op: FdNote[P],
        handler: Callable[Concatenate[LinkT, list[int], P], None],
        *,
        lost: Callable[Concatenate[LinkT, P], None],
    ) -> None:
        """Call *handler* for every note of *op*, with the descriptors first; it has to close them.

        Call *lost* instead when this process had no number free for one of them, so that there are none.
        """
        self.fd_notes[op.name] = handler
        self.fds_lost[op.name] = lost

    def only(self, served: Iterable[Operation]) -> Handlers[LinkT]:
        """Return the handlers of these operations alone, for a link whose other end may ask for no more."""
        names = {op.name for op in served}
        some: Handlers[LinkT] = Handlers()
        some.calls = {name: self.calls[name] for name in names & self.calls.keys()}
        some.notes = {name: self.notes[name] for name in names & self.notes.keys()}
        some.fd_notes = {name: self.fd_notes[name] for name in names & self.fd_notes.keys()}
        some.fds_lost = {name: self.fds_lost[name] for name in names & self.fds_lost.keys()}
        return some


def call(side: Side) -> Callable[[Callable[P, Coroutine[Any, Any, R]]], Call[P, R]]:
    """Declare an operation that is answered."""
    return lambda declared: Call(declared.__name__, side)


def note(side: Side) -> Callable[[Callable[P, None]], Note[P]]:
    """Declare an operation that is not answered."""
    return lambda declared: Note(declared.__name__, side)


def fd_note(side: Side) -> Callable[[Callable[P, None]], FdNote[P]]:
    """Declare an operation that is not answered and carries descriptors."""
    return lambda declared: FdNote(declared.__name__, side)
