"""One address book in the process that made the system: which keys have an actor, and where it is.

Rule 1: a key has at most one entry, from before its actor starts until that has ended for good: whoever uses
the key meanwhile waits for the start, or for the end and the next start. So no key ever has two actors.
Rule 2: an actor is stopped only when every process has given its address back, with nothing on its way.
Rule 3: an actor stays where it was started, until the group is scaled: then those whose key hashes to another
node are stopped, and start there when they are next used. What ends with its node starts elsewhere likewise.
"""

from __future__ import annotations

import random
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from anyio import CapacityLimiter, Event, move_on_after, sleep

from actors._actor.on_error import another
from actors._base.errors import ActorsError, CallCycle, LimitReached, StartFailed, SystemStopped
from actors._base.run_loop import new_task_group
from actors._keyed import KeyedFacts, key_bytes, key_text
from actors._messaging.mailbox_options import bounds_of, packed
from actors._remoting import directory_operations as directory
from actors._system.placement import ActorRequest
from actors._system.supervision_tree import first_cause
from actors.nodes import LocalNode, RemoteNode, pack_arguments
from actors.routing import owner
from actors.supervisors import ChildNotStarted, ChildSpec, Exit
from actors.transport import Local

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors._base.loop import Waiter
    from actors._keyed import Holder, IdleWatch, Key
    from actors._messaging.ref import Ref
    from actors._remoting.operations import Chain
    from actors._system.keyed_spec import KeyedSpec
    from actors._system.node_groups import NodeGroups
    from actors._system.placement import Placement
    from actors._system.supervisor_handle import SupervisorHandle
    from actors._system.system_state import SystemState
    from actors._system.tree_specs import Arguments
    from actors.nodes import SupervisedActor

__all__ = ["KeyedControl"]

_ANSWER: Final = 5.0
"""Seconds that a process has to give an address back; after that the actor is not stopped now."""
_MOVES: Final = 16
"""Actors that are stopped at the same time because the group was scaled."""
_MOVE_TRIES: Final = 3
_MOST_STARTS: Final = 3
"""Actors that are started for one use of a key, if each ends before it is used."""
_FAILED_KEYS: Final = 1024
"""Keys whose starts have failed that are remembered, for the backoff."""


class _Entry:
    """A key that has an actor, or is about to have one.

    Attributes:
        key: the key.
        name: of the actor.
        ref: its address when it has started; None before.
        actor: as its supervisor sees it.
        leaving: whether it is to be stopped, so that nobody gets its address any more.
        recall: identifies a stop for idleness that is being prepared; a use of the key takes it back.
        holders: who has its address.
        waiters: resolved when it has started, or has ended, or is not leaving after all.
        error: why it did not start.
    """

    __slots__ = ("actor", "error", "holders", "key", "leaving", "name", "recall", "ref", "waiters")

    def __init__(self, key: Key, name: str) -> None:
        self.key = key
        self.name = name
        self.ref: Ref[Any] | None = None
        self.actor: SupervisedActor | None = None
        self.leaving = False
        self.recall: object = None
        self.holders: set[Holder] = set()
        self.waiters: list[Waiter] = []
        self.error: BaseException | None = None

    def wake(self) -> None:
        """Have those who wait look again."""
        waiters, self.waiters = self.waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)


class KeyedControl:
    """Starts, finds and stops the actors of one book.

    Attributes:
        facts: what the processes that use it know of it.
        why: why it is over; "" while it is not.
    """

    def __init__(
        self,
        state: SystemState,
        groups: NodeGroups,
        placement: Placement,
        idle_watch: IdleWatch,
        spec: KeyedSpec[Any, Any],
        number: int,
        handle: SupervisorHandle,
    ) -> None:
        self._state = state
        self._groups = groups
        self._placement = placement
        self._idle_watch = idle_watch
        self._entries: dict[Key, _Entry] = {}
        self._by_uid: dict[int, _Entry] = {}
        self._failed: dict[Key, tuple[int, float]] = {}
        self._limiter = CapacityLimiter(_MOVES)
        self._packed = spec.arguments if isinstance(spec.arguments, list) else None
        self.spec = spec
        self.handle = handle
        self.facts = KeyedFacts(number, spec.name, spec.path, packed(bounds_of(spec.mailbox)))
        self.why = ""

    # -- finding --------------------------------------------------------------------------------

    def keys(self) -> list[Key]:
        """Return the keys whose actors live, or start, in the order of their start."""
        return [key for key, entry in self._entries.items() if not entry.leaving]

    def has(self, key: Key) -> bool:
        """Return whether the actor of *key* lives, or starts."""
        entry = self._entries.get(key)
        return entry is not None and not entry.leaving

    async def find(self, key: Key, holder: Holder, ended: int, chain: Chain) -> Ref[Any]:
        """Return the actor of *key*, started if there is none.

        Args:
            key: whose.
            holder: who gets the address.
            ended: the number of an actor that refuses messages: not that one, but the next.
            chain: the actors that wait for the answer.

        Raises:
            StartFailed, LimitReached, NodeDown, NameTaken, CallCycle: there is none, and cannot be one now.
        """
        begun = 0
        while True:
            entry = self._entries.get(key)
            if entry is None and begun == _MOST_STARTS:
                raise StartFailed(
                    f"{self._name(key)} has ended as soon as it had started, {begun} times"
                )
            if entry is None:
                begun += 1
                entry = self._begin(key, chain)
            if entry.ref is None:
                await self._started(entry, chain)
            elif entry.leaving or entry.ref.uid == ended or self._lost(entry):
                await self._changed(entry, chain)
            else:
                entry.recall = None  # it is wanted: a stop that was being prepared is off
                entry.holders.add(holder)
                return entry.ref

    async def _started(self, entry: _Entry, chain: Chain) -> None:
        """Wait until an actor has started; refuse it if that waits for one of *chain*."""
        await self._state.registry.find(entry.name, chain)
        if entry.error is not None:
            raise another(entry.error) from entry.error.__cause__

    async def _changed(self, entry: _Entry, chain: Chain) -> None:
        """Wait until an actor has ended, or is not to be stopped after all."""
        assert entry.ref is not None
        if any(uid == entry.ref.uid for uid, _ in chain):
            what = "it is to be stopped, which would wait for the handler that uses its key"
            raise CallCycle(entry.ref, what)
        waiter = self._state.loop.waiter()
        entry.waiters.append(waiter)
        await waiter

    def _lost(self, entry: _Entry) -> bool:
        """Return whether an actor ends with its node, which does not come back."""
        place = None if entry.actor is None else entry.actor.place
        return isinstance(place, RemoteNode) and (place.lost or place.leaving)

    # -- starting -------------------------------------------------------------------------------

    def _begin(self, key: Key, chain: Chain) -> _Entry:
        """Begin to start the actor of *key*, in a task of its own: who asked first may give up.

        Raises:
            LimitReached: as many actors live as may.
            NameTaken: an actor that is none of the book's has its name.
        """
        self._check_open()
        spec = self.spec
        if len(self._entries) >= spec.limit:
            raise LimitReached(
                f"{spec.name}[{key!r}]: {spec.limit} actors live, as many as keyed(limit=) allows"
            )
        entry = _Entry(key, self._name(key))
        self._state.registry.claim(entry.name)
        self._entries[key] = entry
        self._state.loop.start(self._start, entry, chain, name=f"start {entry.name}", fresh=True)
        return entry

    def _name(self, key: Key) -> str:
        return f"{self.spec.name}/{key_text(key)}"

    def _check_open(self) -> None:
        if self._state.stopping:
            raise SystemStopped("the system is stopping: it starts no more actors")
        if self.why:
            raise ActorsError(f"keyed {self.spec.name!r}: {self.why}")

    async def _start(self, entry: _Entry, chain: Chain) -> None:
        actor: SupervisedActor | None = None
        try:
            await self._wait_after_failure(entry.key)
            actor = entry.actor = await self._new_actor(entry, chain)
            await self._supervise(entry, actor)
        except BaseException as error:
            self._not_started(entry, actor, error)
            if not isinstance(error, Exception):
                raise
        else:
            self._failed.pop(entry.key, None)
            entry.ref = actor.ref
            self._by_uid[entry.ref.uid] = entry
            actor.watch(lambda _end: self._ended(entry))
        finally:
            alive = entry.ref is not None and entry.ref.uid in self._state.supervised
            self._state.registry.settle(entry.name, entry.ref if alive else None)

    async def _wait_after_failure(self, key: Key) -> None:
        _, due = self._failed.get(key, (0, 0.0))
        await sleep(max(0.0, due - self._state.loop.now()))

    async def _new_actor(self, entry: _Entry, chain: Chain) -> SupervisedActor:
        spec = self.spec
        place = await self._place(entry)
        request = ActorRequest(
            path=spec.path,
            cls=spec.cls,
            arguments=self._arguments(entry.key, place),
            name=entry.name,
            mailbox=spec.mailbox,
            shutdown=spec.shutdown,
            chain=chain,
        )
        actor = self._placement.new_actor(place, request)
        actor.supervisor, actor.restart = self.handle, spec.each
        if spec.idle is not None:
            actor.on_change = partial(self._watch_idle, actor, spec.idle)
        return actor

    def _arguments(self, key: Key, place: LocalNode | RemoteNode) -> Arguments:
        """Return the key, and behind it what the spec has for the constructor; that is packed once."""
        host, given = self._state.host, self.spec.arguments
        if isinstance(given, tuple):
            args, kwargs = given
            marked = any(type(value) is Local for value in (*args, *kwargs.values()))
            if marked or isinstance(place, LocalNode):
                return (key, *args), kwargs
            self._packed = self._packed or pack_arguments(host, args, kwargs)
        assert self._packed is not None
        return [*pack_arguments(host, (key,), {}), *self._packed]

    async def _supervise(self, entry: _Entry, actor: SupervisedActor) -> None:
        spec = self.spec
        child = ChildSpec(
            name=entry.name,
            start=actor.new_run,
            restart=spec.each,
            backoff=spec.backoff,
            shutdown=spec.shutdown,
            gone=actor.gone,
            host=actor.place,
        )
        await self.handle.supervisor.start_child(child)

    def _not_started(
        self, entry: _Entry, actor: SupervisedActor | None, error: BaseException
    ) -> None:
        entry.error = first_cause(error) if isinstance(error, ChildNotStarted) else error
        del self._entries[entry.key]
        if actor is not None:
            actor.gone(Exit.KILLED)
            failures, _ = self._failed.pop(entry.key, (0, 0.0))
            delay = self.spec.backoff.delay(failures, random.random, start_failed=True)
            self._failed[entry.key] = (failures + 1, self._state.loop.now() + delay)
            while len(self._failed) > _FAILED_KEYS:
                del self._failed[next(iter(self._failed))]

    def _ended(self, entry: _Entry) -> None:
        """An actor has ended for good: the next use of its key starts another."""
        if self._entries.get(entry.key) is entry:
            del self._entries[entry.key]
        if entry.ref is not None:
            self._by_uid.pop(entry.ref.uid, None)
            for holder in entry.holders:
                holder.gone(self.facts.number, entry.key, entry.ref.uid)
        entry.wake()

    # -- where ----------------------------------------------------------------------------------

    async def _place(self, entry: _Entry) -> LocalNode | RemoteNode:
        """Return the node for a key: of those that are ready, the one that it hashes to."""
        await self._placement.ensure_main(self.spec.on)
        while True:
            members = self._members()
            ready = [node for node in members if node.ready]
            if ready:
                return self._home(entry.key, ready)
            waiting = [node for node in members if self._patience(node) > 0]
            if not waiting:
                return self._placement.place_for(self.spec.on, entry.name)
            await self._wait_ready(waiting)

    def _members(self) -> list[RemoteNode]:
        """Return the nodes over which the keys are spread; none if they are on the local node."""
        on = self._placement.group_of(self.spec.on)
        node = self._state.nodes.get(on)
        return self._groups.members(on) if node is None else [node]

    def _home(self, key: Key, nodes: list[RemoteNode]) -> RemoteNode:
        slot = owner(key_bytes(key), [node.slot for node in nodes])
        return next(node for node in nodes if node.slot == slot)

    def _patience(self, node: RemoteNode) -> float:
        return self._state.host.peer(node.address).patience

    async def _wait_ready(self, nodes: list[RemoteNode]) -> None:
        """Wait until something has changed about a node that comes back, as messages to its actors do."""
        changed = Event()
        cancels: list[Callable[[], None]] = [node.notify(changed.set) for node in nodes]
        try:
            with move_on_after(max(self._patience(node) for node in nodes)):
                await changed.wait()
        finally:
            for cancel in cancels:
                cancel()

    # -- stopping -------------------------------------------------------------------------------

    def _watch_idle(self, actor: SupervisedActor, seconds: float, end: Exit | None) -> None:
        """Have the node of an actor that takes messages now say when it is idle."""
        uid, number, place = actor.ref.uid, self.facts.number, actor.place
        if end is not None:
            return
        if isinstance(place, LocalNode):
            self._idle_watch.watch(number, uid, seconds)
        elif isinstance(place, RemoteNode) and place.run is not None and place.run.link is not None:
            place.run.link.note(directory.watch_idle, number, uid, seconds)

    def idle(self, uid: int) -> None:
        """An actor has had nothing to do for its idle time: stop it unless it is used meanwhile."""
        entry = self._by_uid.get(uid)
        if entry is None or entry.leaving or entry.recall is not None:
            return
        self._state.loop.start(self._stop_idle, entry, name=f"stop {entry.name}", fresh=True)

    async def _stop_idle(self, entry: _Entry) -> None:
        recall = entry.recall = object()
        given_back = await self._recall(entry, idle=True)
        if entry.recall is not recall:
            return  # it was used
        entry.recall = None
        if not given_back or entry.leaving or self._entries.get(entry.key) is not entry:
            return
        entry.leaving = True
        entry.holders.clear()
        if not await self._node_stops_it(entry):
            entry.leaving = False
            entry.wake()

    async def _node_stops_it(self, entry: _Entry) -> bool:
        """Have the node stop an actor that has nothing to do; return whether it does."""
        assert entry.actor is not None
        uid, place = entry.actor.ref.uid, entry.actor.place
        if isinstance(place, LocalNode):
            return self._idle_watch.stop_if_idle(uid)
        run = place.run if isinstance(place, RemoteNode) else None
        if run is None or run.link is None:
            return False
        try:
            return await run.link.call(directory.stop_if_idle, uid)
        except ActorsError:
            return False  # its node has ended, or it could not be asked

    async def _recall(self, entry: _Entry, *, idle: bool) -> bool:
        """Have everybody give an address back; return whether all have, and nothing is on its way."""
        assert entry.ref is not None
        uid, done = entry.ref.uid, []

        async def recall(holder: Holder) -> None:
            with move_on_after(_ANSWER):
                try:
                    done.append(await holder.recall(self.facts.number, entry.key, uid, idle=idle))
                except ActorsError:
                    done.append(True)  # it has ended

        holders = list(entry.holders)
        async with new_task_group() as tasks:
            for holder in holders:
                tasks.start_soon(recall, holder)
        return len(done) == len(holders) and all(done)

    async def stop(self, key: Key, grace: float | None, chain: Chain) -> bool:
        """Stop the actor of *key* behind what was sent to it; return whether there was one, now ended."""
        entry = self._entries.get(key)
        if entry is None:
            return False
        while entry.ref is None:
            await self._started(entry, chain)
        if self._entries.get(key) is not entry:
            return True
        if not entry.leaving:
            entry.leaving = True
            self._state.loop.start(self._stop, entry, grace, name=f"stop {entry.name}", fresh=True)
        while self._entries.get(key) is entry:
            await self._changed(entry, chain)
        return True

    async def _stop(self, entry: _Entry, grace: float | None = None) -> None:
        """Stop an actor that is leaving, once its address was given back, or somebody did not answer."""
        await self._recall(entry, idle=False)
        self._drain(entry, grace)

    def _drain(self, entry: _Entry, grace: float | None = None) -> None:
        if entry.ref is not None and self._entries.get(entry.key) is entry:
            self._state.host.stop(entry.ref, grace, drain=True)

    # -- a group was scaled ---------------------------------------------------------------------

    def group_scaled(self, group: str) -> None:
        """Stop the actors whose key hashes to another node now; the next use starts them there."""
        members = self._members()
        if self._placement.group_of(self.spec.on) != group or not members:
            return
        for entry in list(self._entries.values()):
            place = None if entry.actor is None else entry.actor.place
            if entry.ref is None or entry.leaving or self._lost(entry):
                continue
            if place is not self._home(entry.key, members):
                name = f"move {entry.name}"
                self._state.loop.start(self._move, entry, name=name, fresh=True)

    async def _move(self, entry: _Entry) -> None:
        """Stop an actor that is to start elsewhere; it stays if its address is not given back."""
        async with self._limiter:
            for _ in range(_MOVE_TRIES):
                if entry.leaving or self._entries.get(entry.key) is not entry:
                    return
                entry.leaving = True
                if await self._recall(entry, idle=False):
                    self._drain(entry)
                    return
                entry.leaving = False
                entry.wake()
                await sleep(_ANSWER)

    # -- ends -----------------------------------------------------------------------------------

    def holder_gone(self, holder: Holder) -> None:
        """Forget a process that has ended."""
        for entry in self._entries.values():
            entry.holders.discard(holder)

    def end(self, why: str) -> None:
        """Start no more actors: the book is over; its supervisor has ended those that there were."""
        self.why = why
        for entry in list(self._entries.values()):
            entry.wake()
