"""Accounts between a sending node and one receiving actor: credit, replies, streams.

Rule 1: a node may have as many messages under way to an actor as its mailbox holds; each one
the actor takes gives one back. So one full mailbox never blocks the link.
Rule 2: a reply gives the credit of its ask back; other credit is returned once per turn of the
loop, in one message for each actor.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Protocol

from actors._actor.cell import not_sendable
from actors._base.errors import ActorsError, MessageTooBig, NodeDown
from actors._messaging.mailbox import Envelope, WaitQueue
from actors._messaging.message_table import MessageKind
from actors._remoting import protocol as wire
from actors._remoting.link import NotYetAttached
from actors.transport import (
    PLAIN,
    ChannelBroken,
    ChannelClosed,
    Lane,
    Moved,
    StillViewed,
    TooBig,
    TransportError,
    Unsendable,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from actors._actor.cell import Cell
    from actors._base.loop import Loop
    from actors._messaging.context_propagation import Propagation
    from actors._messaging.message_table import Handler
    from actors._messaging.ref import Ref
    from actors._messaging.stream import StreamProducer
    from actors._messaging.turn import Target
    from actors._remoting.link import Link

__all__ = ["CreditReturn", "RemoteActor", "RemoteReply", "RemoteSink", "counts_apart"]

SMALL: Final = 16
"""A mailbox below this has no place to spare for the ask that is being handled."""


def counts_apart(handler: Handler, mailbox: int) -> bool:
    """Return whether an ask's credit comes back when it is taken, not by its reply.

    What runs on after it has left the mailbox must not hold a place in it; for a plain ask the
    reply saves a message, at the price of one place while it is handled.
    """
    return not handler.plain or mailbox < SMALL


class RemoteActorHost(Protocol):
    """The runtime, as its accounts see it."""

    name: str
    loop: Loop
    propagation: Propagation | None

    def traced(self, facts: dict[str, Any]) -> None: ...
    def dead_letter(self, ref: Ref[Any], envelope: Envelope, why: str) -> None: ...
    def lost_tells(self, ref: Ref[Any], count: int, why: str) -> None: ...


class RemoteActorPeer(Protocol):
    """The other node, as its accounts see it."""

    link: Link | None

    @property
    def runtime(self) -> RemoteActorHost: ...
    def connect(self, ref: Ref[Any], envelope: Envelope | None) -> Link: ...
    def down_error(self, ref: object, message: tuple[Any, ...] | None) -> NodeDown: ...


class RemoteActor:
    """The sending side: where a ref of another node's actor delivers (a `Target`)."""

    __slots__ = ("__weakref__", "credit", "peer", "ref", "wait_queue")

    remote = True
    # On whom an actor of another node waits is not known here.
    waiting_for: Mapping[Envelope, Target] = MappingProxyType({})

    def __init__(self, peer: RemoteActorPeer, ref: Ref[Any]) -> None:
        self.peer = peer
        self.ref = ref
        self.credit = ref.mailbox
        self.wait_queue = WaitQueue(peer.runtime.loop.waiter)

    def send(self, handler: Handler, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
        """Send a plain tell now if there is credit; see `Target`."""
        link = self.peer.link
        if link is None or kwargs or self.credit <= 0 or self.wait_queue.waiting or link.congested:
            return self.try_send(Envelope(handler, args, kwargs))
        for value in args:
            if type(value) not in PLAIN:
                return self.try_send(Envelope(handler, args, kwargs))
        try:
            link.post([wire.TELL, self.ref.uid, handler.name, args])
        except TransportError as error:
            raise self._error(error, Envelope(handler, args, kwargs)) from error
        self.credit -= 1
        return True

    def try_send(self, envelope: Envelope) -> bool:
        """Send *envelope* now if there is credit; see `Target`."""
        link = self.peer.link or self.peer.connect(self.ref, envelope)
        if self.credit <= 0 or self.wait_queue.waiting or link.congested:
            return False
        try:
            return self._try_send(link, envelope)
        except (NotYetAttached, MessageTooBig):
            # Over a link that has its socket what is so big goes another way.
            if link.attached:
                raise
            return False

    def _try_send(self, link: Link, envelope: Envelope) -> bool:
        if envelope.reply is None or not envelope.handler.plain or envelope.deadline is not None:
            self._send(link, envelope)
            return True
        if envelope.hooks is not None:
            self._send(link, envelope)
            return True
        for value in envelope.args:
            if type(value) not in PLAIN:
                break
        else:
            if not envelope.kwargs:
                self._ask(link, envelope)
                return True
        self._send(link, envelope)
        return True

    def _ask(self, link: Link, envelope: Envelope) -> None:
        """Send a plain ask: what `_send` does, without what only others need."""
        link.numbers = number = link.numbers + 1
        try:
            link.post([wire.ASK, self.ref.uid, number, envelope.handler.name, envelope.args])
        except TransportError as error:
            raise self._error(error, envelope) from error
        envelope.request = number
        link.pending[number] = (envelope, self)
        self.credit -= 1

    async def send_when_room(self, envelope: Envelope) -> None:
        """Take a snapshot now and send it when there is credit."""
        await self.wait_queue.wait_for_room(envelope, leaves=True)

    def send_past_bound(self, envelope: Envelope) -> None:
        """Send past the bound."""
        link = self.peer.link or self.peer.connect(self.ref, envelope)
        if envelope.handler.kind is MessageKind.NOTICE:
            number = envelope.request = link.number()
            # Control takes no place in the mailbox, so it costs no credit and gives none back.
            link.pending[number] = (envelope, self)
            link.send([wire.READY, self.ref.uid, number])
        else:
            self._send(link, envelope)

    def withdraw(self, envelope: Envelope) -> None:
        """Tell the other node that nobody waits for the reply any more."""
        link = self.peer.link
        if link is None or envelope.request not in link.pending:
            return
        # Numbers are a link's own: after a restart the same one is another message's.
        if link.pending[envelope.request][0] is envelope:
            del link.pending[envelope.request]
            link.send([wire.CANCEL, envelope.request], Lane.CONTROL)
            self.answered(envelope)

    def runs_concurrently(self, _envelope: Envelope) -> bool:
        """The other node knows."""
        return False

    def answered(self, envelope: Envelope) -> None:
        """An ask is over, and its place in the mailbox free."""
        if not counts_apart(envelope.handler, self.ref.mailbox):
            self.credit += 1
            if self.wait_queue.waiting:
                self.refill()

    def probe(self, envelope: Envelope, number: int, path: list[Any]) -> None:
        """Ask the other node whether the wait for *envelope*, or for room for it, leads in a circle."""
        link, request = self.peer.link, envelope.request
        if link is not None and (not request or request in link.pending):
            link.send([wire.PROBE, self.ref.uid, request, number, path])

    def _send(self, link: Link, envelope: Envelope) -> int:
        """Send a message whatever its credit; return its size in bytes."""
        stream = envelope.handler.kind is MessageKind.STREAM
        try:
            size = link.send_envelope(self, envelope, stream=stream)
        except (Moved, StillViewed, NotYetAttached):
            raise  # the sender's own, at the sender
        except TransportError as error:
            raise self._error(error, envelope) from error
        self.credit -= 1
        if stream:
            reply: Any = envelope.reply
            number = envelope.request
            reply.on_item_taken = lambda: link.send([wire.PULL, number, 1], Lane.CONTROL)
        return size

    def _error(self, error: TransportError, envelope: Envelope) -> ActorsError:
        """Word what the floor below could not send."""
        if isinstance(error, Unsendable):
            return not_sendable(error)
        if isinstance(error, TooBig):
            return MessageTooBig(self.ref, str(error), envelope.message)
        return self.peer.down_error(self.ref, envelope.message)

    def returned(self, messages: int) -> None:
        """The actor took *messages* out of its mailbox."""
        self.credit = min(self.credit + messages, self.ref.mailbox)
        self.refill()

    def refill(self) -> None:
        """Send what waits in line as far as credit and link allow."""
        link = self.peer.link
        while link is not None and self.credit > 0 and self.wait_queue.waiting:
            entry = None if link.congested else self.wait_queue.first()
            if entry is None:
                return
            try:
                self._send(link, entry.envelope)
            except Exception as error:  # noqa: BLE001 - whose message it is, is told
                entry.refuse(error)
            else:
                entry.admit()

    def reset(self, why: NodeDown) -> None:
        """The node is gone, and with it every mailbox it had: what was not taken may have run."""
        unacknowledged, self.credit = self.ref.mailbox - self.credit, self.ref.mailbox
        if unacknowledged > 0:
            self.peer.runtime.lost_tells(self.ref, unacknowledged, why.why)
        self.turn_away(why)

    def turn_away(self, why: NodeDown) -> None:
        """Whoever waits for room need not: the node takes nothing new."""
        self.wait_queue.refuse_all(lambda envelope: why.to(self.ref, envelope.message))


class CreditReturn:
    """The receiving side: counts what an actor took, for one sending node (an `DeliveryHooks`)."""

    __slots__ = ("_link", "_owing", "owed", "uid")

    def __init__(self, link: Link, uid: int, owing: list[CreditReturn]) -> None:
        self._link = link
        self._owing = owing
        self.owed = 0
        self.uid = uid

    def on_taken(self) -> None:
        """One message left the mailbox."""
        self.owed += 1
        if self.owed == 1:
            if not self._owing:
                self._link.owner.loop.call_soon(_pay, self._owing)
            self._owing.append(self)

    on_dropped = on_taken

    def for_resume(self) -> None:
        """A message leaves the mailbox once."""

    def pay(self) -> None:
        """Return the credit."""
        owed, self.owed = self.owed, 0
        if self._link.closed is None:
            self._link.send([wire.CREDIT, self.uid, owed], Lane.CONTROL)


def _pay(owing: list[CreditReturn]) -> None:
    debts = owing.copy()
    owing.clear()
    for debt in debts:
        debt.pay()


class RemoteReply:
    """The reply to an asker at the other end of a link (a `Waiter` nobody awaits here)."""

    leaves = True
    """What it is given leaves this node, and is encoded at once."""

    __slots__ = ("_done", "_link", "_request", "cell", "envelope")

    def __init__(self, link: Link, request: int, cell: Cell) -> None:
        self._link = link
        self._request = request
        self._done = False
        self.cell = cell
        self.envelope: Envelope | None = None

    def __await__(self) -> Any:
        raise TypeError("a remote reply is awaited at the other end")

    def done(self) -> bool:
        """Whether it was answered, or nobody waits any more."""
        return self._done

    def cancelled(self) -> bool:
        """Whether the asker went away: then it is simply done."""
        return False

    def __call__(self) -> None:
        """Do what the link does with all it serves when it is cancelled."""
        self.withdraw()

    def withdraw(self) -> None:
        """The asker went away: take its message back, or break off its handler."""
        self._done = True
        # As in `_settle`.
        envelope, self.envelope = self.envelope, None
        if envelope is not None:
            self.cell.withdraw(envelope)

    def _settle(self) -> bool:
        self._done = True
        # The envelope has this reply: together they would keep what was sent until a collection.
        self.envelope = None
        link = self._link
        return link.serving.pop(self._request, None) is not None and link.closed is None

    def set_result(self, value: Any, /) -> None:
        """Send the result."""
        if self._settle():
            self._link.reply(self._request, value)

    def set_exception(self, error: BaseException, /) -> None:
        """Send the error."""
        if self._settle():
            self._link.fail(self._request, error)


class RemoteSink(RemoteReply):
    """The items of a generator, on their way to a reader at the other end (a `Sink`)."""

    __slots__ = ("producer",)

    def __init__(self, link: Link, request: int, cell: Cell) -> None:
        super().__init__(link, request, cell)
        self.producer: StreamProducer | None = None

    def withdraw(self) -> None:
        """The reader went away."""
        self._link.sinks.pop(self._request, None)
        super().withdraw()

    def _settle(self) -> bool:
        self._link.sinks.pop(self._request, None)
        return super()._settle()

    def put(self, value: Any) -> int:
        """Send the next item; return its size in bytes.

        Raises:
            Unsendable, TooBig: it cannot travel; nothing was sent.
        """
        item = self._link.encoder.encode_value(value, "item")
        try:
            return self._link.ship([wire.ITEM, self._request, item])
        except (ChannelBroken, ChannelClosed):
            return 0  # the reader's end is told by the end of the link

    def set_result(self, _value: Any = None, /) -> None:
        """End the stream."""
        if self._settle():
            self._link.send([wire.END, self._request])
