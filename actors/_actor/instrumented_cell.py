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
from actors._messaging.message_trace import answer_facts, facts_of, measure
from actors._messaging.stream import Stream
from actors.transport import Mode, Unsendable, snapshot

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors._actor.interfaces import IncarnationInterface
    from actors._messaging.context_propagation import Propagation
    from actors._messaging.message_table import Handler

__all__ = ["add_headers", "cell_class"]

_TRACED: Final = {MessageKind.CALL, MessageKind.CONCURRENT, MessageKind.STREAM}


def add_headers(envelope: Envelope, propagation: Propagation) -> None:
    """Have *envelope* carry the sender's context variables, read now; once.

    Raises:
        NotSendable: one cannot travel.
    """
    headers = envelope.hooks
    if not isinstance(headers, MessageHeaders):
        envelope.hooks = MessageHeaders(values=propagation.values(), propagation=propagation)
    elif headers.propagation is None:
        headers.values, headers.propagation = propagation.values(), propagation


class PropagatingCell(Cell):
    """Every message carries context variables, and a handler sees those of its own message only."""

    __slots__ = ()

    @property
    def _propagation(self) -> Propagation:
        propagation = self.host.propagation
        assert propagation is not None
        return propagation

    def send(self, handler: Handler, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
        """As `Cell.send`."""
        return self.try_send(Envelope(handler, args, kwargs))

    def try_send(self, envelope: Envelope) -> bool:
        """As `Cell.try_send`."""
        add_headers(envelope, self._propagation)
        return super().try_send(envelope)

    async def send_when_room(self, envelope: Envelope) -> None:
        """As `Cell.send_when_room`."""
        add_headers(envelope, self._propagation)
        await super().send_when_room(envelope)

    def send_past_bound(self, envelope: Envelope) -> None:
        """As `Cell.send_past_bound`."""
        add_headers(envelope, self._propagation)
        super().send_past_bound(envelope)

    def deliver(self, envelope: Envelope) -> None:
        """As `Cell.deliver`; what comes from nobody, like a timer's tick, carries nothing."""
        headers = envelope.hooks
        if not isinstance(headers, MessageHeaders):
            envelope.hooks = MessageHeaders(propagation=self._propagation, inner=headers)
        elif headers.propagation is None:
            headers.propagation = self._propagation
        super().deliver(envelope)

    def run_ending(self, run: IncarnationInterface) -> None:
        """As `Cell.run_ending`; the end belongs to no message."""
        self._propagation.apply({})
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
    def producer(self) -> Any:
        """The generator's end of a stream."""
        return self._inner.producer

    @producer.setter
    def producer(self, producer: Any) -> None:
        self._inner.producer = producer

    def set_result(self, value: Any, /) -> None:
        """Answer, or end the stream, which is no item."""
        if isinstance(self._inner, Stream):
            self._inner.set_result(None)
        else:
            settled: Any = _MeasuredReply(self, value)
            answer(settled, value)

    def set_exception(self, error: BaseException, /) -> None:
        """Answer by *error*."""
        self._trace("error", Mode.REFERENCE, 0)
        self._inner.set_exception(error)

    def put(self, value: Any) -> None:
        """Give the reader the next item."""
        before = measure((value,), {})
        try:
            item = snapshot(value, "item")
        except Unsendable as error:
            raise not_sendable(error) from error
        self._measured("item", before, same=item is value)
        self._inner.put_own(item)

    def settle(self, before: tuple[Mode, int], result: Any, *, same: bool) -> None:
        """Answer by what is the asker's own by now."""
        self._measured("reply", before, same=same)
        self._inner.set_result(result)

    def _measured(self, verb: str, before: tuple[Mode, int], *, same: bool) -> None:
        mode, size = before
        self._trace(verb, Mode.REFERENCE if same and mode is Mode.COPY else mode, size)

    def _trace(self, verb: str, mode: Mode, size: int) -> None:
        ref, host = self._cell.ref, self._cell.host
        host.traced(answer_facts(verb, self._method, host.name, ref, host.name, mode, size))


class _MeasuredReply:
    """A reply that has been weighed, and takes the snapshot of it."""

    def __init__(self, reply: TracedAnswer, value: Any) -> None:
        self._reply = reply
        self._value = value
        self._before = measure((value,), {})

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
            self.host.traced(facts_of(envelope, self.host.name, self.ref, mode, size))

    def _answered(self, envelope: Envelope) -> None:
        """Have the answer to *envelope* traced."""
        reply: Any = envelope.reply
        traced = reply is None or isinstance(reply, TracedAnswer)
        if not traced and envelope.handler.kind in _TRACED:
            envelope.reply = TracedAnswer(self, envelope)

    def send(self, handler: Handler, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
        """As `Cell.send`."""
        return self.try_send(Envelope(handler, args, kwargs))

    def try_send(self, envelope: Envelope) -> bool:
        """As `Cell.try_send`."""
        self._answered(envelope)
        args, before = envelope.args, measure(envelope.args, envelope.kwargs)
        taken = super().try_send(envelope)
        if taken:
            self._traced(envelope, args, before)
        return taken

    async def send_when_room(self, envelope: Envelope) -> None:
        """As `Cell.send_when_room`; an event when it got its place."""
        self._answered(envelope)
        args, before = envelope.args, measure(envelope.args, envelope.kwargs)
        await super().send_when_room(envelope)
        self._traced(envelope, args, before)

    def send_past_bound(self, envelope: Envelope) -> None:
        """As `Cell.send_past_bound`."""
        self._answered(envelope)
        args, before = envelope.args, measure(envelope.args, envelope.kwargs)
        super().send_past_bound(envelope)
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
