"""Another node, as this node knows it over all its runs: the link to it, and its actors and watches."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Any, Protocol
from weakref import WeakValueDictionary

from actors._base.errors import ActorCrashed, NodeDown
from actors._base.twins import bind
from actors._remoting import protocol as wire
from actors._remoting.remote_actor import SenderHost
from actors.supervisors import Exit
from actors.transport import Attachments, Lane

if TYPE_CHECKING:
    from collections.abc import Callable
    from socket import socket

    from actors._base.loop import Timer
    from actors._messaging.mailbox import Envelope
    from actors._messaging.ref import Ref
    from actors._remoting.link import Link
    from actors._remoting.remote_actor import PeerInterface, RemoteActor
    from actors.transport import Endpoint
    from actors.transport.channels.tls_session import TlsSession

__all__ = ["Peer", "PeerHost", "SystemServices"]


class SystemServices(Protocol):
    """What a node needs from the system that it is part of: the coordinator, or a node's way to it."""

    def connect(self, peer: Peer) -> None: ...
    def watch_actor(
        self, ref: Ref[Any], notice: Callable[[Exit], None], why: str
    ) -> Callable[[], None]: ...
    def event(self, kind: str, facts: dict[str, Any]) -> None: ...
    async def topic_join(self, name: str) -> None: ...
    def topic_leave(self, name: str) -> None: ...
    def topic_keep(self, name: str, value: Any) -> None: ...
    async def topic_last(self, name: str) -> tuple[Any, ...]: ...
    def unclaim(self, ref: Ref[Any]) -> None: ...
    async def claim(self, ref: Ref[Any]) -> None: ...
    async def new_fence(self) -> int: ...
    def stop_actor(self, ref: Ref[Any]) -> None: ...
    def actor_killed(self, ref: Ref[Any], after: float, by: str) -> None: ...


class PeerHost(SenderHost, Protocol):
    """The actor host, as peers and topics see it."""

    services: SystemServices
    new_remote_actor: Callable[[PeerInterface, Ref[Any]], RemoteActor]

    def remember(self, uid: int, end: Exit) -> None:
        """Remember how an actor ended, and refuse messages to it from now on."""

    def new_link(self, peer: str) -> Link: ...
    def peer(self, name: str) -> Peer: ...
    def peer_changed(self) -> None: ...
    def peer_down(self, name: str) -> None: ...
    def dead_letter(self, ref: Ref[Any], envelope: Envelope, why: str) -> None: ...


class _Fields:
    __slots__ = ("link",)


class Peer(_Fields):
    """Another node, over all its runs: keeps its remote actors and watches while links come and end.

    Attributes:
        name: its address.
        node: its name for users: the address without what follows the ~, which tells runs apart.
        link: the link that messages go over, None until the first message needs one.
        ready: whether messages are sent.
        waiting: whether messages wait at their senders, those for the actors that the parent supervises
            and will start on the node's next run; otherwise, what cannot be sent is refused at once.
            While the node is ready, messages for all its actors wait, and only for the news of it.
        links: how many links to its current run there have been.
        ended_runs: how many runs of it have ended, as far as this node was told.
    """

    def __init__(self, host: PeerHost, name: str) -> None:
        self.host = host
        self.name = name
        self.node: str = name.partition("~")[0]
        self.link: Link | None = None
        self.ready: bool = True
        self.restarting: bool = False
        self.waiting: bool = False
        self.draining: bool = False
        self.why: str = ""
        self._late = False
        self._waits_until = 0.0
        self._patience_over: Timer | None = None
        # The link to a node that drains, or that has ended unexplained: what was sent over it is settled
        # by what comes over it, and by the news of the node's end.
        self._former_link: Link | None = None
        # A link that had no socket yet when the node went: the next run gets what it holds.
        self._unsent_link: Link | None = None
        # Links for which a node asked while it drained: it sends over them, this one does not.
        self._incoming: list[Link] = []
        self.links: int = 0
        self.ended_runs: int = 0
        # A remote actor lives as long as a ref to it does, or an ask that awaits its reply.
        self._remote_actors: WeakValueDictionary[int, RemoteActor] = WeakValueDictionary()
        self._lent: list[Attachments] = []
        self._watches: dict[int, tuple[Ref[Any], Callable[[Exit], None]]] = {}

    def remote_actor(self, ref: Ref[Any]) -> RemoteActor:
        """Return the target for messages to one of its actors."""
        actor = self._remote_actors.get(ref.uid)
        if actor is None:
            actor = self._remote_actors[ref.uid] = self.host.new_remote_actor(self, ref)
        return actor

    def move_actors_to(self, other: Peer) -> None:
        """Reach the actors that the parent supervises at *other*: a new run of the node has them."""
        for uid, actor in list(self._remote_actors.items()):
            if not uid >> 32:
                del self._remote_actors[uid]
                actor.peer = other
                other._remote_actors[uid] = actor
        if other.ready and other.link is None and self._unsent_link is not None:
            other.link, self._unsent_link = self._unsent_link, None
            other.link.peer = other.name
            self.host.services.connect(other)
        self._wait(0.0)
        self._refuse_waiting()
        other.send_waiting()
        if not other.ready and not other.waiting:
            other._refuse_waiting()
        self.host.peer_changed()

    def down_error(self, ref: object, message: tuple[Any, ...] | None) -> NodeDown:
        """Return the error for a message that cannot be sent to this node now."""
        if self.ready:
            lost = f"the link to node {self.node} was lost ({self.why or 'it is closed'})"
            why = f"{lost}; the next message makes another"
            return NodeDown(ref, why, message, node=self.node, restarting=True)
        state = "is draining" if self.draining else "is down"
        follows = "it is being restarted" if self.restarting else "it is not coming back"
        if self.restarting and self._late:
            follows += ", which takes longer than System(patience=)"
        why = f"node {self.node} {state} ({self.why or 'not started'}); {follows}"
        return NodeDown(ref, why, message, node=self.node, restarting=self.restarting)

    def connect(self, ref: object, envelope: Envelope | None) -> Link:
        """Return the link, made on first use.

        Raises:
            NodeDown: the node is not ready.
        """
        if not self.ready:
            raise self.down_error(ref, None if envelope is None else envelope.message)
        if self.link is None and self._former_link is not None:
            return self._former_link  # it has ended, and what that means is told soon
        if self.link is None:
            self.host.services.connect(self)
            self.link = self.host.new_link(self.name)
        return self.link

    def control(self, message: list[Any]) -> None:
        """Send a request to end one of its actors, unless the node is down: then there is nothing to end."""
        link = self._former_link
        if link is None and self.ready:
            link = self.connect(self.name, None)
        if link is not None:
            link.send(message, Lane.CONTROL if message[0] == wire.KILL else Lane.DATA)

    @property
    def sent_over(self) -> list[Link]:
        """The links over which asks were sent that are not settled."""
        links = (self.link, self._former_link, self._unsent_link)
        return [link for link in links if link is not None]

    @property
    def patience(self) -> float:
        """The seconds for which messages wait from now on, if the node does not get ready before."""
        return max(0.0, self._waits_until - self.host.loop.now()) if self.waiting else 0.0

    def _wait(self, seconds: float) -> None:
        """Let messages wait at their senders for at most *seconds* from now, or not at all."""
        timer, self._patience_over = self._patience_over, None
        if timer is not None:
            timer.cancel()
        self.waiting = seconds > 0
        self._waits_until = self.host.loop.now() + seconds
        if 0 < seconds < inf:
            self._patience_over = self.host.loop.call_later(seconds, self._waited_enough)

    def _waited_enough(self) -> None:
        if self.ready:
            self._link_lost()
        else:
            self._late = True
            self._wait(0.0)
            self._refuse_waiting()

    def up(self, link: Link | None = None) -> None:
        """Send messages from now on: the node is ready. The parent gives the link it has already."""
        self.ready = True
        self.draining = self._late = False
        self.why = ""
        self._wait(0.0)
        # The node may have sent to this one before it was ready, over a link that it asked for.
        self.link = link or self.link
        if self.link is None and self._unsent_link is not None:
            self.link, self._unsent_link = self._unsent_link, None
            self.host.services.connect(self)
        self.send_waiting()
        self.host.peer_changed()

    def attach(self, end: socket | Endpoint | TlsSession) -> None:
        """Give this node's end of a new link its socket, endpoint within the process, or session."""
        self.links += 1
        if self.draining:
            self._incoming.append(self.host.new_link(self.name))
            self._incoming[-1].attach(end)
            return
        if self.ready and self.waiting:
            self._link_lost()
        link, self.link = self.link, None
        if link is not None and link.attached:
            # The other node asked for a new link because the old one has ended.
            self.drop(link)
            link = None
        unsent, self._unsent_link = self._unsent_link, None
        self.link = link or unsent or self.host.new_link(self.name)
        self.link.attach(end)

    def attach_late(self, end: socket | TlsSession, ended_runs: int) -> None:
        """As `attach`, for an end asked for when so many runs had ended; that of one that is over is closed."""
        if self.ended_runs == ended_runs:
            self.attach(end)
        else:
            end.close()

    def link_ended(self, link: Link, within: float) -> None:
        """Have messages wait for at most *within* seconds for news: the node has ended, or only its link."""
        if self.link is link:
            self.link, self._former_link = None, link
            self.why = link.closed or ""
            if link.far:
                self.why = f"{self.node} cannot be reached from {self.host.name}: {self.why}"
            self._wait(within)

    def _link_lost(self) -> None:
        """Fail what went over a link that has ended: its node has not."""
        self._wait(0.0)
        link, self._former_link = self._former_link, None
        if link is not None:
            self.drop(link)
        self.send_waiting()

    def drain(self, why: str, *, restarting: bool, patience: float) -> None:
        """Send nothing new, as the node ends on purpose; answers to what was sent still come."""
        self.ready = False
        self.restarting = restarting
        self.draining = True
        self.why = why
        self._wait(patience)
        self._keep_unsent()
        self._former_link, self.link = self.link or self._former_link, None
        self._refuse_waiting()

    def down(self, why: str, *, restarting: bool, patience: float = 0.0) -> None:
        """Fail what was awaited from the node, which has ended; the errors say what happens next.

        Args:
            why: how it ended.
            restarting: whether it is expected back.
            patience: the seconds for which messages wait for it.
        """
        self._late = restarting and not self.ready and not self.draining and patience <= 0
        self.ready = self.draining = False
        self.restarting = restarting
        self.why = why
        self.links = 0
        self.ended_runs += 1
        self._wait(patience)
        self._keep_unsent()
        self.host.peer_down(self.name)
        links = [link for link in (self.link, self._former_link) if link is not None]
        self.link = self._former_link = None
        for link in links:
            self.drop(link)
            link.close()
        incoming, self._incoming = self._incoming, []
        for link in incoming:
            self._lent.append(link.attachments)
            link.close()
        # Only now is it certain that no process reads the memory that was lent over these links.
        for attachments in self._lent:
            attachments.reclaim()
        self._lent.clear()
        self._refuse_waiting()
        self.host.peer_changed()

    def _keep_unsent(self) -> None:
        """Keep a link that has no socket yet, and what it holds, for the next run of the node."""
        if self.link is not None and not self.link.attached:
            self._unsent_link, self.link = self.link, None

    def _refuse_waiting(self) -> None:
        """Fail what waits for the next run of the node, unless it may wait on."""
        error = self.down_error(self.name, None)
        unsent = self._unsent_link
        if unsent is not None and not self.waiting:
            self._unsent_link = None
            self.drop(unsent)
            unsent.close()
        for actor in list(self._remote_actors.values()):
            actor.refuse_waiting(error)

    def abandon(self, why: str) -> None:
        """Send nothing more, in a process that was forked from the one that has the links."""
        self.ready, self.why = False, why
        for link in (*self.sent_over, *self._incoming):
            link.abandon()

    def close(self) -> None:
        """Close the links: this node ends."""
        self._wait(0.0)
        for link in (*self.sent_over, *self._incoming):
            link.close()

    def drop(self, link: Link) -> None:
        """Fail every ask, call and watch that went over *link*."""
        self._lent.append(link.attachments)
        pending = list(link.pending.values())
        link.pending.clear()
        error = self.down_error(self.name, None)
        for envelope, asked in pending:
            asked.answered(envelope)
            lost = error.to(asked.ref, envelope.message)
            lost.may_have_run = True
            envelope.fail(lost)
        for waiter in list(link.calls.values()):
            if not waiter.done():
                # Each gets its own error: raising one adds frames of the catcher to it.
                waiter.set_exception(self.down_error(self.name, None))
        for actor in list(self._remote_actors.values()):
            actor.reset(error)
        watches = list(self._watches.values())
        self._watches.clear()
        for ref, notice in watches:
            self.host.services.watch_actor(ref, notice, self.why)

    def actor_unheard(self, uid: int) -> None:
        """Fail the asks to an actor that was killed, and that its node does not end."""
        for link in self.sent_over:
            for number, (envelope, asked) in list(link.pending.items()):
                if asked.ref.uid == uid:
                    del link.pending[number]
                    asked.answered(envelope)
                    envelope.fail(ActorCrashed(asked.ref, str(Exit.KILLED)))

    def send_waiting(self) -> None:
        """Send what waited for room on the link, which has room again."""
        for actor in list(self._remote_actors.values()):
            if actor.wait_queue.waiting:
                actor.send_waiting()

    def credited(self, uid: int, messages: int, size: int = 0) -> None:
        """Take back the credit for messages that an actor took out of its mailbox, and for their bytes."""
        actor = self._remote_actors.get(uid)
        if actor is not None:
            actor.credited(messages, size)

    def watch(self, ref: Ref[Any], notice: Callable[[Exit], None]) -> Callable[[], None]:
        """Call *notice* at the final end of one of its actors; return what cancels that."""
        if not self.ready:
            return self.host.services.watch_actor(ref, notice, self.why)
        link = self.connect(ref, None)
        number = link.number()
        self._watches[number] = (ref, notice)
        link.send([wire.WATCH, number, ref.uid])

        def cancel() -> None:
            if self._watches.pop(number, None) is not None and link.closed is None:
                link.send([wire.UNWATCH, number], Lane.CONTROL)

        return cancel

    def gone(self, number: int, end: Exit) -> None:
        """Call the notice of a watch: the other node says that the actor has ended."""
        watch = self._watches.pop(number, None)
        if watch is not None:
            self.host.remember(watch[0].uid, end)
            watch[1](end)

    def settle_watches(self, uid: int, end: Exit) -> None:
        """Call the notices of all watches of an actor that has ended, as the other node does not say so."""
        for number in [number for number, (ref, _) in self._watches.items() if ref.uid == uid]:
            self.gone(number, end)

    def actor_ended(self, uid: int, end: Exit) -> None:
        """Refuse messages to one of its actors from now on: this node has heard of its end."""
        actor = self._remote_actors.pop(uid, None)
        if actor is not None:
            actor.ended(end)


bind(Peer)
