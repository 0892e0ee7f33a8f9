"""Cells that do more for every message, in systems that asked for it: carry context variables, be traced.

Rule: what is asked for is a class of its own, so that who asks for nothing pays nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from actors._actor.cell import Cell
from actors._actor.message_loop import answer
from actors._base.errors import not_sendable
from actors._messaging.headers import MessageHeaders
from actors._messaging.mailbox import Envelope
from actors._messaging.message_table import MessageKind
from actors._messaging.message_trace import answer_facts, facts_of, weigh
from actors._messaging.stream import Stream
from actors.transport import Mode, Unsendable, snapshot

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors._actor.interfaces import RunningIncarnation
    from actors._messaging.context_propagation import Propagation
    from actors._messaging.message_table import Handler

__all__ = ["cell_class", "load"]

_TRACED: Final = {MessageKind.CALL, MessageKind.CONCURRENT, MessageKind.STREAM}


def load(envelope: Envelope, propagation: Propagation) -> None:
    """Have *envelope* carry the sender's context variables, read now; once.

    Raises:
        NotSendable: one cannot travel.
    """
    baggage = envelope.origin
    if not isinstance(baggage, MessageHeaders):
        envelope.origin = MessageHeaders(values=propagation.values(), carrier=propagation)
    elif baggage.carrier is None:
        baggage.values, baggage.carrier = propagation.values(), propagation


class PropagatingCell(Cell):
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
        if not isinstance(baggage, MessageHeaders):
            envelope.origin = MessageHeaders(carrier=self._propagation, inner=baggage)
        elif baggage.carrier is None:
            baggage.carrier = self._propagation
        super().post(envelope)

    def run_ending(self, run: RunningIncarnation) -> None:
        """As `Cell.run_ending`; the end belongs to no message."""
        self._propagation.put({})
        super().run_ending(run)


class TracedAnswer:
    """The reply to an asker of this node, or the stream of its reader: what they are given is an event."""

    leaves = True
    """It is given what the handler returned, and takes the snapshot itself."""

    __slots__ = ("_cell", "_inner", "_method")

    def __init__(self, cell: Cell, envelope: Envelope) -> None:
        self._cell = cell
        self._method = envelope.handler.name
        self._inner: Any = envelope.reply

    def __await__(self) -> Any:
        return self._inner.__await__()

    def done(self) -> bool:
        """Whether it was answered, or nobody waits any more."""
        done: bool = self._inner.done()
        return done

    def cancelled(self) -> bool:
        """Whether the asker went away."""
        cancelled: bool = self._inner.cancelled()
        return cancelled

    @property
    def outlet(self) -> Any:
        """The generator's end of a stream."""
        return self._inner.outlet

    @outlet.setter
    def outlet(self, outlet: Any) -> None:
        self._inner.outlet = outlet

    def set_result(self, value: Any, /) -> None:
        """Answer, or end the stream, which is no item."""
        if isinstance(self._inner, Stream):
            self._inner.set_result(None)
        else:
            settled: Any = _Settled(self, value)
            answer(settled, value)

    def set_exception(self, error: BaseException, /) -> None:
        """Answer by *error*."""
        self._trace("error", Mode.REFERENCE, 0)
        self._inner.set_exception(error)

    def put(self, value: Any) -> None:
        """Give the reader the next item."""
        before = weigh((value,), {})
        try:
            item = snapshot(value, "item")
        except Unsendable as error:
            raise not_sendable(error) from error
        self._weighed("item", before, same=item is value)
        self._inner.item(item)

    def settle(self, before: tuple[Mode, int], result: Any, *, same: bool) -> None:
        """Answer by what is the asker's own by now."""
        self._weighed("reply", before, same=same)
        self._inner.set_result(result)

    def _weighed(self, verb: str, before: tuple[Mode, int], *, same: bool) -> None:
        mode, size = before
        self._trace(verb, Mode.REFERENCE if same and mode is Mode.COPY else mode, size)

    def _trace(self, verb: str, mode: Mode, size: int) -> None:
        ref, home = self._cell.ref, self._cell.home
        home.traced(answer_facts(verb, self._method, home.name, ref, home.name, mode, size))


class _Settled:
    """A reply that has been weighed, and takes the snapshot of it."""

    def __init__(self, reply: TracedAnswer, value: Any) -> None:
        self._reply = reply
        self._value = value
        self._before = weigh((value,), {})

    def set_result(self, result: Any, /) -> None:
        self._reply.settle(self._before, result, same=result is self._value)

    def set_exception(self, error: BaseException, /) -> None:
        self._reply.set_exception(error)


class TracedCell(Cell):
    """Every message of this node to the actor is an event, and so is every answer to one."""

    __slots__ = ()

    def _traced(self, envelope: Envelope, args: tuple[Any, ...], before: tuple[Mode, int]) -> None:
        mode, size = before
        same = all(one is other for one, other in zip(args, envelope.args, strict=True))
        if mode is Mode.COPY and same and not envelope.kwargs:
            mode = Mode.REFERENCE  # it cannot change, so that it need not be copied
        if envelope.handler.kind in _TRACED:
            self.home.traced(facts_of(envelope, self.home.name, self.ref, mode, size))

    def _answered(self, envelope: Envelope) -> None:
        """Have the answer to *envelope* traced."""
        reply: Any = envelope.reply
        traced = reply is None or isinstance(reply, TracedAnswer)
        if not traced and envelope.handler.kind in _TRACED:
            envelope.reply = TracedAnswer(self, envelope)

    def send(self, handler: Handler, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
        """As `Cell.send`."""
        return self.offer(Envelope(handler, args, kwargs))

    def offer(self, envelope: Envelope) -> bool:
        """As `Cell.offer`."""
        self._answered(envelope)
        args, before = envelope.args, weigh(envelope.args, envelope.kwargs)
        taken = super().offer(envelope)
        if taken:
            self._traced(envelope, args, before)
        return taken

    async def admit(self, envelope: Envelope) -> None:
        """As `Cell.admit`; an event when it got its place."""
        self._answered(envelope)
        args, before = envelope.args, weigh(envelope.args, envelope.kwargs)
        await super().admit(envelope)
        self._traced(envelope, args, before)

    def push(self, envelope: Envelope) -> None:
        """As `Cell.push`."""
        self._answered(envelope)
        args, before = envelope.args, weigh(envelope.args, envelope.kwargs)
        super().push(envelope)
        self._traced(envelope, args, before)


class PropagatingTracedCell(TracedCell, PropagatingCell):
    """Both."""

    __slots__ = ()


def cell_class(*, carries: bool, traced: bool) -> Callable[..., Cell]:
    """Return the class of the cells of a node."""
    return _CLASSES[carries, traced]


_CLASSES: Final[dict[tuple[bool, bool], type[Cell]]] = {
    (False, False): Cell,
    (True, False): PropagatingCell,
    (False, True): TracedCell,
    (True, True): PropagatingTracedCell,
}
