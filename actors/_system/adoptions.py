"""Actors that nodes start by themselves: the parent supervises them from the first news of their start.

Rule 1: a node may do that only with numbers that it was given here, and is believed about those alone.
Rule 2: what a node has written before it was told to stop, or died, counts as done before that.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from actors._messaging.mailbox_options import unpacked
from actors._messaging.ref import Ref
from actors._remoting import operations as ops
from actors.nodes import PLAIN_BACKOFF, SupervisedActor, generated_name
from actors.supervisors import Backoff, Exit, Restart, SupervisorStopped

if TYPE_CHECKING:
    from collections.abc import Sequence

    from actors._base.loop import Waiter
    from actors._system.placement import Placement
    from actors._system.supervision_tree import SupervisionTree
    from actors._system.system_state import SystemState
    from actors.nodes import ActorRun, Link, RemoteNode, RemoteRun
    from actors.supervisors import AdoptedChild
    from actors.transport import SharedBuffer

__all__ = ["Adoptions"]

_NUMBERS: Final = 1024
"""Numbers that a run of a node gets at once; the next when half of them are used."""


class _Start(NamedTuple):
    """An actor whose node has begun to start it."""

    by: RemoteRun
    run: ActorRun
    child: AdoptedChild


class _Numbers:
    """The numbers that a run of a node was given and has not used.

    Attributes:
        unused: those.
        stopped: those of them for which others have asked already that their actors stop.
        waiters: resolved when one was used, or none will be.
    """

    def __init__(self) -> None:
        self.unused: set[int] = set()
        self.stopped: set[int] = set()
        self.waiters: list[Waiter] = []

    def wake(self) -> None:
        """Have those look again who wait for a number to be used."""
        waiters, self.waiters = self.waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)


class Adoptions:
    """Gives numbers to nodes, and supervises the actors that they start under them."""

    def __init__(self, state: SystemState, tree: SupervisionTree, placement: Placement) -> None:
        self._state = state
        self._tree = tree
        self._placement = placement
        self._numbers: dict[RemoteRun, _Numbers] = {}
        self._starts: dict[int, _Start] = {}

    def register(self) -> None:
        """Serve what nodes report."""
        handlers = self._state.host.handlers
        handlers.on_note(ops.adopt_actor, self._adopt)
        handlers.on_note(ops.actor_started, self._started)
        handlers.on_note(ops.actor_not_started, self._not_started)

    # -- numbers ------------------------------------------------------------------------------

    def allow(self, run: RemoteRun) -> None:
        """Let a run start actors by itself, if it takes new work and is the one that has its node's actors."""
        if run.node.ready and run.node.run is run and not self._state.stopping:
            self._give(run, self._numbers.setdefault(run, _Numbers()))

    def _give(self, run: RemoteRun, numbers: _Numbers) -> None:
        if run.link is not None and len(numbers.unused) <= _NUMBERS // 2:
            given = [self._state.host.new_uid() for _ in range(_NUMBERS)]
            numbers.unused.update(given)
            run.link.note(ops.take_numbers, given[0], len(given))

    def forbid(self, run: RemoteRun) -> None:
        """Have a run ask for every start again; those it has begun already are supervised all the same."""
        if run in self._numbers and run.link is not None:
            run.link.note(ops.take_numbers, 0, 0)

    def forbid_all(self) -> None:
        """Have all runs ask again."""
        for run in self._numbers:
            self.forbid(run)

    def may_come(self, node: RemoteNode) -> bool:
        """Whether a run of *node* may have started actors that are not known here yet."""
        return any(run.node is node for run in self._numbers)

    # -- actors that others know before the news has come here -----------------------------------

    def _given(self, uid: int) -> _Numbers | None:
        return next((found for found in self._numbers.values() if uid in found.unused), None)

    def stop_early(self, uid: int) -> None:
        """Take note of a stop of an actor whose start has not been reported yet."""
        numbers = self._given(uid)
        if numbers is not None:
            numbers.stopped.add(uid)

    async def reported(self, uid: int) -> None:
        """Wait until the start of an actor is reported, if it has a number that a node may still use."""
        while (numbers := self._given(uid)) is not None:
            waiter = self._state.loop.waiter()
            numbers.waiters.append(waiter)
            await waiter

    # -- what nodes report ------------------------------------------------------------------------

    def _adopt(  # noqa: PLR0917 - wire fields
        self,
        link: Link,
        uid: int,
        path: str,
        mailbox: int | list[Any],
        restart: str | None,
        backoff: Sequence[Any],
        shutdown: float,
        arguments: Sequence[bytes | SharedBuffer],
    ) -> None:
        run = self._state.runs.get(link.peer)
        numbers = None if run is None else self._numbers.get(run)
        if run is None or numbers is None or uid not in numbers.unused:
            self._state.event("report_refused", {"node": link.peer, "kind": "adopt_actor"})
            return
        node, host = run.node, self._state.host
        ref: Ref[Any] = Ref(
            host, uid, node.name, generated_name(path, uid), path, unpacked(mailbox)
        )
        actor = SupervisedActor(
            self._placement, node, ref, None, arguments=arguments, shutdown=shutdown
        )
        actor.stop_asked = uid in numbers.stopped
        numbers.unused.discard(uid)
        numbers.stopped.discard(uid)
        if numbers.waiters:
            numbers.wake()
        self._begin(
            run,
            actor,
            Restart.TRANSIENT if restart is None else Restart[restart],
            Backoff(*backoff) if backoff else PLAIN_BACKOFF,
        )
        self._expect_elsewhere(run, ref, mailbox)
        self.allow(run)

    def _begin(
        self, run: RemoteRun, actor: SupervisedActor, restart: Restart, backoff: Backoff
    ) -> None:
        uid, first = actor.ref.uid, actor.new_run()
        try:
            child = self._tree.adopt_actor(actor, first, restart, backoff)
        except SupervisorStopped:  # the system has ended its actors
            run.node.release_actor(uid, Exit.SHUTDOWN)
            return
        self._state.supervised[uid] = actor
        self._starts[uid] = _Start(run, first, child)
        run.node.ended[uid] = first.begun(child.ended)

    def _expect_elsewhere(self, by: RemoteRun, ref: Ref[Any], mailbox: int | list[Any]) -> None:
        """Have a run that is about to take the place of *by* queue messages for the actor."""
        for link in by.node.links:
            if link is not by.link:
                link.note(ops.expect_actor, ref.uid, ref.name, ref.cls_path, mailbox)

    def _started(self, link: Link, uid: int) -> None:
        start = self._starts.get(uid)
        if start is not None and start.by.link is link:
            del self._starts[uid]
            start.by.node.futile = False
            start.run.ready()
            start.child.ready()

    def _not_started(self, link: Link, uid: int, end: Exit) -> None:
        start, actor = self._starts.get(uid), self._state.supervised.get(uid)
        run = self._state.runs.get(link.peer)
        if start is not None and start.by.link is link:
            del self._starts[uid]
            start.child.failed(end.error)
        elif actor is not None and run is not None and actor.place is run.node:
            # It had started already, and whoever wanted it has gone meanwhile.
            actor.stop_for_good()
            stop = partial(self._tree.spawned.stop_child, actor.ref.name)
            self._state.carry_out(f"the stop of {actor.ref.name}", str(run.node), stop)

    def node_ended(self, run: RemoteRun, why: BaseException) -> None:
        """A run has ended, and all it wrote is read: what it had not started fails because of *why*."""
        numbers = self._numbers.pop(run, None)
        if numbers is None:
            return
        numbers.wake()
        for uid in [uid for uid, start in self._starts.items() if start.by is run]:
            self._starts.pop(uid).child.failed(why)
