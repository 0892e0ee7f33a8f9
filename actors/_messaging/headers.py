"""Baggage: what goes with a message beside its arguments, put in place where it is handled.

Rule 1: a message that needs none has none, and pays nothing.
Rule 2: it is put in place in the actor's own task, at the start of each turn the message takes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from actors._messaging.turn import TURN

if TYPE_CHECKING:
    from collections.abc import Mapping

    from actors._messaging.context_propagation import Propagation
    from actors._messaging.mailbox import DeliveryHooks

__all__ = ["LONGEST_CHAIN", "MessageHeaders"]

_NO_VALUES: Final[Mapping[str, Any]] = {}

LONGEST_CHAIN: Final = 64
"""Actors of a chain that are named; what closes over more of them is found by asking around."""


class MessageHeaders:
    """What one message carries; an `DeliveryHooks` that may have another one inside.

    Attributes:
        chain: who waits for this message to be handled: (number, name) of each, first things first.
        values: context variables of the sender.
        propagation: what sets them; None where none are carried at all.
        inner: who else is told when the message leaves the mailbox.
    """

    __slots__ = ("chain", "inner", "propagation", "values")

    def __init__(
        self,
        chain: tuple[tuple[int, str], ...] = (),
        values: Mapping[str, Any] = _NO_VALUES,
        propagation: Propagation | None = None,
        inner: DeliveryHooks | None = None,
    ) -> None:
        self.chain = chain
        self.values = values
        self.propagation = propagation
        self.inner = inner

    def on_taken(self) -> None:
        """Its turn has come: what it carries is what holds now."""
        if self.inner is not None:
            self.inner.on_taken()
        if self.chain:
            turn = TURN.get()
            assert turn is not None
            turn.chain = self.chain
        if self.propagation is not None:
            self.propagation.apply(self.values)

    def on_dropped(self) -> None:
        """Nobody will handle it."""
        if self.inner is not None:
            self.inner.on_dropped()

    def for_resume(self) -> MessageHeaders:
        """Return what further turns of the same message begin with; it has left the mailbox once."""
        if self.inner is None:
            return self
        return MessageHeaders(self.chain, self.values, self.propagation)
