"""What arrives over one link: actors' messages to their cells, replies to whoever waits for them.

Rule: a message of the wrong shape raises here, and that ends the link.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol

from actors._base.errors import (
    ActorStopped,
    CallCycle,
    MessageTooBig,
    NotAMessage,
    NotSendable,
    not_sendable,
)
from actors._messaging.deadlock import cycle_through
from actors._messaging.mailbox import Envelope
from actors._messaging.message_table import Handler, MessageKind
from actors._messaging.ref import Ref, RefHost
from actors._remoting import protocol as wire
from actors._remoting.header_codec import unpacked
from actors._remoting.remote_actor import CreditReturn, RemoteReply, RemoteSink, counts_apart
from actors.supervisors import Exit
from actors.transport import Lane, TooBig, Undecoded, Unsendable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from actors._actor.cell import Cell
    from actors._messaging.context_propagation import Propagation
    from actors._remoting.deadlock_probe import DeadlockProbe
    from actors._remoting.link import Link
    from actors._remoting.operations import Handlers
    from actors._remoting.peer import Peer
    from actors._remoting.topics import Topics

__all__ = ["Receiver", "ReceiverHost"]

_NO_KEYWORDS: Final[dict[str, Any]] = {}
_NEITHER: Final = (None, None)
_TELL_ENDS: Final = 4
_ASK_ENDS: Final = 5
"""Where a message without keywords and deadline ends."""
_OWN: Final = 2
"""Args and keywords; what is behind those is the message's headers."""
_READY: Final = Handler("(wait_ready)", lambda: None, MessageKind.NOTICE)


class ReceiverHost(RefHost, Protocol):
    """The runtime, as what arrives sees it."""

    name: str
    cells: dict[int, Cell]
    handlers: Handlers[Link]
    topics: Topics
    probes: DeadlockProbe
    propagation: Propagation | None
    answers: tuple[type[RemoteReply], type[RemoteReply]]

    @property
    def ended(self) -> Mapping[int, Exit]: ...
    def peer(self, name: str) -> Peer: ...
    def dead_letter(self, ref: Ref[Any], envelope: Envelope, why: str) -> None: ...


class _TellRun:
    """A run of plain tells to one actor."""

    __slots__ = ("_cell", "_debt", "_handlers", "_mailbox", "_queue")

    def __init__(self, cell: Cell, debt: CreditReturn) -> None:
        self._cell = cell
        self._debt = debt
        self._handlers = cell.handlers
        self._mailbox = cell.mailbox
        self._queue = cell.mailbox.open()

    def take(self, name: str, args: Any) -> bool:
        """Queue one, if it is as plain as it looks; return whether it was."""
        handler = self._handlers.get(name)
        if handler is None or not handler.plain or type(args) is Undecoded or self._cell.draining:
            return False
        self._queue.append((handler, tuple(args), _NO_KEYWORDS, self._debt))
        if self._mailbox.waker is not None:
            self._mailbox.wake()
        return True


class Receiver:
    """The receiving end of one link."""

    def __init__(self, node: ReceiverHost, link: Link) -> None:
        self._node = node
        self._link = link
        self._owing: list[CreditReturn] = []
        self._reply, self._sink = node.answers
        self._table: dict[int, Callable[[list[Any]], None]] = {
            wire.TELL: self._take_tell,
            wire.ASK: self._take_ask,
            wire.STREAM: self._take_stream,
            wire.REPLY: self._take_reply,
            wire.ERROR: self._take_error,
            wire.ITEM: self._take_item,
            wire.END: self._take_end,
            wire.PULL: self._take_pull,
            wire.CANCEL: lambda message: link.cancel_served(message[1]),
            wire.CREDIT: lambda message: node.peer(link.peer).credited(message[1], message[2]),
            wire.WATCH: self._take_watch,
            wire.UNWATCH: lambda message: link.cancel_served(message[1]),
            wire.GONE: lambda message: node.peer(link.peer).gone(message[1], message[2]),
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
            wire.PROBE: self._take_probe,
        }

    def take(self, messages: list[Any], _lane: Lane = Lane.DATA) -> None:
        """Handle a batch, in its order."""
        table = self._table
        last, run = -1, None
        for message in messages:
            if message[0] != wire.TELL or len(message) != _TELL_ENDS:
                table[message[0]](message)
                continue
            # Tells come in runs to one actor: what it takes to deliver them is looked up once.
            _, uid, name, args = message
            if uid != last:
                last, run = uid, self._run_of(uid)
            if run is None or not run.take(name, args):
                self._take_tell(message)

    def _run_of(self, uid: int) -> _TellRun | None:
        cell = self._node.cells.get(uid)
        return None if cell is None else _TellRun(cell, self._debt(cell))

    def _debt(self, cell: Cell) -> CreditReturn:
        if cell.credit_returns is None:
            cell.credit_returns = {}
        debt: CreditReturn | None = cell.credit_returns.get(self._link)
        if debt is None:
            debt = cell.credit_returns[self._link] = CreditReturn(
                self._link, cell.ref.uid, self._owing
            )
        return debt

    def _take_tell(self, message: list[Any]) -> None:
        uid, name, args = message[1:4]
        cell = self._node.cells.get(uid)
        handler = cell.handlers.get(name) if cell is not None else None
        kwargs, ttl, *more = message[_TELL_ENDS:] or _NEITHER
        if (
            cell is None
            or handler is None
            or any(type(part) is Undecoded for part in (args, kwargs, *more))
        ):
            self._misfit(uid, name, args, kwargs, *more)
            return
        hooks = unpacked(self._debt(cell), more, self._node.propagation)
        envelope = Envelope(handler, tuple(args), kwargs or _NO_KEYWORDS, hooks=hooks)
        if ttl is not None:
            envelope.deadline = self._node.loop.now() + ttl
        cell.deliver(envelope)

    def _misfit(self, uid: int, name: str, *parts: Any) -> None:
        """A tell that cannot be handled: account for it, and say so."""
        CreditReturn(self._link, uid, self._owing).on_dropped()
        ref = (
            self._node.cells[uid].ref
            if uid in self._node.cells
            else Ref(self._node, uid, self._node.name, f"#{uid}", "", 1)
        )
        envelope = Envelope(Handler(name, _nothing, MessageKind.CALL), (), {})
        self._node.dead_letter(ref, envelope, str(self._unfit(uid, name, *parts)))

    def _unfit(self, uid: int, name: str, *parts: Any) -> Exception:
        cell = self._node.cells.get(uid)
        if cell is None:
            end = self._node.ended.get(uid)
            return ActorStopped(
                f"actor {uid} on {self._node.name}", f"it has ended: {end or 'long ago'}"
            )
        for part in parts:
            if type(part) is Undecoded:
                return NotSendable("", f"{cell.ref.name} could not read the message: {part.error}")
        if len(parts) > _OWN and parts[_OWN]:
            refused = cycle_through(cell, parts[_OWN])
            if refused is not None:
                return refused
        return NotAMessage(f"{name} is not a message of {cell.cls.__name__} on {self._node.name}")

    def _take_note(self, message: list[Any]) -> None:
        _, op, args = message
        if type(args) is Undecoded:
            raise args.error
        self._node.handlers.notes[op](self._link, *args)

    def _take_value(self, message: list[Any]) -> None:
        _, topic, missed, value = message
        if type(value) is Undecoded:
            self._node.topics.lose(topic, missed + 1, value.error)
        else:
            self._node.topics.deliver(topic, missed, value)

    def _take_ask(self, message: list[Any]) -> None:
        self._take_call(message, self._reply)

    def _take_stream(self, message: list[Any]) -> None:
        self._take_call(message, self._sink)

    def _take_call(self, message: list[Any], kind: type[RemoteReply]) -> None:
        uid, number, name, args = message[1:5]
        cell = self._node.cells.get(uid)
        handler = cell.handlers.get(name) if cell is not None else None
        kwargs, ttl, *more = message[_ASK_ENDS:] or _NEITHER
        if (
            cell is None
            or handler is None
            or type(args) is Undecoded
            or type(kwargs) is Undecoded
            or (more and not self._fits(cell, more))
        ):
            self._not_taken(uid, cell, handler)
            self._link.fail(number, self._unfit(uid, name, args, kwargs, *more))
            return
        if not self._link.begins(number):
            self._not_taken(uid, cell, handler)
            return
        reply = kind(self._link, number, cell)
        if isinstance(reply, RemoteSink):
            self._link.sinks[number] = reply
        envelope = reply.envelope = Envelope(handler, tuple(args), kwargs or _NO_KEYWORDS, reply)
        if ttl is not None:
            envelope.deadline = self._node.loop.now() + ttl
        if counts_apart(handler, cell.mailbox.limit):
            envelope.hooks = self._debt(cell)
        if more:
            envelope.hooks = unpacked(envelope.hooks, more, self._node.propagation)
        self._link.serving[number] = reply
        cell.deliver(envelope)

    def _not_taken(self, uid: int, cell: Cell | None, handler: Handler | None) -> None:
        """Give back what an ask cost that does not come into the mailbox, unless its reply does."""
        if cell is not None and handler is not None and counts_apart(handler, cell.mailbox.limit):
            CreditReturn(self._link, uid, self._owing).on_dropped()

    def _fits(self, cell: Cell, more: list[Any]) -> bool:
        """Whether what goes with an ask can be read, and its wait can end."""
        if any(type(part) is Undecoded for part in more):
            return False
        return not more[0] or cycle_through(cell, more[0]) is None

    def _take_probe(self, message: list[Any]) -> None:
        _, uid, request, number, path = message
        cell = self._node.cells.get(uid)
        if cell is None:
            return
        if request:
            reply = self._link.serving.get(request)
            asked = reply.envelope if isinstance(reply, RemoteReply) else None
            if asked is None or cell.runs_concurrently(asked):
                return
        self._node.probes.arrived(cell, number, path)

    def _answered(self, request: int) -> Envelope | None:
        """Return what was asked under this number, if somebody still waits for it."""
        entry = self._link.pending.pop(request, None)
        if entry is None:
            return None
        envelope, account = entry
        account.answered(envelope)
        return envelope

    def _take_reply(self, message: list[Any]) -> None:
        envelope = self._answered(message[1])
        if envelope is None or envelope.reply is None or envelope.reply.done():
            return
        if type(message[2]) is Undecoded:
            envelope.reply.set_exception(NotSendable("reply", str(message[2].error)))
        else:
            envelope.reply.set_result(message[2])

    def _take_error(self, message: list[Any]) -> None:
        entry = self._link.pending.get(message[1])
        if entry is None:
            return
        envelope, account = entry
        self._answered(message[1])
        ref = account.ref
        envelope.fail(_worded(message[2], ref, envelope, self._node.ended.get(ref.uid)))

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
        sink = self._link.sinks.get(message[1])
        if sink is not None and sink.producer is not None:
            sink.producer.pull(message[2])

    def _take_watch(self, message: list[Any]) -> None:
        _, number, uid = message
        if not self._link.begins(number):
            return

        def notice(end: Exit) -> None:
            self._link.serving.pop(number, None)
            if self._link.closed is None:
                self._link.send([wire.GONE, number, self._link.encoder.encode_value(end, "exit")])

        ref = Ref[Any](self._node, uid, self._node.name, "", "", 1)
        cancelled = self._node.watch(ref, notice)
        if uid in self._node.cells:
            self._link.serving[number] = cancelled

    def _take_ready(self, message: list[Any]) -> None:
        _, uid, number = message
        cell = self._node.cells.get(uid)
        if not self._link.begins(number):
            return
        if cell is None:
            self._link.fail(number, self._unfit(uid, ""))
            return
        reply = RemoteReply(self._link, number, cell)
        reply.envelope = Envelope(_READY, (), {}, reply)
        self._link.serving[number] = reply
        cell.deliver(reply.envelope)

    def _take_stop(self, message: list[Any]) -> None:
        cell = self._node.cells.get(message[1])
        if cell is not None:
            cell.request_stop(Exit.SHUTDOWN, message[2], drain=message[3])

    def _take_kill(self, message: list[Any]) -> None:
        cell = self._node.cells.get(message[1])
        if cell is not None:
            cell.kill()


def _nothing() -> None:
    """What a message that cannot be handled would have run."""


def _worded(error: Any, ref: Ref[Any], envelope: Envelope, end: Exit | None) -> BaseException:
    """Say what the other node could not: it knew a number, this one has name and message."""
    if not isinstance(error, BaseException):
        return NotSendable("error", str(error))
    if isinstance(error, Unsendable):
        return not_sendable(error)
    if isinstance(error, TooBig):
        return MessageTooBig(ref, f"its reply: {error}", envelope.message)
    if type(error) is CallCycle and error.message is None:
        return CallCycle(ref, error.why, envelope.message)
    if type(error) is ActorStopped and error.message is None:
        why = error.why if end is None else f"it has ended: {end}"
        return ActorStopped(ref, why, envelope.message)
    return error
