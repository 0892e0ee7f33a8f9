"""Cells that do more for every message, in systems that asked for it: carry context variables, be traced.

Rule: what is asked for is a class of its own, so that who asks for nothing pays nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from transport import Mode

from ._baggage import Baggage
from ._cell import Cell
from ._envelope import Envelope, Kind
from ._trace import facts_of, weigh

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._body import Run
    from ._envelope import Handler
    from ._propagation import Propagation

__all__ = ["cell_class", "load"]

_TRACED: Final = {Kind.CALL, Kind.CONCURRENT, Kind.STREAM}


def load(envelope: Envelope, propagation: Propagation) -> None:
    """Have *envelope* carry the sender's context variables, read now; once.

    Raises:
        NotSendable: one cannot travel.
    """
    baggage = envelope.origin
    if not isinstance(baggage, Baggage):
        envelope.origin = Baggage(values=propagation.values(), carrier=propagation)
    elif baggage.carrier is None:
        baggage.values, baggage.carrier = propagation.values(), propagation


class CarryingCell(Cell):
    """Every message carries context variables, and a handler sees those of its own message only."""

    __slots__ = ()

    @property
    def _propagation(self) -> Propagation:
        propagation = self.home.propagation
        assert propagation is not None
        return propagation

    def send(self, handler: Handler, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
        """As `Cell.send`."""
        return self.offer(Envelope(handler, args, kwargs))

    def offer(self, envelope: Envelope) -> bool:
        """As `Cell.offer`."""
        load(envelope, self._propagation)
        return super().offer(envelope)

    async def admit(self, envelope: Envelope) -> None:
        """As `Cell.admit`."""
        load(envelope, self._propagation)
        await super().admit(envelope)

    def push(self, envelope: Envelope) -> None:
        """As `Cell.push`."""
        load(envelope, self._propagation)
        super().push(envelope)

    def post(self, envelope: Envelope) -> None:
        """As `Cell.post`; what comes from nobody, like a timer's tick, carries nothing."""
        baggage = envelope.origin
        if not isinstance(baggage, Baggage):
            envelope.origin = Baggage(carrier=self._propagation, inner=baggage)
        elif baggage.carrier is None:
            baggage.carrier = self._propagation
        super().post(envelope)

    def run_ending(self, run: Run) -> None:
        """As `Cell.run_ending`; the end belongs to no message."""
        self._propagation.put({})
        super().run_ending(run)


class TracedCell(Cell):
    """Every message of this node to the actor is an event."""

    __slots__ = ()

    def _traced(self, envelope: Envelope, args: tuple[Any, ...], before: tuple[Mode, int]) -> None:
        mode, size = before
        same = all(one is other for one, other in zip(args, envelope.args, strict=True))
        if mode is Mode.COPY and same and not envelope.kwargs:
            mode = Mode.REFERENCE  # it cannot change, so that it need not be copied
        if envelope.handler.kind in _TRACED:
            self.home.traced(facts_of(envelope, self.home.name, self.ref, mode, size))

    def send(self, handler: Handler, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
        """As `Cell.send`."""
        return self.offer(Envelope(handler, args, kwargs))

    def offer(self, envelope: Envelope) -> bool:
        """As `Cell.offer`."""
        args, before = envelope.args, weigh(envelope.args, envelope.kwargs)
        taken = super().offer(envelope)
        if taken:
            self._traced(envelope, args, before)
        return taken

    async def admit(self, envelope: Envelope) -> None:
        """As `Cell.admit`; an event when it got its place."""
        args, before = envelope.args, weigh(envelope.args, envelope.kwargs)
        await super().admit(envelope)
        self._traced(envelope, args, before)

    def push(self, envelope: Envelope) -> None:
        """As `Cell.push`."""
        args, before = envelope.args, weigh(envelope.args, envelope.kwargs)
        super().push(envelope)
        self._traced(envelope, args, before)


class CarryingTracedCell(TracedCell, CarryingCell):
    """Both."""

    __slots__ = ()


def cell_class(*, carries: bool, traced: bool) -> Callable[..., Cell]:
    """Return the class of the cells of a node."""
    return _CLASSES[carries, traced]


_CLASSES: Final[dict[tuple[bool, bool], type[Cell]]] = {
    (False, False): Cell,
    (True, False): CarryingCell,
    (False, True): TracedCell,
    (True, True): CarryingTracedCell,
}
