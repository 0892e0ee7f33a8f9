"""An actor of another node, as its senders here know it: sends while it has credit.

Rule 1: this node may have as many messages in flight to an actor as that actor's mailbox holds. Each
message that the actor takes gives one credit back, so that a full mailbox never blocks the link. The bytes of
big messages have a bound of their own, and come back in the same way.
Rule 2: a reply gives the credit of its ask back; other credit comes back once per turn of the other
node's loop, in one message for each actor.
"""

from __future__ import annotations

from time import perf_counter
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, NoReturn, Protocol

from actors._base.errors import (
    ActorCrashed,
    ActorsError,
    ActorStopped,
    MailboxFull,
    MessageTooBig,
    NodeDown,
    SendError,
    not_sendable,
)
from actors._base.twins import COMPILED, bind
from actors._messaging.byte_bound import TEXT_COUNTED_FROM, counted_bytes, never_big
from actors._messaging.mailbox import Envelope, WaitQueue
from actors._messaging.mailbox_options import Priority
from actors._messaging.message_table import MessageKind
from actors._messaging.turn import sending_actor
from actors._remoting import operations as ops, protocol as wire
from actors._remoting.link import LinkHost
from actors._remoting.program_advice import BIG, ProgramAdvice
from actors._remoting.unattached import NotYetAttached
from actors.transport import (
    PLAIN,
    Lane,
    Moved,
    NoRoom,
    StillViewed,
    TooBig,
    TransportError,
    Unsendable,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from actors._messaging.context_propagation import Propagation
    from actors._messaging.message_table import Handler
    from actors._messaging.ref import Ref
    from actors._messaging.turn import Target
    from actors._remoting.link import Link
    from actors.supervisors import Exit

__all__ = [
    "SMALL_MAILBOX",
    "PeerInterface",
    "RemoteActor",
    "SenderHost",
    "returns_credit_when_taken",
]

SMALL_MAILBOX: Final = 16
"""A mailbox below this has no place to spare for the ask that is being handled."""

_NO_KEYWORDS: Final[dict[str, Any]] = {}
_plain: Final = PLAIN.issuperset
"""Whether all of some types are plain, at the speed of C."""

_NO_HEADERS: Final = (None, None, None, None)
"""Keywords, deadline, chain and context variables of a message that has none of them."""


def returns_credit_when_taken(handler: Handler, mailbox: int) -> bool:
    """Return whether an ask's credit comes back when the actor takes it, not with the reply.

    A concurrent handler must not take up a place in the mailbox while it runs. The credit of a plain ask
    comes back with the reply, which saves a message but takes up one place while the ask is handled.
    """
    return not handler.plain or mailbox < SMALL_MAILBOX


class SenderHost(LinkHost, Protocol):
    """The actor host, as remote actors see it."""

    name: str
    propagation: Propagation | None

    @property
    def advice(self) -> ProgramAdvice: ...
    def traced(self, facts: dict[str, Any]) -> None: ...
    def lost_tells(self, ref: Ref[Any], count: int, why: str) -> None: ...


class PeerInterface(Protocol):
    """The `Peer` that has the actor, as the actor sees it."""

    link: Link | None
    ready: bool
    waiting: bool

    @property
    def host(self) -> SenderHost: ...
    @property
    def sent_over(self) -> list[Link]: ...
    def connect(self, ref: object, envelope: Envelope | None) -> Link: ...
    def down_error(self, ref: object, message: tuple[Any, ...] | None) -> NodeDown: ...


class _Nowhere:
    """In place of the peer of an actor that has ended: there is no link to it, and connecting is refused."""

    link = None
    ready = waiting = False

    def __init__(self, host: SenderHost, end: Exit) -> None:
        self.host = host
        self.sent_over: list[Link] = []
        self._end = end

    def connect(self, ref: object, envelope: Envelope | None) -> NoReturn:
        """Refuse a message.

        Raises:
            ActorStopped: always.
        """
        raise ActorStopped.by(self._end, ref, None if envelope is None else envelope.message)


class _Fields:
    __slots__ = (
        "__weakref__",
        "_credited",
        "_small",
        "big_waits",
        "bytes",
        "credit",
        "peer",
        "ref",
        "wait_queue",
    )

    peer: PeerInterface
    ref: Ref[Any]
    credit: int
    bytes: int
    wait_queue: WaitQueue


class _RemoteActorInPython(_Fields):
    """How a message for an actor of another node comes to the link."""

    __slots__ = ()

    bytes: int
    credit: int

    def answered(self, envelope: Envelope) -> None:
        """As `RemoteActor.answered`."""
        raise NotImplementedError

    @property
    def waits_for_node(self) -> bool:
        """As `RemoteActor.waits_for_node`."""
        raise NotImplementedError

    def _send(self, link: Link, envelope: Envelope) -> int:
        raise NotImplementedError

    def _is_big(self, link: Link, handler: Handler, size: int, args: tuple[Any, ...]) -> None:
        raise NotImplementedError

    def _error(self, error: TransportError, envelope: Envelope) -> ActorsError:
        raise NotImplementedError

    def send(self, handler: Handler, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
        """Send a plain tell now if there is credit; see `Target`."""
        link = self.peer.link
        if (
            link is None
            or kwargs
            or self.credit <= 0
            or link.out.congested
            or (self.wait_queue.waiting and not self.wait_queue.goes_on())
        ):
            return self.try_send(Envelope(handler, args, kwargs))
        for value in args:
            kind = type(value)
            if kind not in PLAIN or (kind is str and len(value) > TEXT_COUNTED_FROM):
                return self._send_encoded(link, handler, args)
        try:
            link.write([wire.TELL, self.ref.uid, handler.name, args])
        except NoRoom:
            return False
        except TransportError as error:
            raise self._error(error, Envelope(handler, args, kwargs)) from error
        self.credit -= 1
        return True

    def _send_encoded(self, link: Link, handler: Handler, args: tuple[Any, ...]) -> bool:
        """Send a tell with arguments that have to be encoded, as `send`."""
        counted = 0 if never_big(map(type, args)) else counted_bytes(args, _NO_KEYWORDS)
        if self.bytes and counted and not self.ref.bounds.has_room(self.bytes, counted):
            return False
        headers = (*_NO_HEADERS, counted) if counted else ()
        try:
            values, _ = link.encoder.encode_args(args, _NO_KEYWORDS)
            size = link.write_encoded([wire.TELL, self.ref.uid, handler.name, values, *headers])
        except NoRoom:
            return False
        except TransportError:
            # Nothing was sent: there the same error is handled, or raised as the sender's.
            return self.try_send(Envelope(handler, args, {}))
        self.credit -= 1
        self.bytes += counted
        if size > BIG:
            self._is_big(link, handler, size, args)
        return True

    def try_send(self, envelope: Envelope) -> bool:
        """Send *envelope* now if there is credit; see `Target`."""
        link = self.peer.link
        if link is None:
            if self.waits_for_node:
                return False
            link = self.peer.connect(self.ref, envelope)
        if self.credit <= 0 or link.out.congested or not self.wait_queue.lets_pass():
            return False
        if self.bytes and not self._has_room(envelope):
            return False
        simple = envelope.deadline is None and envelope.hooks is None and not envelope.priority
        try:
            if (
                simple
                and envelope.reply is not None
                and envelope.handler.plain
                and not envelope.kwargs
                and (never_big(map(type, envelope.args)) or not counted_bytes(envelope.args, {}))
            ):
                self._ask(link, envelope)
            else:
                self._send(link, envelope)
        except (NoRoom, NotYetAttached, MessageTooBig) as error:
            # A big payload goes by shared memory once the link has its socket: wait for that.
            if link.attached and not isinstance(error, NoRoom):
                raise
            return False
        return True

    def _has_room(self, envelope: Envelope) -> bool:
        """Whether the bytes of *envelope* have room beside those under way."""
        size = counted_bytes(envelope.args, envelope.kwargs)
        return not size or self.ref.bounds.has_room(self.bytes, size)

    def _ask(self, link: Link, envelope: Envelope) -> None:
        """As `_send`, for an ask without keywords, headers, deadline and big arguments."""
        args: Any = envelope.args
        link.numbers = number = link.numbers + 1
        try:
            message = [wire.ASK, self.ref.uid, number, envelope.handler.name, args]
            if _plain(map(type, args)):
                link.write(message)
            else:
                message[-1], _ = link.encoder.encode_args(args, _NO_KEYWORDS)
                size = link.write_encoded(message)
                if size > BIG:
                    self._is_big(link, envelope.handler, size, args)
        except (Moved, StillViewed, NotYetAttached, NoRoom):
            raise  # as in `_send`
        except TransportError as error:
            raise self._error(error, envelope) from error
        envelope.request = number
        link.pending[number] = (envelope, self)
        self.credit -= 1


_RemoteActorTwin = _RemoteActorInPython
if not TYPE_CHECKING and COMPILED:

    class _RemoteActorTwin(COMPILED.RemoteActorMethods, _RemoteActorInPython):
        """The methods in C leave what is rare to those in Python."""

        __slots__ = ()


class RemoteActor(_RemoteActorTwin):
    """An actor of another node: the `Target` of refs to it. Sends while it has credit."""

    __slots__ = ()

    credit: int

    remote = True
    # On whom an actor of another node waits is not known here.
    waiting_for: Mapping[Envelope, Target] = MappingProxyType({})

    def __init__(self, peer: PeerInterface, ref: Ref[Any]) -> None:
        self.peer: PeerInterface = peer
        self.ref: Ref[Any] = ref
        self.credit: int = ref.mailbox
        self._small = ref.mailbox < SMALL_MAILBOX
        self._credited = 0.0  # when credit came, if senders have waited
        self.bytes: int = 0
        """Bytes of big messages that were sent and not taken yet."""
        self.big_waits: bool = False
        """Whether the first message that waits is a big one that found no room on the link."""
        by_priority = type(ref.bounds) is Priority
        self.wait_queue: WaitQueue = WaitQueue(peer.host.loop.waiter, priority=by_priority)

    @property
    def waits_for_node(self) -> bool:
        """As `Target.waits_for_node`."""
        peer = self.peer
        return peer.waiting and (peer.ready or not self.ref.uid >> 32)

    def no_room(self, envelope: Envelope) -> SendError:
        """As `Target.no_room`."""
        if self.waits_for_node:
            return self.peer.down_error(self.ref, envelope.message)
        return MailboxFull(self.ref, "its mailbox is full", envelope.message)

    async def send_when_room(self, envelope: Envelope) -> None:
        """Take a snapshot now and send it when there is credit."""
        line = self._waiting_room()
        await line.wait_for_room(envelope, leaves=True, actor=sending_actor())

    def wait_in_line(
        self, envelope: Envelope, refused: Callable[[BaseException], None]
    ) -> Callable[[], None]:
        """As `Target.wait_in_line`."""
        line = self._waiting_room()
        return line.enter(envelope, refused, leaves=True, actor=sending_actor())

    def _waiting_room(self) -> WaitQueue:
        """Return the senders that wait, for one more: they take turns from now on."""
        line, link = self.wait_queue, self.peer.link
        # While there is no link, nobody knows; what cannot go is refused when its turn comes then.
        line.leaves_machine = link is not None and link.far
        if line.turns is None:
            line.take_turns(self.peer.host.loop, self.ref.mailbox, self.send_waiting)
        return line

    def send_past_bound(self, envelope: Envelope) -> None:
        """Send past the bound."""
        self._send_any(self.peer.link or self.peer.connect(self.ref, envelope), envelope)

    def _send_any(self, link: Link, envelope: Envelope) -> None:
        """Send a message, or a notice, whatever the credit."""
        if envelope.handler.kind is MessageKind.NOTICE:
            number = envelope.request = link.number()
            # Control takes no place in the mailbox, so it costs no credit and gives none back.
            link.pending[number] = (envelope, self)
            link.send([wire.READY, self.ref.uid, number])
        else:
            self._send(link, envelope)

    def withdraw(self, envelope: Envelope) -> None:
        """Tell the other node that the reply is no longer awaited."""
        for link in self.peer.sent_over:
            # Each link counts its own requests: on another link this number is another message's.
            sent = link.pending.get(envelope.request)
            if sent is not None and sent[0] is envelope:
                del link.pending[envelope.request]
                link.cancel(envelope.request, self.ref.uid)
                self.answered(envelope)

    def interrupt(self, envelope: Envelope) -> None:
        """As `Target.interrupt`."""
        link = self.peer.link
        if link is not None and link.pending.get(envelope.request, (None,))[0] is envelope:
            link.note_behind(ops.interrupt_request, envelope.request)
        else:
            self.wait_queue.refuse(envelope, ActorCrashed(self.ref, "cancelled before it was sent"))

    def runs_concurrently(self, _envelope: Envelope) -> bool:
        """Only the other node knows."""
        return False

    def answered(self, envelope: Envelope) -> None:
        """Take back the credit of an ask that is over, unless it came back when the actor took the ask."""
        if envelope.handler.plain and not self._small:
            self.credit += 1
            if self.wait_queue.waiting:
                self.send_waiting()

    def probe(self, envelope: Envelope, number: int, path: list[Any]) -> None:
        """Ask the other node whether the wait for *envelope*, or for room for it, is part of a cycle."""
        link, request = self.peer.link, envelope.request
        if link is not None and (not request or request in link.pending):
            link.send([wire.PROBE, self.ref.uid, request, number, path])

    def _send(self, link: Link, envelope: Envelope) -> int:
        """Encode and send a message whatever the credit; return its size in bytes."""
        try:
            size = self._write(link, envelope)
        except (Moved, StillViewed, NotYetAttached, NoRoom):
            raise  # the sender's own, at the sender
        except TransportError as error:
            raise self._error(error, envelope) from error
        self.credit -= 1
        if size > BIG:
            self._is_big(link, envelope.handler, size, (*envelope.args, envelope.kwargs))
        return size

    def _is_big(self, link: Link, handler: Handler, size: int, args: tuple[Any, ...]) -> None:
        of = f"{self.ref.cls_path.replace(':', '.')}.{handler.name} (arguments)"
        self.peer.host.advice.sent(link, of, size, args)

    def _write(self, link: Link, envelope: Envelope) -> int:
        counted = counted_bytes(envelope.args, envelope.kwargs)
        args, rest = link.encode(envelope)
        if counted or envelope.priority:
            rest = (*rest, *_NO_HEADERS[len(rest) :], counted)
            rest = (*rest, envelope.priority) if envelope.priority else rest
        name, uid, reply = envelope.handler.name, self.ref.uid, envelope.reply
        if reply is None:
            size = link.write_encoded([wire.TELL, uid, name, args, *rest])
            self.bytes += counted
            return size
        number = link.number()
        stream = envelope.handler.kind is MessageKind.STREAM
        op = wire.STREAM if stream else wire.ASK
        size = link.write_encoded([op, uid, number, name, args, *rest])
        self.bytes += counted
        envelope.request = number
        link.pending[number] = (envelope, self)
        if stream:
            items: Any = reply
            items.on_item_taken = lambda: link.send([wire.PULL, number, 1], Lane.CONTROL)
        return size

    def _error(self, error: TransportError, envelope: Envelope) -> ActorsError:
        """Return the public error for an error of the transport."""
        if isinstance(error, Unsendable):
            return not_sendable(error)
        if isinstance(error, TooBig):
            error.why = self.peer.host.memory.describe()
            return MessageTooBig(self.ref, str(error), envelope.message)
        return self.peer.down_error(self.ref, envelope.message)

    def credited(self, messages: int, size: int = 0) -> None:
        """Take back the credit for *messages* that the actor took, *size* in bytes; send what waits for it."""
        self.credit = min(self.credit + messages, self.ref.mailbox)
        self.bytes = max(self.bytes - size, 0)
        if self.wait_queue.turns is not None:
            now = perf_counter()
            self.wait_queue.turns.pace(messages, now - self._credited)
            self._credited = now
        self.send_waiting()

    def send_waiting(self) -> None:
        """Send messages of the wait queue as far as credit and link allow."""
        link = self.peer.link
        if link is None and self.wait_queue.waiting and self.peer.ready and not self.peer.waiting:
            link = self.peer.connect(self.ref, None)
        line = self.wait_queue
        while link is not None and self.credit > line.held and line.waiting:
            entry = None if link.out.congested else line.first()
            if (
                entry is None
                or (self.big_waits and link.full_for(self.ref.uid))
                or (self.bytes and not self._has_room(entry.envelope))
            ):
                return
            self.big_waits = False
            try:
                self._send_any(link, entry.envelope)
            except NoRoom:
                self.big_waits = True
                return
            except Exception as error:  # noqa: BLE001 - it is raised at this message's sender
                if isinstance(error, (NotYetAttached, MessageTooBig)) and not link.attached:
                    return  # as in `try_send`
                entry.refuse(error)
            else:
                entry.admit()

    def reset(self, why: NodeDown) -> None:
        """Restore full credit, as the node's mailboxes are gone; report tells that may have run."""
        unacknowledged, self.credit = self.ref.mailbox - self.credit, self.ref.mailbox
        self.bytes = 0
        if unacknowledged > 0:
            self.peer.host.lost_tells(self.ref, unacknowledged, why.why)

    def ended(self, end: Exit) -> None:
        """Refuse every message from now on, also those that wait for credit."""
        nowhere: Any = _Nowhere(self.peer.host, end)
        self.peer = (
            nowhere  # so that sending, which looks at the peer's link anyway, costs nothing more
        )
        self.wait_queue.refuse_all(
            lambda envelope: ActorStopped.by(end, self.ref, envelope.message)
        )

    def refuse_waiting(self, why: NodeDown) -> None:
        """Fail the senders that wait, unless they may wait for the next run of the node."""
        if self.waits_for_node:
            return
        self.wait_queue.refuse_all(lambda envelope: why.to(self.ref, envelope.message))


bind(RemoteActor, remote_twin=_RemoteActorInPython, tell_op=int(wire.TELL), ask_op=int(wire.ASK))
