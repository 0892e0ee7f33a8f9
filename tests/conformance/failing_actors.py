"""An actor that fails in one hook in one way, and actors that observe it; a process node imports them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, Final, Self

import anyio
import anyio.lowlevel
import trio

from actors import Actor, Exit, Ref, concurrent, register
from actors._actor import incarnation as _incarnation
from actors._base.loop_asyncio import _HIDDEN
from actors.testing import Recorder


class Odd(BaseException):
    """An error that is no `Exception`, and not the node's either."""


ERRORS: Final[dict[str, Callable[[str], BaseException]]] = {
    "raise": LookupError,
    "cancel": asyncio.CancelledError,  # nobody asked for it
    "odd": Odd,
    "exit": SystemExit,
    "interrupt": KeyboardInterrupt,
}

RELEASED: Final = threading.Event()
"""Set when those that hear nothing shall end after all; per process."""
ATTEMPTS: Final[list[tuple[str, str]]] = []
"""What an abandoned incarnation tried, and what came of it; per process."""


class Failing(Actor):
    """Fails at one site, in the incarnations that were named."""

    def __init__(self, probe: Ref[Recorder], site: str, how: str, at: Sequence[int] = (1,)) -> None:
        self.probe = probe
        self.site = site
        self.how = how
        self.armed = self.context.incarnation in at
        if self.armed and site == "constructor":
            raise ERRORS[how](site)

    async def on_start(self) -> None:
        await self._fault("on_start")

    async def on_stop(self, _exit: Exit) -> None:
        await self._fault("on_stop")

    async def on_exit(self, _ref: Ref[Any], _exit: Exit) -> None:
        await self._fault("on_exit")

    async def incarnation(self) -> int:
        return self.context.incarnation

    async def crash(self) -> None:
        raise RuntimeError("first")

    async def finish(self) -> None:
        self.context.stop()

    async def provoke(self, gone: Ref[Any]) -> None:
        """Get to the site, if it is reached while the actor runs."""
        if self.site == "on_exit":
            self.context.watch(gone)
        elif self.site == "timer":
            self.context.timers.once(0, Failing.tick)
        elif self.site in {"task", "task's end"}:
            started = anyio.Event()
            self.context.tasks.start_soon(self._task, started)
            await started.wait()
        await self._fault("handler")

    async def tick(self) -> None:
        await self._fault("timer")

    @concurrent
    async def beside(self) -> None:
        await self._fault("concurrent")

    async def items(self) -> AsyncIterator[int]:
        try:
            yield 1
            await self._fault("generator")
            # No wait between this and the next item: whoever hears it finds the generator at rest.
            self.probe.tell_nowait(Recorder.record, ("open", self.context.name))
            while True:
                yield 2
        finally:
            await self._fault("generator's end")

    async def _task(self, started: anyio.Event) -> None:
        started.set()
        await self._fault("task")
        try:
            await anyio.sleep_forever()
        finally:
            await self._fault("task's end")

    async def _fault(self, site: str) -> None:
        if site != self.site or not self.armed:
            return
        if self.how in ERRORS:
            raise ERRORS[self.how](site)
        self.probe.tell_nowait(Recorder.record, ("hangs", self.context.name))
        await anyio.sleep_forever()


class Deaf(Actor):
    """Hears no cancellation, and goes on acting when it has been abandoned."""

    def __init__(self, probe: Ref[Recorder], *, at_start: bool = False) -> None:
        self.probe = probe
        self.at_start = at_start

    async def on_start(self) -> None:
        if self.at_start:
            await self._hear_nothing()

    async def incarnation(self) -> int:
        return self.context.incarnation

    async def hang(self) -> str:
        await self._hear_nothing()
        return "a late reply"

    async def _hear_nothing(self) -> None:
        self.probe.tell_nowait(Recorder.record, ("hangs", self.context.name))
        with anyio.CancelScope(shield=True):
            while not RELEASED.is_set():
                try:
                    await anyio.sleep(0.005)
                except asyncio.CancelledError:
                    continue
            await self._try_everything()

    async def _try_everything(self) -> None:
        context = self.context
        verbs: dict[str, Callable[[], Any]] = {
            "tell": lambda: self.probe.tell(Recorder.record, "from the dead"),
            "ask": lambda: self.probe.ask(Recorder.record, "from the dead"),
            "tell_nowait": lambda: _now(self.probe.tell_nowait, Recorder.record, "from the dead"),
            "tell itself": lambda: context.ref.tell(Deaf.hang),
            "spawn": lambda: context.spawn(Bystander, name="child of the dead"),
            "system.spawn": lambda: context.system.spawn(Bystander, name="child of the dead"),
            "timer": lambda: _now(context.timers.once, 0, Deaf.hang),
            "watch": lambda: _now(context.watch, self.probe),
            "task": lambda: _now(context.tasks.start_soon, self._nothing),
        }
        for name, verb in verbs.items():
            try:
                await verb()
            except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - the test looks at it
                ATTEMPTS.append((name, type(error).__name__))
            else:
                ATTEMPTS.append((name, "done"))
        ATTEMPTS.append(("all", "tried"))

    async def _nothing(self) -> None: ...


async def _now(verb: Callable[..., Any], *args: Any) -> None:
    verb(*args)


class Bystander(Actor):
    """Lives on the same node, and can say what is left there."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, str]] = []

    async def watch(self, ref: Ref[Any]) -> None:
        self.context.watch(ref)

    async def on_exit(self, ref: Ref[Any], exit: Exit) -> None:  # noqa: A002 - the hook's name
        self.heard.append((ref.name, str(exit)))

    async def ends(self, name: str) -> list[str]:
        """Return how those of that name ended, one for each notice."""
        return [end for who, end in self.heard if who == name]

    async def tasks(self, name: str) -> list[str]:
        """Return the tasks of this node that belong to the actor of that name."""
        return [
            task for task in _tasks() if task == f"actor {name}" or task.startswith(f"{name}: ")
        ]

    async def cells(self) -> list[str]:
        """Return the actors this node has room for."""
        stats = await self.context.system.node.stats()
        return [actor["name"] for actor in stats["actors"]]

    async def patience(self, seconds: float) -> float:
        """Set how long this process waits for those it killed, and return what it was."""
        before = _incarnation._ABANDON_AFTER
        _incarnation._ABANDON_AFTER = seconds  # type: ignore[misc] # nobody waits five seconds in a test
        return before

    async def hold(self) -> None:
        """Let nobody go from now on."""
        RELEASED.clear()

    async def release(self) -> None:
        """Let those that hear nothing go on."""
        ATTEMPTS.clear()
        RELEASED.set()

    async def attempts(self) -> list[tuple[str, str]]:
        return list(ATTEMPTS)

    async def tried(self) -> bool:
        return ("all", "tried") in ATTEMPTS


def _tasks() -> list[str]:
    try:
        loop = asyncio.get_running_loop()
        hidden = {task for task in _HIDDEN if task.get_loop() is loop and not task.done()}
        return [task.get_name() for task in asyncio.all_tasks() | hidden]
    except RuntimeError:
        return _trio_tasks(trio.lowlevel.current_root_task())


def _trio_tasks(task: trio.lowlevel.Task | None) -> list[str]:
    found: list[str] = []
    if task is not None:
        found.append(task.name)
        for nursery in task.child_nurseries:
            for child in nursery.child_tasks:
                found += _trio_tasks(child)
    return found


class Coin:
    """A registered value whose codec fails where it says so."""

    def __init__(self, fails: str = "") -> None:
        self.fails = fails


def _encode(coin: Coin) -> str:
    if coin.fails == "encode":
        raise LookupError("codec: encode")
    return coin.fails


def _decode(fails: str) -> Coin:
    if fails == "decode":
        raise LookupError("codec: decode")
    return Coin(fails)


register(Coin, _encode, _decode)


class Shapeless(LookupError):
    """Cannot be put together again."""

    def __new__(cls, *_args: Any) -> Self:
        raise LookupError("codec: new")

    def __str__(self) -> str:
        raise LookupError("codec: text")


class Mint(Actor):
    """Gives and takes what cannot travel."""

    def __init__(self, coin: Coin | None = None) -> None:
        self.coin = coin

    async def take(self, coin: Coin) -> str:
        return coin.fails

    async def give(self, fails: str) -> Coin:
        return Coin(fails)

    async def lock(self) -> Any:
        return [anyio.Lock()]

    async def coins(self, fails: str) -> AsyncIterator[Coin]:
        yield Coin()
        yield Coin(fails)

    async def shapeless(self) -> None:
        raise LookupError.__new__(Shapeless, anyio.Lock())

    async def unheard(self) -> None:
        class Unheard(Exception):
            pass

        raise Unheard("of a class nobody can import")

    async def incarnation(self) -> int:
        return self.context.incarnation
