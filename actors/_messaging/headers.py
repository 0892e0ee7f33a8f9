"""Message headers: the call chain and the context variables that a message carries besides its arguments.

Rule 1: a message that needs none has none, and pays nothing.
Rule 2: they are applied in the task that runs the handler, before it starts or makes a stream's next item.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from actors._messaging.turn import TURN

if TYPE_CHECKING:
    from collections.abc import Mapping

    from actors._messaging.context_propagation import Propagation
    from actors._messaging.delivery_hooks import DeliveryHooks

__all__ = ["LONGEST_CHAIN", "MessageHeaders"]

_NO_VALUES: Final[Mapping[str, Any]] = {}

LONGEST_CHAIN: Final = 64
"""Actors a chain names at most; a longer cycle is found by the deadlock probe."""


class MessageHeaders:
    """The headers of one message, applied as its `DeliveryHooks`.

    Attributes:
        chain: the chain of asks that led to this message: (number, name) of each waiting actor.
        values: context variables of the sender.
        propagation: what sets them; None if the system propagates none.
        inner: further hooks of the message.
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
        """Set the chain and the context variables for its handler."""
        if self.inner is not None:
            self.inner.on_taken()
        if self.chain:
            turn = TURN.get()
            assert turn is not None
            turn.chain = self.chain
        if self.propagation is not None:
            self.propagation.apply(self.values)

    def on_deferred(self) -> None:
        """As `DeliveryHooks.on_deferred`."""
        if self.inner is not None:
            self.inner.on_deferred()

    def on_dropped(self) -> None:
        """As `DeliveryHooks.on_dropped`."""
        if self.inner is not None:
            self.inner.on_dropped()

    def for_resume(self) -> MessageHeaders:
        """Return the same headers without *inner*: the message leaves the mailbox only once."""
        if self.inner is None:
            return self
        return MessageHeaders(self.chain, self.values, self.propagation)
