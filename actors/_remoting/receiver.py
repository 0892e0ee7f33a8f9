"""The receiving side of a link: messages for actors go to their cells, replies to their askers.

What is sent back for a message is made here, too: credit, the reply, the items of a stream.

Rule: a message of the wrong shape raises here, and that ends the link.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final, Protocol

from actors._base.errors import (
    ActorStopped,
    CallCycle,
    MessageTooBig,
    NotAMessage,
    NotSendable,
    failed_codec,
    not_sendable,
)
from actors._base.twins import COMPILED, bind
from actors._messaging.deadlock import cycle_through
from actors._messaging.delivery_hooks import big_message
from actors._messaging.mailbox import Envelope
from actors._messaging.message_table import Handler, MessageKind
from actors._messaging.ref import READY, Ref, RefHost
from actors._remoting import protocol as wire
from actors._remoting.credit_return import CreditReturn
from actors._remoting.header_codec import decode_headers, envelope_with
from actors._remoting.peer import PeerHost
from actors._remoting.program_advice import BIG
from actors._remoting.remote_actor import SMALL_MAILBOX, returns_credit_when_taken
from actors.supervisors import Exit
from actors.transport import (
    PLAIN,
    ChannelBroken,
    ChannelClosed,
    Lane,
    TooBig,
    Undecoded,
    Unsendable,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from actors._actor.cell import Cell
    from actors._messaging.delivery_hooks import DeliveryHooks
    from actors._messaging.mailbox import Mailbox
    from actors._messaging.stream import StreamProducer
    from actors._remoting.deadlock_probe import DeadlockProbe
    from actors._remoting.link import Link
    from actors._remoting.topics import Topics

__all__ = ["Receiver", "ReceiverHost", "RemoteReply", "RemoteSink"]

_NO_KEYWORDS: Final[dict[str, Any]] = {}
_NEITHER: Final = (None, None)
_TELL_ENDS: Final = 4
_ASK_ENDS: Final = 5
"""Where a message without keywords and deadline ends."""
_OWN: Final = 2
"""Args and keywords; the fields behind those are the message's headers."""
_BYTES: Final = 2
"""Which of the headers of a big message says how many bytes it counts for."""
_ONLY_BYTES: Final = [None, None, None, None]
"""Keywords, deadline, chain and context variables of a message that has only bytes behind them."""


class ReceiverHost(PeerHost, RefHost, Protocol):
    """The actor host, as its receivers see it."""

    cells: dict[int, Cell]
    topics: Topics
    deadlock_probe: DeadlockProbe
    answers: tuple[type[RemoteReply], type[RemoteReply]]

    @property
    def ended(self) -> Mapping[int, Exit]: ...
    def stop_cell(self, uid: int, grace: float | None, *, drain: bool) -> None: ...


class TellRun:
    """Plain tells to one actor in a row: what it takes to deliver them is looked up once."""

    __slots__ = ("cell", "credit", "handlers", "mailbox")

    def __init__(self, cell: Cell, credit: CreditReturn) -> None:
        self.cell: Cell = cell
        self.credit: CreditReturn = credit
        self.handlers: dict[str, Handler] = cell.handlers
        self.mailbox: Mailbox = cell.mailbox
        self.mailbox.open()

    def take(self, name: str, args: Any, size: int = 0) -> bool:
        """Queue one, which counts for *size* bytes, if it is plain; return whether it was."""
        handler = self.handlers.get(name)
        if handler is None or not handler.plain or type(args) is Undecoded or self.cell.draining:
            return False
        credit, mailbox = self.credit, self.mailbox
        hooks = big_message(credit, mailbox, size, credit) if size else credit
        mailbox.queue.append((handler, tuple(args), _NO_KEYWORDS, hooks))
        if mailbox.waker is not None:
            mailbox.wake()
        return True


class _ReceiverInPython:
    """How plain tells come to the mailboxes of their actors."""

    def _run_of(self, uid: int) -> TellRun | None:
        raise NotImplementedError

    def _take_tells(self, messages: list[Any], at: int) -> int:
        """Queue the plain tells from a place on; return the place of the first other message."""
        last, run = -1, None
        while at < len(messages):
            message = messages[at]
            if message[0] != wire.TELL or len(message) != _TELL_ENDS:
                break
            _, uid, name, args = message
            if uid != last:
                last, run = uid, self._run_of(uid)
            if run is None or not run.take(name, args):
                break
            at += 1
        return at


_ReceiverTwin = _ReceiverInPython
if not TYPE_CHECKING and COMPILED:
    _ReceiverTwin = COMPILED.ReceiverMethods


class Receiver(_ReceiverTwin):
    """Takes what arrives over one link."""

    def __init__(self, host: ReceiverHost, link: Link) -> None:
        self._host = host
        self._link = link
        self._due: list[CreditReturn] = []
        """Credit to return at the end of this turn of the loop."""
        self._late = False
        """Whether what is handled now was sent before others that have come already."""
        reply, sink = host.answers
        self._table: dict[int, Callable[[list[Any]], None]] = {
            wire.TELL: self._take_tell,
            wire.ASK: partial(self._take_ask, reply),
            wire.STREAM: partial(self._take_ask, sink),
            wire.REPLY: self._take_reply,
            wire.ERROR: self._take_error,
            wire.ITEM: self._take_item,
            wire.END: self._take_end,
            wire.PULL: self._take_pull,
            wire.CANCEL: lambda message: link.cancel_served(message[1]),
            wire.WITHDRAW: lambda message: link.cancel_served(message[2]),
            wire.CREDIT: lambda message: host.peer(link.peer).credited(*message[1:]),
            wire.WATCH: self._take_watch,
            wire.UNWATCH: lambda message: link.cancel_served(message[1]),
            wire.GONE: lambda message: host.peer(link.peer).gone(message[1], message[2]),
            wire.READY: self._take_ready,
            wire.STOP: self._take_stop,
            wire.KILL: self._take_kill,
            wire.CALL: link.serve_call,
            wire.ANSWER: lambda message: link.answered(message, failed=False),
            wire.FAILED: lambda message: link.answered(message, failed=True),
            wire.NOTE: self._take_note,
            wire.PUBLISH: self._take_value,
            wire.BACK: lambda message: link.attachments.release(message[1]),
            wire.RETIRED: lambda message: link.attachments.retire(message[1]),
            wire.UNMAPPED: lambda message: link.attachments.introduce_again(message[1]),
            wire.PROBE: self._take_probe,
        }

    def take(self, messages: list[Any], lane: Lane = Lane.DATA) -> None:
        """Handle a batch, in its order."""
        self._late = lane is Lane.BULK
        table, at = self._table, 0
        while (at := self._take_tells(messages, at)) < len(messages):
            message = messages[at]
            table[message[0]](message)
            at += 1

    def _run_of(self, uid: int) -> TellRun | None:
        cell = self._host.cells.get(uid)
        if cell is None or cell.watched or cell.one_by_one():
            return None
        return TellRun(cell, self._credit(cell))

    def _credit(self, cell: Cell) -> CreditReturn:
        if cell.credit_returns is None:
            cell.credit_returns = {}
        credit: CreditReturn | None = cell.credit_returns.get(self._link)
        if credit is None:
            credit = CreditReturn(self._link, cell.ref.uid, self._due)
            cell.credit_returns[self._link] = credit
        return credit

    def _take_tell(self, message: list[Any]) -> None:
        uid, name, args = message[1:4]
        if message[_TELL_ENDS:-1] == _ONLY_BYTES and self._host.propagation is None:
            run = self._run_of(uid)
            if run is not None and run.take(name, args, message[-1]):
                return
        cell = self._host.cells.get(uid)
        handler = cell.handlers.get(name) if cell is not None else None
        kwargs, deadline, *more = message[_TELL_ENDS:] or _NEITHER
        if (
            cell is None
            or handler is None
            or any(type(part) is Undecoded for part in (args, kwargs, *more))
        ):
            self._drop_tell(uid, name, args, kwargs, *more)
            return
        hooks = self._hooks(cell, self._credit(cell), more)
        envelope = envelope_with(more, handler, tuple(args), kwargs or _NO_KEYWORDS)
        envelope.hooks = hooks
        if deadline is not None:
            envelope.deadline = self._link.from_wire(self._host.loop, deadline)
        cell.deliver(envelope)

    def _drop_tell(self, uid: int, name: str, *parts: Any) -> None:
        """Return the credit of a tell that cannot be handled, and report it as a dead letter."""
        credit = CreditReturn(self._link, uid, self._due)
        credit.on_dropped()
        credit.give_back(_counted(parts[_OWN:]))
        ref = (
            self._host.cells[uid].ref
            if uid in self._host.cells
            else Ref(self._host, uid, self._host.name, f"#{uid}", "", 1)
        )
        envelope = Envelope(Handler(name, lambda: None, MessageKind.CALL), (), {})
        self._host.dead_letter(ref, envelope, str(self._refusal(uid, name, *parts)))

    def _refusal(self, uid: int, name: str, *parts: Any) -> Exception:
        """Return why a message cannot be handled."""
        cell = self._host.cells.get(uid)
        if cell is None:
            return ActorStopped.by(self._host.ended.get(uid), f"actor {uid} on {self._host.name}")
        for part in parts:
            if type(part) is Undecoded:
                return NotSendable("", f"{cell.ref.name} could not read the message: {part.error}")
        if len(parts) > _OWN and parts[_OWN]:
            refused = cycle_through(cell, parts[_OWN])
            if refused is not None:
                return refused
        return NotAMessage(f"{name} is not a message of {cell.cls.__name__} on {self._host.name}")

    def _take_note(self, message: list[Any]) -> None:
        _, op, args = message
        if type(args) is Undecoded:
            raise args.error
        self._link.serves.notes[op](self._link, *args)

    def _take_value(self, message: list[Any]) -> None:
        _, topic, missed, *value = message
        if not value:
            self._host.topics.miss(topic, missed)
        elif type(value[0]) is Undecoded:
            self._host.topics.lose(topic, missed + 1, value[0].error)
        else:
            self._host.topics.deliver(topic, missed, value[0])

    def _take_ask(self, kind: type[RemoteReply], message: list[Any]) -> None:
        """Deliver an ask. Most have no keywords, deadline and headers, and need no more than this."""
        link = self._link
        if len(message) != _ASK_ENDS or self._late or link.cancelled_early:
            self._take_any_ask(kind, message)
            return
        _, uid, number, name, args = message
        cell = self._host.cells.get(uid)
        handler = cell.handlers.get(name) if cell is not None else None
        if cell is None or handler is None or type(args) is Undecoded:
            self._take_any_ask(kind, message)
            return
        link.newest_request = number
        reply = kind(link, number, cell)
        envelope = reply.envelope = Envelope(handler, tuple(args), _NO_KEYWORDS, reply)
        if not handler.plain or cell.ref.mailbox < SMALL_MAILBOX:
            envelope.hooks = self._credit(cell)
        link.serving[number] = reply
        del args
        message.clear()  # its handler may run now: what it came with ends with that
        cell.deliver(envelope)

    def _take_any_ask(self, kind: type[RemoteReply], message: list[Any]) -> None:
        link = self._link
        uid, number, name, args = message[1:_ASK_ENDS]
        cell = self._host.cells.get(uid)
        handler = cell.handlers.get(name) if cell is not None else None
        kwargs, deadline, *more = message[_ASK_ENDS:] or _NEITHER
        if (
            cell is None
            or handler is None
            or type(args) is Undecoded
            or type(kwargs) is Undecoded
            or (more and not self._fits(cell, more))
        ):
            self._not_taken(uid, cell, handler, more)
            link.fail(number, self._refusal(uid, name, args, kwargs, *more))
            return
        if self._late or link.cancelled_early:
            wanted = link.begins(number, late=self._late)
        else:
            link.newest_request, wanted = number, True
        if not wanted:
            self._not_taken(uid, cell, handler, more)
            return
        reply = kind(link, number, cell)
        make: Any = partial(envelope_with, more) if more else Envelope
        envelope = reply.envelope = make(handler, tuple(args), kwargs or _NO_KEYWORDS, reply)
        if deadline is not None:
            envelope.deadline = self._link.from_wire(self._host.loop, deadline)
        if returns_credit_when_taken(handler, cell.ref.mailbox):
            envelope.hooks = self._credit(cell)
        if more:
            envelope.hooks = self._hooks(cell, envelope.hooks, more)
        link.serving[number] = reply
        cell.deliver(envelope)

    def _hooks(
        self, cell: Cell, inner: DeliveryHooks | None, headers: list[Any]
    ) -> DeliveryHooks | None:
        """Return the hooks of a message with these headers, which counts its bytes if it is big."""
        size = _counted(headers)
        if size:
            inner = big_message(self._credit(cell), cell.mailbox, size, inner)
        return decode_headers(inner, headers, self._host.propagation)

    def _not_taken(
        self, uid: int, cell: Cell | None, handler: Handler | None, headers: list[Any]
    ) -> None:
        """Return the credit of an ask that does not come into the mailbox, unless its reply does."""
        CreditReturn(self._link, uid, self._due).give_back(_counted(headers))
        if cell is None or handler is None:
            return
        if returns_credit_when_taken(handler, cell.ref.mailbox):
            CreditReturn(self._link, uid, self._due).on_dropped()

    def _fits(self, cell: Cell, more: list[Any]) -> bool:
        """Whether the headers of an ask can be read, and its wait is not part of a circle."""
        if any(type(part) is Undecoded for part in more):
            return False
        return not more[0] or cycle_through(cell, more[0]) is None

    def _take_probe(self, message: list[Any]) -> None:
        _, uid, request, number, path = message
        cell = self._host.cells.get(uid)
        if cell is None:
            return
        if request:
            reply = self._link.serving.get(request)
            asked = reply.envelope if isinstance(reply, RemoteReply) else None
            if asked is None or cell.runs_concurrently(asked):
                return
        self._host.deadlock_probe.arrived(cell, number, path)

    def _answered(self, request: int) -> Envelope | None:
        """Return the ask of this number, which is over, if its asker still waits."""
        entry = self._link.pending.pop(request, None)
        if entry is None:
            return None
        envelope, asked = entry
        asked.answered(envelope)
        return envelope

    def _take_reply(self, message: list[Any]) -> None:
        entry = self._link.pending.pop(message[1], None)
        if entry is None:
            return
        envelope, asked = entry
        asked.answered(envelope)
        reply = envelope.reply
        if reply is None or reply.done():
            return
        if type(message[2]) is Undecoded:
            reply.set_exception(NotSendable("reply", str(message[2].error)))
        else:
            reply.set_result(message[2])

    def _take_error(self, message: list[Any]) -> None:
        entry = self._link.pending.get(message[1])
        if entry is None:
            return
        envelope, asked = entry
        self._answered(message[1])
        ref, error = asked.ref, message[2]
        ended = error.exit if isinstance(error, ActorStopped) else None
        # A handler may pass on that somebody else has ended.
        if ended is not None and (error.message is None or error.ref == ref):
            self._host.remember(ref.uid, ended)
        envelope.fail(_with_message(error, ref, envelope, self._host.ended.get(ref.uid)))

    def _take_item(self, message: list[Any]) -> None:
        entry = self._link.pending.get(message[1])
        if entry is None:
            return
        stream: Any = entry[0].reply
        if type(message[2]) is Undecoded:
            stream.set_exception(NotSendable("item", str(message[2].error)))
        else:
            stream.put_own(message[2])

    def _take_end(self, message: list[Any]) -> None:
        envelope = self._answered(message[1])
        if envelope is not None and envelope.reply is not None:
            envelope.reply.set_result(None)

    def _take_pull(self, message: list[Any]) -> None:
        sink = self._link.serving.get(message[1])
        if isinstance(sink, RemoteSink) and sink.producer is not None:
            sink.producer.allow(message[2])

    def _take_watch(self, message: list[Any]) -> None:
        _, number, uid = message
        if not self._link.begins(number, late=self._late):
            return

        def notice(end: Exit) -> None:
            self._link.serving.pop(number, None)
            if self._link.closed is None:
                ended = [wire.GONE, number, self._link.encoder.encode_value(end, "exit")]
                self._link.send_last(ended)  # behind what the actor sent itself

        ref = Ref[Any](self._host, uid, self._host.name, "", "", 1)
        cancelled = self._host.watch(ref, notice)
        if uid in self._host.cells:
            self._link.serving[number] = cancelled

    def _take_ready(self, message: list[Any]) -> None:
        _, uid, number = message
        cell = self._host.cells.get(uid)
        if not self._link.begins(number, late=self._late):
            return
        if cell is None:
            self._link.fail(number, self._refusal(uid, ""))
            return
        reply = RemoteReply(self._link, number, cell)
        reply.envelope = Envelope(READY, (), {}, reply)
        self._link.serving[number] = reply
        cell.deliver(reply.envelope)

    def _take_stop(self, message: list[Any]) -> None:
        _, uid, grace, drain = message
        self._host.stop_cell(uid, grace, drain=drain)

    def _take_kill(self, message: list[Any]) -> None:
        cell = self._host.cells.get(message[1])
        if cell is not None:
            cell.kill()


bind(TellRun)


def _counted(headers: Sequence[Any]) -> int:
    """Return how many bytes the headers of a message say it counts for."""
    return headers[_BYTES] if len(headers) > _BYTES else 0


class RemoteReply:
    """The reply to an asker at the other end of a link; a `Waiter` that is not awaited on this node."""

    leaves = True
    """Its value is encoded at once, so that the actor need not copy it."""

    __slots__ = ("_done", "_request", "cell", "envelope", "link")

    def __init__(self, link: Link, request: int, cell: Cell) -> None:
        self.link: Link = link
        self._request = request
        self._done = False
        self.cell = cell
        self.envelope: Envelope | None = None

    def __await__(self) -> Any:
        raise TypeError("a remote reply is awaited at the other end")

    def done(self) -> bool:
        """Whether it was answered, or the asker no longer waits."""
        return self._done

    def cancelled(self) -> bool:
        """Whether the asker went away: then it is simply done."""
        return False

    def __call__(self) -> None:
        """Take the message back, or cancel its handler: the asker went away, or the link ended."""
        self._done = True
        envelope, self.envelope = self.envelope, None  # as in `_settle`
        if envelope is not None:
            self.cell.withdraw(envelope)

    def interrupt(self) -> None:
        """Take the message back, or cancel its handler; the asker waits for the answer to that."""
        if self.envelope is not None:
            self.cell.interrupt(self.envelope)

    def _settle(self) -> bool:
        """Mark it as answered; return whether the asker still waits."""
        self._done = True
        # The envelope refers to this reply: the cycle would keep the arguments until a collection.
        self.envelope = None
        link = self.link
        return link.serving.pop(self._request, None) is not None and link.closed is None

    def set_result(self, value: Any, /) -> None:
        """Send the result."""
        self._done = True
        envelope, self.envelope = self.envelope, None  # as in `_settle`
        link = self.link
        if link.serving.pop(self._request, None) is None or link.closed is not None:
            return
        if type(value) not in PLAIN or link.host.memory.mappings.awake:
            self._send_result(value, envelope)
            return
        try:
            link.write([wire.REPLY, self._request, value])
        except (ChannelBroken, ChannelClosed):
            pass  # as in `_send_result`
        except Exception as error:  # noqa: BLE001 - as in `_send_result`
            link.fail(self._request, failed_codec("reply", error))

    def _send_result(self, value: Any, envelope: Envelope | None) -> int:
        """Send the result of a message, or that it cannot be sent; return the size in bytes."""
        link = self.link
        memory = link.host.memory
        if memory.mappings.awake:
            memory.give_back()  # ahead of the reply: its asker may send another big payload at once
        try:
            if type(value) in PLAIN:
                return link.write([wire.REPLY, self._request, value])
            encoded = link.encoder.encode_value(value, "reply")
            size = link.write_encoded([wire.REPLY, self._request, encoded])
        except (ChannelBroken, ChannelClosed):
            return 0  # the asker is told by the end of the link
        except Exception as error:  # noqa: BLE001 - a registered codec's too; the asker is told
            return link.fail(self._request, failed_codec("reply", error))
        if size > BIG:
            self._is_big(size, value, envelope, "reply")
        return size

    def _is_big(self, size: int, value: Any, envelope: Envelope | None, part: str) -> None:
        host: Any = self.cell.host
        method = "" if envelope is None else f".{envelope.handler.name}"
        of = f"{self.cell.ref.cls_path.replace(':', '.')}{method} ({part})"
        host.advice.sent(self.link, of, size, (value,))

    def set_exception(self, error: BaseException, /) -> None:
        """Send the error."""
        if self._settle():
            self.link.fail(self._request, error)


class RemoteSink(RemoteReply):
    """The items of a generator, on their way to a reader at the other end (a `Sink`)."""

    __slots__ = ("producer",)

    def __init__(self, link: Link, request: int, cell: Cell) -> None:
        super().__init__(link, request, cell)
        self.producer: StreamProducer | None = None

    def put(self, value: Any) -> int:
        """Send the next item; return its size in bytes.

        Raises:
            Unsendable, TooBig: it cannot travel; nothing was sent.
        """
        item = self.link.encoder.encode_value(value, "item")
        try:
            size = self.link.write_encoded([wire.ITEM, self._request, item])
        except (ChannelBroken, ChannelClosed):
            return 0  # the reader is told by the end of the link
        if size > BIG:
            self._is_big(size, value, self.envelope, "item")
        return size

    def set_result(self, _value: Any = None, /) -> None:
        """End the stream."""
        if self._settle():
            self.link.send([wire.END, self._request])


def _with_message(error: Any, ref: Ref[Any], envelope: Envelope, end: Exit | None) -> BaseException:
    """Return an error of the other node with this node's ref and message, which that one does not have."""
    if not isinstance(error, BaseException):
        return NotSendable("error", str(error))
    if isinstance(error, Unsendable):
        return not_sendable(error)
    if isinstance(error, TooBig):
        return MessageTooBig(ref, f"its reply: {error}", envelope.message)
    if type(error) is CallCycle and error.message is None:
        return CallCycle(ref, error.why, envelope.message)
    if type(error) is ActorStopped and error.message is None:
        how = error.exit or end
        stopped = None if how is None else ActorStopped.by(how, ref, envelope.message)
        return stopped or ActorStopped(ref, error.why, envelope.message)
    return error
