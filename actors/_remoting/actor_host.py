"""The actors of one node: its cells, its peers, and the way from a ref to either.

Rule 1: one per node, in one thread; nothing here takes a lock.
Rule 2: it starts and ends no node and no link; what it needs from the system are its `services`.
"""

from __future__ import annotations

import sys
from collections import OrderedDict
from contextlib import nullcontext
from functools import cached_property
from sys import intern
from typing import TYPE_CHECKING, Any, Final, Protocol

from actors._actor.activity import Activity
from actors._actor.handler_times import HandlerTimes
from actors._actor.instrumented_cell import cell_class
from actors._actor.parking import Parking
from actors._base.events import TRACE, error_facts, event_of
from actors._base.slow_imports import timed_import
from actors._messaging.deadlock import waiting_for_ends
from actors._messaging.mailbox import Envelope
from actors._messaging.mailbox_options import packed, unpacked
from actors._messaging.ref import Ref
from actors._messaging.turn import TURN
from actors._remoting import operations as ops, protocol as wire
from actors._remoting.client_messages import without_chains
from actors._remoting.deadlock_probe import DeadlockProbe
from actors._remoting.ended_target import EndedTarget
from actors._remoting.far_deadlines import FarDeadlines
from actors._remoting.instrumented_remote_actor import answer_classes, remote_actor_class
from actors._remoting.link import Link
from actors._remoting.main_values import MAIN_VALUES
from actors._remoting.operation import Handlers
from actors._remoting.peer import Peer
from actors._remoting.program_advice import ProgramAdvice
from actors._remoting.receiver import Receiver, RemoteReply
from actors._remoting.shared_memory import SharedMemory
from actors._remoting.topics import Topics
from actors.supervisors import Exit, ExitKind
from actors.transport import (
    ENVELOPE,
    MESSAGE_LIMIT,
    Decoder,
    Encoder,
    Extra,
    Undecodable,
    Unsendable,
    no_problem,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence
    from datetime import datetime

    from actors._actor.cell import Cell
    from actors._actor.interfaces import CellInterface, IncarnationInterface
    from actors._base.fences import Fences
    from actors._base.loop import Loop, Waiter
    from actors._messaging.context_propagation import Propagation
    from actors._messaging.mailbox_options import MailboxOption
    from actors._messaging.turn import Asker, Target
    from actors._remoting.peer import SystemServices
    from actors._remoting.remote_actor import PeerInterface, RemoteActor
    from actors.transport import Attachments, Lane, TransportError

__all__ = ["MAIN_ALIAS", "ActorHost", "LocalChildren", "class_path"]

MAIN_ALIAS: Final = "__mp_main__"
"""The name under which a process node imports the file that is `__main__` in its parent.

It is that of multiprocessing, so that the processes which handlers start with that find the same module.
"""
_A_MOMENT: Final = 0.01
"""Seconds between a message that was refused and the next attempt."""
_REMEMBERED: Final = 4096
"""Ends of actors that a node remembers."""


def _wake(waiter: Waiter) -> None:
    if not waiter.done():
        waiter.set_result(None)


def class_path(cls: type) -> str:
    """Return "module:qualname", the name of *cls* on every node."""
    module = "__main__" if cls.__module__ == MAIN_ALIAS else cls.__module__
    if module == "__main__":
        module = MAIN_VALUES.module_of(cls)
    return intern(f"{module}:{cls.__qualname__}")  # one string, however many actors have it


class LocalChildren(Protocol):
    """Actors that are supervised on their own node: the children of an actor, or of the node."""

    async def spawn(self, cls: type, args: Any, kwargs: Any, /, **options: Any) -> Ref[Any]: ...
    def uids(self) -> list[int]: ...
    async def aclose(self, *, kill: bool = False) -> None: ...


class ActorHost:
    """One node's cells and peers; the `RefHost` of its refs and the `CellHost` of its cells.

    Attributes:
        name: the node's name.
        address: its name, or another one while it takes over from an older run of the node.
        number: the run's number in its system; it is the upper half of the uids made here.
        system: the `System` that actors here see.
        over: whether an actor has ended the whole node.
        main_problem: as `Encoder.main_problem`, of process nodes.
        before_naming: called before a link names a class or function for the first time.
        services: the system that this node is part of.
        ended: how actors ended, of this node or as others told, the latest few thousand.
        fences: of the actors that are started by this process alone.
        activity: tells the watch of the loop when code of an actor begins to run.
        supervised: every actor that this process supervises, wherever it runs, by its number.
        argument_decoder, argument_encoder: for constructor arguments; None for one that has introduced a class.
    """

    told_of_room: Callable[[str], None] | None = None
    """Called with the peer when a link that was full has room."""
    has_rings: bool = False
    """Whether links to other processes may have rings: this loop is the main one of its process."""

    new_remote_actor: Callable[[PeerInterface, Ref[Any]], RemoteActor]
    fences: Fences

    def __init__(
        self,
        name: str,
        number: int,
        loop: Loop,
        *,
        may_import: bool = True,
        propagation: Propagation | None = None,
        trace: bool = False,
        largest: int = MESSAGE_LIMIT,
        lend: int = MESSAGE_LIMIT,
        ask_timeout: float | None = None,
        system_id: str = "",
        extras: Sequence[Callable[[ActorHost], Extra[Any]]] = (),
    ) -> None:
        self.name = name
        self.address = name
        self._may_import = may_import
        self.number = number
        self.loop = loop
        self.system: Any = None
        self.pools: Any = None  # `PoolClients`, which are a layer up, as the next two are
        self.keyed: Any = None  # `KeyedClients`
        self.groups: Any = None  # `Groups`
        self.over = False
        self.main_problem: Callable[[Any], str] = no_problem
        self.before_naming: Callable[[], None] = _nothing
        self.activity: Activity = Activity()
        self.services: SystemServices
        self.new_child_actors: Callable[[str], Coroutine[Any, Any, LocalChildren]]
        self.cells: dict[int, Cell] = {}
        self.peers: dict[str, Peer] = {}
        self._moved: dict[str, str] = {}
        self._left: dict[str, str] = {}
        self._wait_for_peers: list[Waiter] = []
        self.handlers: Handlers[Link] = Handlers()
        self.supervised: dict[int, Any] = {}  # of `SupervisedActor`, which is a layer up
        self.ended: OrderedDict[int, Exit] = OrderedDict()
        self.link_ended: Callable[[Link], None] = _ignore
        self._uids = number << 32
        self.topics: Topics = Topics(self)
        self.deadlock_probe: DeadlockProbe = DeadlockProbe(loop)
        self.largest = largest
        self.ask_timeout = ask_timeout
        self.system_id = system_id
        self.memory: SharedMemory = SharedMemory(loop, name, lend)
        self.propagation = propagation
        more = [make(self) for make in extras]
        self._extras: list[Extra[Any]] = [Extra(Ref, self.ref_fields, self.make_ref), *more]
        self.handlers.on_note(ops.interrupt_request, Link.interrupt)
        self.argument_decoder: Decoder = self.new_decoder()
        self.argument_encoder: Encoder | None = None
        self.new_remote_actor = remote_actor_class(propagates=propagation is not None, traced=trace)
        self._new_cell = cell_class(carries=propagation is not None, traced=trace)
        self.answers: tuple[type[RemoteReply], type[RemoteReply]] = answer_classes(traced=trace)

    @cached_property
    def times(self) -> HandlerTimes:
        """How long messages wait and run, while somebody looks."""
        return HandlerTimes(self.cells)

    @cached_property
    def parking(self) -> Parking:
        """What has the tasks of idle actors end."""
        return Parking(self.loop)

    @cached_property
    def advice(self) -> ProgramAdvice:
        """What is noticed here of the program that makes it slow."""
        return ProgramAdvice(self.name, self.loop.now, self.services.event)

    # -- cells and refs ------------------------------------------------------------------

    def new_uid(self) -> int:
        """Return a number no other actor of the system ever had."""
        self._uids += 1
        return self._uids

    def new_cell(self, uid: int, name: str, cls: type, mailbox: MailboxOption) -> Cell:
        """Make the cell of an actor, which takes messages from now on."""
        node = self.address if uid >> 32 else self.name
        ref: Ref[Any] = Ref(self, uid, node, name, class_path(cls), mailbox, cls)
        cell = self.cells[uid] = self._new_cell(self, ref, cls)
        if self.times.on:
            self.times.include(cell)
        self.advice.spawned(ref.cls_path, self._living)
        return cell

    def _living(self) -> list[str]:
        """Return the class of each actor here."""
        return [cell.ref.cls_path for cell in self.cells.values()]

    def parked(self) -> list[str]:
        """Return the names of the actors here that have no task now."""
        return [cell.ref.name for cell in list(self.cells.values()) if cell.parked]

    def at_rest(self) -> bool:
        """Return whether no code of an actor runs or waits here; from any thread."""
        return all(cell.at_rest for cell in list(self.cells.values()))

    def forget(self, cell: CellInterface, end: Exit) -> None:
        """Remove a cell that has ended, before its watchers are called."""
        self.cells.pop(cell.ref.uid, None)
        self.remember(cell.ref.uid, end)
        if cell.ref.uid >> 32 == self.number:
            self.services.unclaim(cell.ref)

    def remember(self, uid: int, end: Exit) -> None:
        """Remember how an actor ended, for those who ask later; the oldest are forgotten."""
        self.ended[uid] = end
        for peer in self.peers.values():
            # While its node is down, the peer says so, unless messages wait for the node's next run.
            if end.kind is not ExitKind.NODE_DOWN or peer.waiting:
                peer.actor_ended(uid, end)
        while len(self.ended) > _REMEMBERED:
            self.ended.popitem(last=False)
        self.peer_changed()

    def given_up(self, uid: int, end: Exit) -> None:
        """Take note of the end of an actor whose own node, another one, may not say so."""
        self.remember(uid, end)
        for peer in list(self.peers.values()):
            peer.settle_watches(uid, end)

    def is_own(self, ref: Ref[Any]) -> bool:
        """Whether *ref* is the address of an actor of this node, present or past."""
        return ref.node == (self.address if ref.uid >> 32 else self.name)

    def peer_of(self, ref: Ref[Any]) -> Peer:
        """Return the peer that has the actor of *ref*; what the parent supervises may have moved."""
        return self.peer(ref.node) if ref.uid >> 32 else self.peer_named(ref.node)

    def peer_named(self, node: str) -> Peer:
        """Return the run of a node that has its actors now."""
        return self.peer(self._moved.get(node, node))

    def node_moved(self, node: str, address: str) -> None:
        """Reach the actors of *node* at another address from now on; see `NodeReplacement`."""
        before = self.peer_named(node)
        self._moved[node] = address
        before.move_actors_to(self.peer(address))
        # The run that it moved from the last time has ended by now.
        self.peers.pop(self._left.pop(node, ""), None)
        self._left[node] = before.name

    def peer(self, name: str) -> Peer:
        """Return another node as this one knows it, by its address."""
        peer = self.peers.get(name)
        if peer is None:
            peer = self.peers[name] = Peer(self, name)
        return peer

    def resolve(self, ref: Ref[Any]) -> Target:
        """Find where messages for *ref* go."""
        cell = self.cells.get(ref.uid)
        if cell is not None:
            return cell
        end = self.ended.get(ref.uid)
        if self.is_own(ref):
            return EndedTarget(ref, end)
        peer = self.peer_of(ref)
        # While its node is down, the peer says so, unless messages wait for the node's next run.
        if end is not None and (peer.ready or peer.waiting or end.kind is not ExitKind.NODE_DOWN):
            return EndedTarget(ref, end)
        return peer.remote_actor(ref)

    async def may_be_back(self, ref: Ref[Any]) -> None:
        """Wait until the node of *ref* is ready or given up, and a moment in any case."""
        waiter = self.loop.waiter()
        timer = self.loop.call_later(_A_MOMENT, _wake, waiter)
        try:
            await waiter
        finally:
            timer.cancel()
        while self._is_away(ref):
            news = self.loop.waiter()
            self._wait_for_peers.append(news)
            try:
                await news
            finally:
                if news in self._wait_for_peers:
                    self._wait_for_peers.remove(news)

    def _is_away(self, ref: Ref[Any]) -> bool:
        end = self.ended.get(ref.uid)
        if self.is_own(ref) or (end is not None and end.kind is not ExitKind.NODE_DOWN):
            return False
        peer = self.peer_of(ref)
        return not peer.ready and peer.restarting

    def peer_changed(self) -> None:
        """Have those who wait for a node look again: it is ready, given up, or reached elsewhere."""
        waiting, self._wait_for_peers = self._wait_for_peers, []
        for waiter in waiting:
            _wake(waiter)

    def reach(self, ref: Ref[Any]) -> Target | None:
        """Find where messages for *ref* go; None if it takes none now, as far as this node knows."""
        if (cell := self.cells.get(ref.uid)) is not None:
            return None if cell.draining else cell
        gone = self.is_own(ref) or ref.uid in self.ended or not self.peer_of(ref).ready
        return None if gone else self.peer_of(ref).remote_actor(ref)

    def backlog(self, ref: Ref[Any]) -> int:
        """Return how many messages wait for *ref*; of an actor elsewhere, those that this node sent."""
        cell = self.cells.get(ref.uid)
        if cell is not None:
            return len(cell.mailbox) + (
                cell.incarnation is not None and cell.incarnation.message_loop.busy
            )
        return ref.mailbox - self.peer_of(ref).remote_actor(ref).credit

    def watch(self, ref: Ref[Any], notice: Callable[[Exit], None]) -> Callable[[], None]:
        """Call *notice* once, at the final end of *ref*."""
        cell = self.cells.get(ref.uid)
        if cell is not None:
            return cell.watch(notice)
        if ref.uid in self.ended:
            notice(self.ended[ref.uid])
            return _nothing
        if self.is_own(ref):
            return self.services.watch_actor(ref, notice, "")
        return self.peer_of(ref).watch(ref, notice)

    def stop(self, ref: Ref[Any], grace: float | None, *, drain: bool) -> None:
        """Ask *ref* to stop behind what it has queued; its supervisor is told, too, and remembers it."""
        if not self.is_own(ref) and ref.uid not in self.cells:
            self.peer_of(ref).control([wire.STOP, ref.uid, grace, drain])
            if grace is not None:
                self.services.actor_killed(ref, grace, self.asker())
        self.stop_cell(ref.uid, grace, drain=drain)
        if not ref.uid >> 32 and ref.uid not in self.supervised:
            self.services.stop_actor(ref)

    def stop_cell(self, uid: int, grace: float | None, *, drain: bool) -> None:
        """Ask an actor to stop that runs here or is supervised here; between two runs it ends now."""
        cell, actor = self.cells.get(uid), self.supervised.get(uid)
        if cell is not None:
            cell.request_stop(Exit.SHUTDOWN, grace, drain=drain)
        if actor is not None:
            actor.stop_for_good()

    def kill(self, ref: Ref[Any]) -> None:
        """End *ref* now."""
        cell = self.cells.get(ref.uid)
        if cell is not None:
            cell.kill()
        elif not self.is_own(ref):
            self.peer_of(ref).control([wire.KILL, ref.uid])
            self.services.actor_killed(ref, 0.0, self.asker())

    def asker(self) -> str:
        """Return who asks for what this code does: the actor whose code it is, or else this node."""
        turn = TURN.get()
        return f"node {self.name}" if turn is None else f"actor {turn.sender.ref.name}"

    async def spawn_child(
        self, parent: IncarnationInterface, cls: type, args: Any, kwargs: Any, **options: Any
    ) -> Ref[Any]:
        """Start a child of an actor on this node."""
        if parent.children is None:
            parent.children = await self.new_child_actors(f"{self.name}/{parent.ref.name}")
        ref: Ref[Any] = await parent.children.spawn(cls, args, kwargs, **options)
        return ref

    async def stop_children(self, parent: IncarnationInterface, *, kill: bool) -> None:
        """Stop the children of an actor, or kill them; return when they have ended."""
        if parent.children is None:
            return
        me = self.cells.get(parent.ref.uid)
        there = [self.cells[uid] for uid in parent.children.uids() if uid in self.cells]
        with nullcontext() if me is None else waiting_for_ends(me, there, self.loop.waiter()):
            await parent.children.aclose(kill=kill)

    def report(self, record: Any) -> None:
        """Report an event of a supervisor of this node."""
        event = event_of(record, self.loop.now())
        self.services.event(event.kind, {**event.facts, "node": self.name})

    def lost_tells(self, ref: Ref[Any], count: int, why: str) -> None:
        """Report tells that a node had not acknowledged when it died; they may have run."""
        facts = {"actor": ref.name, "reason": why, "node": self.name}
        self.services.event("dead_letter", {**facts, "count": count, "may_have_run": True})

    def dead_letter(self, ref: Ref[Any], envelope: Envelope, why: str) -> None:
        """Report a message that nobody will handle."""
        facts = {
            "actor": ref.name,
            "message": envelope.handler.name,
            "reason": why,
            "node": self.name,
        }
        self.services.event("dead_letter", facts)

    def state_lost(self, ref: Ref[Any], why: str) -> None:
        """Report that the next incarnation of an actor starts without the state of the last one."""
        self.services.event("state_lost", {"actor": ref.name, "reason": why, "node": self.name})

    def runs_missed(self, ref: Ref[Any], message: str, count: int, first: datetime) -> None:
        """Report due times of a cron timer for which there was no run of their own."""
        facts = {"actor": ref.name, "message": message, "count": count, "first": first.isoformat()}
        self.services.event("cron_missed", {**facts, "node": self.name})

    def message_failed(self, ref: Ref[Any], envelope: Envelope, error: BaseException) -> None:
        """Report a message whose failure did not restart its actor: it continued, or ended for good."""
        facts = {"actor": ref.name, "message": envelope.handler.name, "node": self.name}
        self.services.event("message_failed", {**facts, **error_facts(error)})

    def traced(self, facts: dict[str, Any]) -> None:
        """Report a message or an answer that was sent from here."""
        self.services.event(TRACE, facts)

    def suspect_deadlock(self, cell: Asker) -> None:
        """One of the actors waits for another node's, perhaps in a circle."""
        self.deadlock_probe.add(cell)

    def take_probe(self, uid: int, number: int, way: list[Any]) -> None:
        """Take a deadlock probe that has come to an actor of this node."""
        cell = self.cells.get(uid)
        if cell is not None:
            self.deadlock_probe.arrived(cell, number, way)

    # -- what links need -----------------------------------------------------------------

    def new_encoder(self, attachments: Attachments | None = None) -> Encoder:
        """Make an encoder that sends refs as plain fields."""
        if attachments is not None:
            attachments.largest = self.largest
        encoder = Encoder(
            extras=self._extras,
            rename=self.wire_module,
            limit=self.largest,
            attachments=attachments,
            refusable=wire.WAITING,
            envelope=ENVELOPE,
        )
        encoder.main_problem = self.main_problem
        return encoder

    def new_decoder(self, attachments: Attachments | None = None) -> Decoder:
        """Make a decoder for what an encoder of `new_encoder` sent."""
        return Decoder(
            extras=self._extras,
            resolve=self.find_named,
            limit=self.largest + ENVELOPE,
            attachments=attachments,
        )

    def class_of(self, path: str) -> type | None:
        """Return the class an address names, if this process has it."""
        module, _, qualname = path.partition(":")
        found: Any = sys.modules.get(module)
        for part in qualname.split("."):
            found = getattr(found, part, None)
        return found if isinstance(found, type) else None

    def resolve_class(self, module: str, qualname: str) -> type:
        """Return the class that a peer names."""
        found = self.find_named(module, qualname)
        if not isinstance(found, type):
            raise Undecodable(f"{module}:{qualname} is not a class")
        return found

    def find_named(self, module: str, qualname: str) -> Any:
        """Return what a peer names; a node imports it, both being of one system."""
        try:
            # A parent that keeps itself free of user code has only what is imported already.
            found: Any = timed_import(module) if self._may_import else sys.modules[module]
            for part in qualname.split("."):
                found = getattr(found, part)
        except SystemExit as error:  # a script that exits on import must not end the node
            raise ImportError(f"importing {module} ended with sys.exit({error.code!r})") from error
        except AttributeError as error:
            main = sys.modules["__main__"]
            if module != "__main__" or main.__name__ != MAIN_ALIAS:
                raise  # the error is the main file's own
            raise ImportError(
                f"{main.__file__} has no {qualname} when a node imports it: is it under the guard "
                'if __name__ == "__main__", or made later?'
            ) from error
        return found

    def wire_module(self, module: str, named: Any) -> str:
        """Return the name of *module* on every node; one that was typed gets another, by value."""
        if module == MAIN_ALIAS:
            module = "__main__"
        elif module == "__main__":
            module = MAIN_VALUES.module_of(named)
        self.before_naming()
        return module

    def ref_fields(self, ref: Ref[Any]) -> list[Any]:
        """Return a ref as plain fields.

        Raises:
            Unsendable: it belongs to another system, where its uid means another actor.
        """
        if ref.host is not self:
            raise Unsendable("", ref, "it belongs to another system")
        return [ref.uid, ref.node, ref.name, ref.cls_path, packed(ref.bounds)]

    def make_ref(self, fields: list[Any]) -> Ref[Any]:
        """Return the ref with these fields; of an actor of this node the one that its cell has."""
        cell = self.cells.get(fields[0])
        if cell is not None:
            return cell.ref
        uid, node, name, path, mailbox = fields
        return Ref(self, uid, node, name, path, unpacked(mailbox))

    def peer_down(self, name: str) -> None:
        """Forget the topic subscribers of a node that has ended."""
        self.topics.forget(name)

    @cached_property
    def far_deadlines(self) -> FarDeadlines:
        """Translates deadlines of messages from and to other machines."""
        return FarDeadlines()

    def close_links(self) -> list[Link]:
        """Close every link, the parent's included, and return them: this node ends."""
        links = [link for peer in self.peers.values() for link in peer.sent_over]
        for peer in list(self.peers.values()):
            peer.close()
        return links

    def new_link(self, peer: str) -> Link:
        """Make a link to another node, or between a node and a client; those to the parent are made there.

        What the parent alone may ask for is not served. A client may end with memory in use that it was
        lent: nothing is lent to it, and it lends nothing.
        """
        clients = peer.startswith(wire.CLIENT) or self.name.startswith(wire.CLIENT)
        served = self.handlers.only([ops.interrupt_request])
        return Link(self, peer, serves=served, lends=not clients)

    def forget_peer(self, address: str, why: str) -> None:
        """Forget a client, which has ended: nothing of it is left here."""
        self.topics.forget(address)
        peer = self.peers.pop(address, None)
        if peer is not None:
            peer.down(why, restarting=False)

    def new_receiver(self, link: Link) -> Callable[[list[Any], Lane], None]:
        """Return what takes the messages of a new link."""
        take = Receiver(self, link).take
        return without_chains(take) if link.peer.startswith(wire.CLIENT) else take

    def link_has_room(self, link: Link) -> None:
        """Send what waited for room on a congested link, and say what did not wait."""
        self.peer(link.peer).send_waiting()
        self.topics.link_has_room(link.peer)
        if self.told_of_room is not None:
            self.told_of_room(link.peer)

    def link_closed(self, link: Link, error: TransportError | None) -> None:
        """Take note that a link has ended. Its node may have, too: the parent tells within moments."""
        if link.faulty:
            self.services.event(
                "link_failed", {"peer": link.peer, "node": self.name, "error": str(error)}
            )
        for cell in self.cells.values():
            if cell.credit_returns is not None:
                cell.credit_returns.pop(link, None)
        self.link_ended(link)


def _ignore(_link: Link) -> None:
    """Do nothing when a link ends, until the node sets its own `link_ended`."""


def _nothing() -> None:
    """Cancel a watch that was over when it began, and other things that are not needed."""
