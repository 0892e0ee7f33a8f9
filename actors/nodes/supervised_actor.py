"""An actor as its supervisor sees it: `SupervisedActor` over all restarts, `ActorRun` from one to the next."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Protocol

from actors._base.errors import StartFailed, SystemStopped
from actors.supervisors import Backoff, Exit, ExitKind, Restart, SupervisorError, should_restart
from actors.transport import drop_frames

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from actors._actor.interfaces import Ended
    from actors._base.loop import Loop, Waiter
    from actors._messaging.ref import Ref
    from actors.nodes._node import ActorPlacement
    from actors.transport import SharedBuffer

__all__ = ["PLAIN_BACKOFF", "ActorRun", "StaticChild", "SupervisedActor", "SupervisedActorOwner"]

_NO_KEYWORDS: Final[dict[str, Any]] = {}
_FRAMES_GO_AFTER: Final = 0.01
"""Seconds until the log line about a failed start has been written."""
_RESTARTS_WITHIN: Final = 0.1
"""Seconds that a restart may take while a stop is queued; then the stop ends the actor at once."""

PLAIN_BACKOFF: Final = Backoff()
"""The backoff of every actor whose spec names none: one object for all of them."""


class ActorStopper(Protocol):
    """The supervisor of an actor."""

    async def stop_child(self, name: str) -> None: ...


class SupervisedActorOwner(Protocol):
    """The part of the system that lists the actors."""

    loop: Loop

    def life_ended(self, life: SupervisedActor, end: Exit, /) -> None: ...


class SupervisedActor:
    """One actor over all its restarts, and what it takes to start it again.

    Attributes:
        named: whether its name was given to it by one that started it, on its own node.
        incarnation: the number of the current run, from 1; 0 before the first.
        end: how it ended for good, None until then.
        running: whether a run of it takes messages; None before the first does.
        stop_asked: whether it was asked to stop for good.
        chain: the actors that wait for its first start, a number and a name each.
        kept: how it ended with its supervisor, while it waits for the restart of that.
        voluntary_end: how the current run ended by the actor's own wish, if it did.
        state: what the last run handed over to the next one, packed as arguments are; empty if nothing.
        renews: whether the run that ends hands over, because another life is to go on with it.
        uncharged: whether the current run is ended for others' sake: its restart is charged to nobody.
        on_change: called when a run of it takes messages, with the end of that run, and with the error of a
            start that failed.
        supervisor: has it as a child by the name of its ref; None until that is known.
    """

    __slots__ = (
        "__weakref__",
        "_cls",
        "_watchers",
        "args",
        "arguments",
        "chain",
        "end",
        "incarnation",
        "kept",
        "kwargs",
        "named",
        "on_change",
        "owner",
        "place",
        "ref",
        "renews",
        "restart",
        "running",
        "shutdown",
        "state",
        "stop_asked",
        "supervisor",
        "uncharged",
        "voluntary_end",
    )

    def __init__(
        self,
        owner: SupervisedActorOwner,
        place: ActorPlacement,
        ref: Ref[Any],
        cls: type | None,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
        *,
        arguments: Sequence[bytes | SharedBuffer] = (),
        shutdown: float = 5.0,
        named: bool = False,
    ) -> None:
        self.named: bool = named
        self.owner: SupervisedActorOwner = owner
        self.place: ActorPlacement = place
        self.ref: Ref[Any] = ref
        self._cls = cls
        self.arguments: Sequence[bytes | SharedBuffer] = arguments
        self.args: tuple[Any, ...] = args
        self.kwargs: dict[str, Any] = kwargs or _NO_KEYWORDS
        self.shutdown: float = shutdown
        self.incarnation: int = 0
        self.end: Exit | None = None
        self.voluntary_end: Exit | None = None
        self.supervisor: ActorStopper | None = None
        self.running: bool | None = None
        self.stop_asked: bool = False
        self.uncharged: bool = False
        self.renews: bool = False
        self.state: Sequence[bytes | SharedBuffer] = ()
        self.kept: Exit | None = None
        self.chain: tuple[tuple[int, str], ...] = ()
        self.restart: Restart | None = None
        self.on_change: Callable[[Exit | Exception | None], None] | None = None
        self._watchers: dict[object, Callable[[Exit], None]] | None = None

    @property
    def cls(self) -> type:
        """The actor class, where this process needs it: it runs the actor itself."""
        assert self._cls is not None
        return self._cls

    def new_run(self) -> ActorRun:
        """Make the next run, for the supervisor."""
        return ActorRun(self)

    def comes_back(self, end: Exit) -> bool:
        """Return whether its supervisor would restart it after *end*, as far as is known here."""
        return self.restart is None or should_restart(self.restart, end)

    def stop_for_good(self) -> None:
        """Remember that it was asked to stop; between two runs that ends it now.

        While it runs, the request is in its mailbox, behind what was queued before.
        """
        self.stop_asked = True
        if self.kept is not None:
            self.gone(Exit.SHUTDOWN)
        elif self.running is False and self.end is None and self.supervisor is not None:
            name = self.ref.name
            self.owner.loop.start(_have_stopped, self, self.supervisor, name=f"stop {name}")

    def keep_state(self, state: Sequence[bytes | SharedBuffer], /) -> None:
        """Keep what its run hands over, until the next one is ready."""
        self.state = state

    def run_ended(self, end: Exit) -> None:
        """Note that its run has ended; a stop that was queued in it ends the actor if no run follows."""
        self.running = False
        if end.kind is not ExitKind.NODE_DOWN and not self.renews:
            self.state = ()  # it crashed, or its supervisor starts all of its children anew
        if self.on_change is not None:
            self.on_change(end)
        if self.stop_asked and end.kind is ExitKind.NODE_DOWN:
            self.stop_for_good()  # the request is lost with the mailbox
        elif self.stop_asked:
            self.owner.loop.call_later(_RESTARTS_WITHIN, self.stop_for_good)

    def gone(self, end: Exit) -> None:
        """End it for good: free its name, then call the watchers."""
        if self.end is not None:
            return
        self.end = end = self.voluntary_end or self.kept or end
        self.owner.life_ended(self, end)
        self.place.release_actor(self.ref.uid, end)
        if self.on_change is not None:
            self.on_change(end)
        watchers, self._watchers = self._watchers, None
        for notice in tuple((watchers or {}).values()):
            notice(end)

    def watch(self, notice: Callable[[Exit], None]) -> Callable[[], None]:
        """Call *notice* with the final end, once; at once if it has ended. Return what cancels that."""
        if self.end is not None:
            notice(self.end)
            return _nothing
        key = object()
        if self._watchers is None:
            self._watchers = {}
        watchers = self._watchers
        watchers[key] = notice
        return lambda: (watchers.pop(key, None), None)[1]


class ActorRun:
    """One run of an actor, as a `supervisors.Child`."""

    __slots__ = (
        "_actor",
        "_ended",
        "_exit",
        "_started",
        "_stop_requested",
        "_unreported",
        "_waiters",
    )

    def __init__(self, actor: SupervisedActor) -> None:
        self._actor = actor
        self._started = False
        self._stop_requested = False
        self._unreported: tuple[Exit, bool] | None = None
        """The end of a run whose start has not returned, and whether the actor asked for it."""
        self._exit: Exit | None = None
        self._ended: Callable[[Exit], None] | None = None
        self._waiters: list[Waiter] | None = None

    @property
    def ref(self) -> Ref[Any]:
        """The actor's address."""
        return self._actor.ref

    async def start(self, ended: Callable[[Exit], None]) -> None:
        """Start the next incarnation and return when it is ready.

        Raises:
            StartFailed: it did not get ready.
        """
        actor = self._actor
        self._ended = ended
        actor.incarnation += 1
        actor.voluntary_end = None
        actor.uncharged = False
        try:
            await actor.place.start_actor(actor, self._incarnation_ended)
        except Exception as error:
            if isinstance(error, StartFailed):
                actor.state = ()  # perhaps the reason
            if actor.stop_asked:
                actor.stop_for_good()
            if actor.incarnation > 1:
                # Only its supervisor gets the error, and keeps it: the frames would keep an ended link.
                actor.owner.loop.call_later(_FRAMES_GO_AFTER, drop_frames, error)
                if actor.on_change is not None:
                    actor.on_change(error)
            raise
        self.ready()

    def begun(self, ended: Callable[[Exit], None]) -> Ended:
        """Take note that its node has begun the first incarnation by itself; `ready` follows, or nothing.

        Returns:
            what takes the end of the incarnation.
        """
        self._ended = ended
        self._actor.incarnation += 1
        return self._incarnation_ended

    def ready(self) -> None:
        """The incarnation takes messages."""
        actor = self._actor
        self._started = actor.running = True
        actor.chain = actor.state = ()
        if actor.on_change is not None:
            actor.on_change(None)
        if self._unreported is not None:
            self._incarnation_ended(*self._unreported)

    def _incarnation_ended(self, end: Exit, voluntary: bool) -> None:  # noqa: FBT001 - the signature of Ended
        """Report the end to the supervisor; one the actor asked for only when it is stopped there."""
        actor = self._actor
        supervisor = None if self._stop_requested or not voluntary else actor.supervisor
        if not self._started:
            self._unreported = (end, voluntary)
        elif supervisor is None:
            self._finish(end)
        else:
            actor.voluntary_end = end
            if actor.comes_back(Exit.NORMAL):
                # Its supervisor would restart it after this end, so it is told to stop it.
                loop, name = actor.owner.loop, actor.ref.name
                loop.start(_have_stopped, actor, supervisor, name=f"stop {name}")
            else:
                # No restart follows a normal end, which counts for auto-shutdown. If the ending itself
                # failed, only those who watch the actor are told.
                self._finish(Exit.NORMAL if end.abnormal else end)

    def _finish(self, end: Exit) -> None:
        if self._exit is not None:
            return
        self._exit = end
        for waiter in self._waiters or ():
            if not waiter.done():
                waiter.set_result(None)
        self._actor.run_ended(end)
        if self._ended is not None:
            self._ended(end)

    async def wait(self) -> Exit:
        """Wait for the end of this run and return it."""
        if self._exit is None:
            waiter = self._actor.owner.loop.waiter()
            self._waiters = [*(self._waiters or ()), waiter]
            await waiter
        assert self._exit is not None
        return self._exit

    def stop(self) -> None:
        """Ask the actor to end behind what it has queued."""
        self._request(partial(self._actor.place.stop_actor, renew=self._actor.renews))

    def kill(self) -> None:
        """End the incarnation now."""
        self._request(self._actor.place.kill_actor)

    def _request(self, verb: Callable[[int], None]) -> None:
        """Have the node end it by *verb*, unless it has ended and waits for this request."""
        self._stop_requested = True
        if self._actor.voluntary_end is not None:
            self._finish(self._actor.voluntary_end)
        else:
            verb(self._actor.ref.uid)


class StaticChild:
    """An actor in a static supervisor, over all its lives; also the `supervisors.Host` of each.

    A life goes on when its supervisor is restarted. After it is over `restart_child` begins another one,
    with another address.

    Args:
        new_life: makes the actor.
        keeps: whether its supervisor is about to end, and to start it again if it is restarted.
    """

    def __init__(
        self, new_life: Callable[[], SupervisedActor], keeps: Callable[[], bool] = lambda: False
    ) -> None:
        self._new_life = new_life
        self._keeps = keeps
        self._life: SupervisedActor | None = None
        self._state: Sequence[bytes | SharedBuffer] = ()
        """What the last life handed over to the next one."""
        self.chain: tuple[tuple[int, str], ...] = ()
        """The actors that wait for the start of its next life."""

    def new_run(self) -> ActorRun:
        """Make the next run, of a new life if the last one is over."""
        if self._place is None:
            self.give_up()
        if self._life is None or self._life.end is not None:
            self._life = self._new_life()
            self._life.state, self._state = self._state, ()
            self._life.chain, self.chain = self.chain, ()
        self._life.kept = None
        return self._life.new_run()

    def uncharged(self, _end: Exit) -> bool:
        """Return whether its last run was ended for others' sake."""
        return self._life is not None and self._life.uncharged

    def gone(self, end: Exit) -> None:
        """End the life, or keep it for the next run of the supervisor."""
        life = self._life
        if life is None:
            return
        if self._keeps() and not life.stop_asked and life.voluntary_end is None:
            life.kept = end
        else:
            self._life = None
            self._state = life.state if life.renews else ()
            life.gone(end)

    def renew(self) -> None:
        """Have the life that is about to be stopped hand over to the next one."""
        if self._life is not None:
            self._life.renews = True

    def give_up(self) -> None:
        """End a life that was kept: the supervisor does not come back."""
        life, self._life = self._life, None
        if life is not None:
            life.gone(Exit.SHUTDOWN)

    @property
    def _place(self) -> ActorPlacement | None:
        """The node of the life that goes on; one that was kept goes on elsewhere if its node is lost."""
        life = self._life
        if life is None or (life.kept is not None and life.place.lost):
            return None
        return life.place

    @property
    def ready(self) -> bool:
        """Whether its node is ready."""
        return self._place is None or self._place.ready

    @property
    def lost(self) -> bool:
        """Whether its node was given up."""
        return self._place is not None and self._place.lost

    def notify(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Have *callback* called when its node changes; return what ends that."""
        return _nothing if self._place is None else self._place.notify(callback)


async def _have_stopped(actor: SupervisedActor, supervisor: ActorStopper) -> None:
    """Ask a supervisor for a stop; one that is stopping itself gets to this child anyway."""
    if actor.end is None:
        with suppress(SupervisorError, SystemStopped):
            await supervisor.stop_child(actor.ref.name)


def _nothing() -> None:
    """There is nothing to cancel."""
