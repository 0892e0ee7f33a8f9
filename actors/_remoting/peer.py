"""A peer: another node as this one knows it, over however many runs of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol
from weakref import WeakValueDictionary

from actors._base.errors import NodeDown
from actors._remoting import protocol as wire
from actors._remoting.link import Link
from actors.transport import Attachments, Lane

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors._base.loop import Loop
    from actors._messaging.context_propagation import Propagation
    from actors._messaging.mailbox import Envelope
    from actors._messaging.ref import Ref
    from actors._remoting.remote_actor import RemoteActor
    from actors._remoting.topics import Topics
    from actors.supervisors import Exit

__all__ = ["Peer", "PeerHost"]


class PeerHost(Protocol):
    """The runtime, as its peers see it."""

    name: str
    loop: Loop
    topics: Topics
    propagation: Propagation | None
    new_account: Callable[..., RemoteActor]

    def traced(self, facts: dict[str, Any]) -> None: ...

    def connect(self, peer: Peer) -> Link: ...
    def watch_gone(
        self, ref: Ref[Any], notice: Callable[[Exit], None], why: str
    ) -> Callable[[], None]: ...
    def dead_letter(self, ref: Ref[Any], envelope: Envelope, why: str) -> None: ...
    def lost_tells(self, ref: Ref[Any], count: int, why: str) -> None: ...


class Peer:
    """Refuses at once while its node is not ready; keeps accounts and watches across links."""

    def __init__(self, runtime: PeerHost, name: str) -> None:
        self.runtime = runtime
        self.name = name
        self.node = name.partition("~")[0]
        """Which node that is, for users; what comes after the ~ tells its addresses apart."""
        self.link: Link | None = None
        self.ready = True
        self.restarting = False
        self.why = ""
        self.draining = False
        self._last: Link | None = None
        """The link to a node that drains: what is awaited from it still comes over this."""
        self.links = 0
        """How many links to the current run of it there have been."""
        # An account lives as long as somebody has the ref or waits for a reply.
        self._accounts: WeakValueDictionary[int, RemoteActor] = WeakValueDictionary()
        self._lent: list[Attachments] = []
        self._watches: dict[int, tuple[Ref[Any], Callable[[Exit], None]]] = {}

    def account(self, ref: Ref[Any]) -> RemoteActor:
        """Return the account with one of its actors."""
        account = self._accounts.get(ref.uid)
        if account is None:
            account = self._accounts[ref.uid] = self.runtime.new_account(self, ref)
        return account

    def hand_over(self, to: Peer) -> None:
        """The node goes on at another address: so do the accounts with actors that move with it."""
        for uid, account in list(self._accounts.items()):
            if not uid >> 32:
                account.peer = to
                to._accounts[uid] = account

    def down_error(self, ref: object, message: tuple[Any, ...] | None) -> NodeDown:
        """Return what a message to this node gets now."""
        if self.ready:
            lost = f"the link to node {self.node} was lost ({self.why or 'it is closed'})"
            why = f"{lost}; the next message makes another"
            return NodeDown(ref, why, message, node=self.node, restarting=True)
        state = "is draining" if self.draining else "is down"
        follows = "it is being restarted" if self.restarting else "it is not coming back"
        why = f"node {self.node} {state} ({self.why or 'not started'}); {follows}"
        return NodeDown(ref, why, message, node=self.node, restarting=self.restarting)

    def connect(self, ref: Ref[Any], envelope: Envelope | None) -> Link:
        """Return the link, made on first use.

        Raises:
            NodeDown: the node is not ready.
        """
        if not self.ready:
            raise self.down_error(ref, None if envelope is None else envelope.message)
        if self.link is None:
            self.link = self.runtime.connect(self)
        return self.link

    def up(self, link: Link | None = None) -> None:
        """The node is ready; whoever has a link to it already hands it over."""
        self.ready = True
        # It may have talked to this node before it was ready, over a link of its own making.
        self.link = link or self.link
        self.draining = False
        self._last = None
        self.why = ""

    def drain(self, why: str, *, restarting: bool) -> None:
        """The node ends on purpose: send nothing new, but wait for the answers to what was sent."""
        self.ready = False
        self.restarting = restarting
        self.draining = True
        self.why = why
        self._last, self.link = self.link, None
        error = self.down_error(self.name, None)
        for account in list(self._accounts.values()):
            account.turn_away(error)

    def down(self, why: str, *, restarting: bool) -> None:
        """The node is gone: what was awaited from it fails, and says what happens next."""
        self.ready = False
        self.restarting = restarting
        self.why = why
        self.draining = False
        self.links = 0
        self.runtime.topics.forget(self.name)
        links = [link for link in (self.link, self._last) if link is not None]
        self.link = self._last = None
        for link in links:
            self.drop(link)
            link.close()
        # Only now is it certain that nobody reads what was lent over them.
        for attachments in self._lent:
            attachments.reclaim()
        self._lent.clear()

    def close(self) -> None:
        """End the links to it: this node is over."""
        for link in (self.link, self._last):
            if link is not None:
                link.close()

    def drop(self, link: Link) -> None:
        """End everything that hung on *link*."""
        self._lent.append(link.attachments)
        pending = list(link.pending.values())
        link.pending.clear()
        error = self.down_error(self.name, None)
        for envelope, account in pending:
            account.answered(envelope)
            envelope.fail(error.to(account.ref, envelope.message))
        for waiter in list(link.calls.values()):
            if not waiter.done():
                # One each: whoever catches an error puts frames of its own into it.
                waiter.set_exception(self.down_error(self.name, None))
        for account in list(self._accounts.values()):
            account.reset(error)
        watches = list(self._watches.items())
        self._watches.clear()
        for _, (ref, notice) in watches:
            self.runtime.watch_gone(ref, notice, self.why)

    def refill(self) -> None:
        """There is room on the link again."""
        for account in list(self._accounts.values()):
            if account.wait_queue.waiting:
                account.refill()

    def credited(self, uid: int, messages: int) -> None:
        """An actor took messages out of its mailbox."""
        account = self._accounts.get(uid)
        if account is not None:
            account.returned(messages)

    def watch(self, ref: Ref[Any], notice: Callable[[Exit], None]) -> Callable[[], None]:
        """Hear of the final end of one of its actors."""
        if not self.ready:
            return self.runtime.watch_gone(ref, notice, self.why)
        link = self.connect(ref, None)
        number = link.number()
        self._watches[number] = (ref, notice)
        link.send([wire.WATCH, number, ref.uid])

        def cancel() -> None:
            if self._watches.pop(number, None) is not None and link.closed is None:
                link.send([wire.UNWATCH, number], Lane.CONTROL)

        return cancel

    def gone(self, number: int, end: Exit) -> None:
        """The other node says that a watched actor has ended."""
        watch = self._watches.pop(number, None)
        if watch is not None:
            watch[1](end)
