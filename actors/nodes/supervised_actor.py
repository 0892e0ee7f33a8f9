"""The life of one actor, as its supervisor sees it: one number and one ref over all its restarts."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, Protocol

from actors._base.completion import Completion
from actors._base.errors import SystemStopped
from actors.supervisors import Backoff, Exit, Restart, SupervisorError, should_restart
from actors.transport import drop_frames

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from actors._base.loop import Loop
    from actors._messaging.ref import Ref
    from actors.nodes._node import ActorPlacement

__all__ = ["PLAIN_BACKOFF", "ActorRun", "SupervisedActor", "SupervisedActorOwner"]

_NO_KEYWORDS: Final[dict[str, Any]] = {}
_FRAMES_GO_AFTER: Final = 0.01
"""Seconds until a failed start has been written down."""


PLAIN_BACKOFF: Final = Backoff()
"""Of every actor whose spec names none: one object."""


class ActorStopper(Protocol):
    """The supervisor of a life."""

    async def stop_child(self, name: str) -> None: ...


class SupervisedActorOwner(Protocol):
    """Whoever keeps the books of lives."""

    loop: Loop

    def life_ended(self, life: SupervisedActor, end: Exit) -> None: ...


class SupervisedActor:
    """What it takes to run an actor again; ends once.

    Attributes:
        supervisor: has it as a child by the name of its ref, once it does.
    """

    __slots__ = (
        "__weakref__",
        "_cls",
        "_watchers",
        "args",
        "arguments",
        "end",
        "incarnation",
        "kwargs",
        "owner",
        "place",
        "ref",
        "restart",
        "shutdown",
        "supervisor",
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
        arguments: Sequence[bytes] = (),
        shutdown: float = 5.0,
    ) -> None:
        self.owner = owner
        self.place = place
        self.ref = ref
        self._cls = cls
        self.arguments = arguments
        self.args = args
        self.kwargs = kwargs or _NO_KEYWORDS
        self.shutdown = shutdown
        self.incarnation = 0
        self.end: Exit | None = None
        self.voluntary_end: Exit | None = None
        self.supervisor: ActorStopper | None = None
        self.restart: Restart | None = None
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
        """Whether its supervisor would run it again after *end*, as far as is known here."""
        return self.restart is None or should_restart(self.restart, end)

    def gone(self, end: Exit) -> None:
        """It will not be run again: the name is freed first, then everybody is told."""
        if self.end is not None:
            return
        self.end = end = self.voluntary_end or end
        self.owner.life_ended(self, end)
        self.place.release_actor(self.ref.uid, end)
        watchers, self._watchers = self._watchers, None
        for notice in tuple((watchers or {}).values()):
            notice(end)

    def watch(self, notice: Callable[[Exit], None]) -> Callable[[], None]:
        """Tell *notice* of the end, once."""
        if self.end is not None:
            notice(self.end)
            return lambda: None
        key = object()
        if self._watchers is None:
            self._watchers = {}
        watchers = self._watchers
        watchers[key] = notice
        return lambda: (watchers.pop(key, None), None)[1]


class ActorRun:
    """One run of an actor, as a `supervisors.Child`."""

    __slots__ = ("_asked", "_early", "_ending", "_held", "_life", "_started")

    def __init__(self, life: SupervisedActor) -> None:
        self._life = life
        self._ending = Completion(life.owner.loop.waiter)
        self._held: Exit | None = None
        self._early: tuple[Exit, bool] | None = None
        self._started = False
        self._asked = False

    @property
    def ref(self) -> Ref[Any]:
        """The actor's address."""
        return self._life.ref

    async def start(self, ended: Callable[[Exit], None]) -> None:
        """Start the next incarnation and return when it is ready.

        Raises:
            StartFailed: it did not get ready.
        """
        self._ending.told = ended
        self._life.incarnation += 1
        self._life.voluntary_end = None
        try:
            await self._life.place.start_actor(self._life, self._run_over)
        except Exception as error:
            if self._life.incarnation > 1:
                # Nobody but its supervisor is told, who keeps it: its frames would keep an ended link.
                self._life.owner.loop.call_later(_FRAMES_GO_AFTER, drop_frames, error)
            raise
        self._started = True
        if self._early is not None:
            self._run_ended(*self._early)

    def _run_over(self, end: Exit, voluntary: bool) -> None:  # noqa: FBT001 - the signature of Ended
        """Take note of the end; one that overtook the word that it is ready waits for that."""
        if self._started:
            self._run_ended(end, voluntary)
        else:
            self._early = (end, voluntary)

    def _run_ended(self, end: Exit, voluntary: bool) -> None:  # noqa: FBT001 - the signature of Ended
        life = self._life
        supervisor = None if self._asked or not voluntary else life.supervisor
        if supervisor is None:
            self._finish(end)
            return
        life.voluntary_end = end
        if life.comes_back(Exit.NORMAL):
            # It had asked to end: its supervisor is told to stop it, so that it is not restarted.
            self._held = end
            name = life.ref.name
            life.owner.loop.start(_have_stopped, supervisor, name, name=f"stop {name}")
        else:
            # No restart follows a normal end, which counts for auto-shutdown; that the ending itself
            # failed is for those who watch.
            self._finish(Exit.NORMAL if end.abnormal else end)

    def _finish(self, end: Exit) -> None:
        if self._ending.come(end):
            self._ending.tell()

    async def wait(self) -> Exit:
        """Wait for the end of this run."""
        return await self._ending.wait()

    def stop(self) -> None:
        """Ask the actor to end behind what it has queued."""
        self._asked = True
        if self._held is not None:
            self._finish(self._held)
        else:
            self._life.place.stop_actor(self._life.ref.uid)

    def kill(self) -> None:
        """End the incarnation now."""
        self._asked = True
        if self._held is not None:
            self._finish(self._held)
        else:
            self._life.place.kill_actor(self._life.ref.uid)


async def _have_stopped(supervisor: ActorStopper, name: str) -> None:
    """Ask a supervisor for a stop; one that is stopping itself gets to this child anyway."""
    with suppress(SupervisorError, SystemStopped):
        await supervisor.stop_child(name)
