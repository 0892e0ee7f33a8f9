"""The cell of systems that propagate context variables (`propagate=`) or report every message (`trace=`).

Rule: a system that asks for neither uses `Cell` itself and pays nothing.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from actors._actor.cell import Cell
from actors._base.errors import not_sendable
from actors._messaging.headers import MessageHeaders
from actors._messaging.mailbox import Envelope, answer
from actors._messaging.message_table import MESSAGES
from actors._messaging.message_trace import answer_facts, facts_of, measure
from actors._messaging.stream import Stream
from actors.transport import Mode, Unsendable, snapshot

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors._actor.interfaces import IncarnationInterface
    from actors._messaging.context_propagation import Propagation
    from actors._messaging.message_table import Handler
    from actors._messaging.ref import Ref

__all__ = ["add_headers", "cell_class"]


def add_headers(envelope: Envelope, propagation: Propagation, ref: Ref[Any]) -> None:
    """Add the context variables of the sender, as they are now, unless *envelope* has them already.

    With `tracing=True` the span of an ask begins here.

    Raises:
        NotSendable: one of them cannot be sent.
    """
    if propagation.trace is None:
        _add_values(envelope, propagation)
    else:
        propagation.trace.sending(envelope, ref, partial(_add_values, envelope, propagation))


def _add_values(envelope: Envelope, propagation: Propagation) -> None:
    headers = envelope.hooks
    if not isinstance(headers, MessageHeaders):
        envelope.hooks = MessageHeaders(values=propagation.values(), propagation=propagation)
    elif headers.propagation is None:
        headers.values, headers.propagation = propagation.values(), propagation


class TracedAnswer:
    """Wraps the reply to an asker of this node, or the stream of a reader, and reports each answer or item.

    Attributes:
        inner: what it wraps.
    """

    leaves = True
    """It takes the result as the handler returned it, and makes the snapshot itself."""

    __slots__ = ("_cell", "_method", "inner")

    def __init__(self, cell: Cell, envelope: Envelope) -> None:
        self._cell = cell
        self._method = envelope.handler.name
        self.inner: Any = envelope.reply

    def __await__(self) -> Any:
        return self.inner.__await__()

    def done(self) -> bool:
        """Whether it was answered, or the asker no longer waits."""
        return bool(self.inner.done())

    def cancelled(self) -> bool:
        """Whether the asker was cancelled."""
        return bool(self.inner.cancelled())

    @property
    def producer(self) -> Any:
        """The generator's end of a stream."""
        return self.inner.producer

    @producer.setter
    def producer(self, producer: Any) -> None:
        self.inner.producer = producer

    def set_result(self, value: Any, /) -> None:
        """Answer, or end the stream, which is not reported."""
        if isinstance(self.inner, Stream):
            self.inner.set_result(None)
        else:
            settled: Any = _MeasuredReply(self, value)
            answer(settled, value)

    def set_exception(self, error: BaseException, /) -> None:
        """Answer by *error*."""
        self._trace("error", Mode.REFERENCE, 0)
        self.inner.set_exception(error)

    def put(self, value: Any) -> None:
        """Give the reader the next item."""
        before = measure((value,), {})
        try:
            item = snapshot(value, "item")
        except Unsendable as error:
            raise not_sendable(error) from error
        self._measured("item", before, same=item is value)
        self.inner.put_own(item)

    def settle(self, before: tuple[Mode, int], result: Any, *, same: bool) -> None:
        """Report and answer *result*, a snapshot already."""
        self._measured("reply", before, same=same)
        self.inner.set_result(result)

    def _measured(self, verb: str, before: tuple[Mode, int], *, same: bool) -> None:
        mode, size = before
        self._trace(verb, Mode.REFERENCE if same and mode is Mode.COPY else mode, size)

    def _trace(self, verb: str, mode: Mode, size: int) -> None:
        ref, host = self._cell.ref, self._cell.host
        host.traced(answer_facts(verb, self._method, host.name, ref, host.name, mode, size))


class _MeasuredReply:
    """Takes the snapshot of a result that was measured, for `answer`."""

    def __init__(self, reply: TracedAnswer, value: Any) -> None:
        self._reply = reply
        self._value = value
        self._before = measure((value,), {})

    def set_result(self, result: Any, /) -> None:
        self._reply.settle(self._before, result, same=result is self._value)

    def set_exception(self, error: BaseException, /) -> None:
        self._reply.set_exception(error)


class InstrumentedCell(Cell):
    """A cell that gives every message context variables, reports every message, or both."""

    # A message is reported before what its handler sends is.
    handles_at_once = False

    __slots__ = ("_traced",)

    def __init__(self, *args: Any, traced: bool, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._traced = traced

    def send(self, handler: Handler, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
        """As `Cell.send`."""
        return self.try_send(Envelope(handler, args, kwargs))

    def try_send(self, envelope: Envelope) -> bool:
        """As `Cell.try_send`."""
        args, before = self._prepare(envelope)
        sent = super().try_send(envelope)
        if sent:
            self._report(envelope, args, before)
        return sent

    async def send_when_room(self, envelope: Envelope) -> None:
        """As `Cell.send_when_room`; reported when the message has its place."""
        args, before = self._prepare(envelope)
        await super().send_when_room(envelope)
        self._report(envelope, args, before)

    def wait_in_line(
        self, envelope: Envelope, refused: Callable[[BaseException], None]
    ) -> Callable[[], None]:
        """As `Cell.wait_in_line`."""
        args, before = self._prepare(envelope)
        leave = super().wait_in_line(envelope, refused)
        self._report(envelope, args, before)
        return leave

    def send_past_bound(self, envelope: Envelope) -> None:
        """As `Cell.send_past_bound`."""
        args, before = self._prepare(envelope)
        super().send_past_bound(envelope)
        self._report(envelope, args, before)

    def deliver(self, envelope: Envelope) -> None:
        """As `Cell.deliver`; a message that no actor sent, like a timer's tick, carries no variables."""
        propagation, headers = self.host.propagation, envelope.hooks
        if propagation is None:
            pass
        elif not isinstance(headers, MessageHeaders):
            envelope.hooks = MessageHeaders(propagation=propagation, inner=headers)
        elif headers.propagation is None:
            headers.propagation = propagation
        self._have_span(envelope)
        super().deliver(envelope)

    def run_ending(self, run: IncarnationInterface) -> None:
        """As `Cell.run_ending`; `on_stop` handles no message, so it sees no message's variables."""
        if self.host.propagation is not None:
            self.host.propagation.apply({})
        super().run_ending(run)

    def _prepare(self, envelope: Envelope) -> tuple[tuple[Any, ...], tuple[Mode, int]]:
        """Add what *envelope* carries; return its arguments before they are copied, measured."""
        before = (Mode.REFERENCE, 0)
        if self._traced:
            reply: Any = envelope.reply
            answered = reply is None or isinstance(reply, TracedAnswer)
            if not answered and envelope.handler.kind in MESSAGES:
                envelope.reply = TracedAnswer(self, envelope)
            before = measure(envelope.args, envelope.kwargs)
        if self.host.propagation is not None:
            add_headers(envelope, self.host.propagation, self.ref)
            self._have_span(envelope)
        return envelope.args, before

    def _have_span(self, envelope: Envelope) -> None:
        propagation = self.host.propagation
        if propagation is not None and propagation.trace is not None:
            propagation.trace.taken(envelope, self.ref)

    def withdraw(self, envelope: Envelope) -> None:
        """As `Cell.withdraw`; the span of an ask ends with it."""
        propagation = self.host.propagation
        if propagation is not None and propagation.trace is not None:
            propagation.trace.given_up(envelope)
        super().withdraw(envelope)

    def _report(self, envelope: Envelope, args: tuple[Any, ...], before: tuple[Mode, int]) -> None:
        """Report that *envelope* was sent, with the *args* it had before they were copied."""
        if not self._traced or envelope.handler.kind not in MESSAGES:
            return
        mode, size = before
        same = all(one is other for one, other in zip(args, envelope.args, strict=True))
        if mode is Mode.COPY and same and not envelope.kwargs:
            mode = Mode.REFERENCE  # immutable: it was not copied
        self.host.traced(facts_of(envelope, self.host.name, self.ref, mode, size))


def cell_class(*, carries: bool, traced: bool) -> Callable[..., Cell]:
    """Return what makes the cells of a node."""
    return partial(InstrumentedCell, traced=traced) if carries or traced else Cell
