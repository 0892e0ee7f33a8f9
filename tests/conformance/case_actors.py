"""Actors that the conformance tests run; a process node imports them from here."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Any

import anyio
import sniffio

from actors import Actor, Exit, OnError, Ref
from actors.errors import DeadlineExceeded
from actors.testing import Recorder


class ReportingActor(Actor):
    """Does as it is told; tells its probe of its starts and ends, and waits until that is noted."""

    def __init__(self, probe: Ref[Recorder]) -> None:
        self.probe = probe
        self.log: list[Any] = []

    async def on_start(self) -> None:
        await self.probe.ask(Recorder.record, ("start", self.context.name))

    async def on_stop(self, exit: Exit) -> None:  # noqa: A002 - the hook's name
        await self.probe.ask(Recorder.record, ("stop", self.context.name, exit.kind.value))

    async def note(self, value: Any) -> None:
        self.log.append(value)

    async def logged(self) -> list[Any]:
        return self.log

    async def incarnation(self) -> int:
        return self.context.incarnation

    async def where(self) -> str:
        return self.context.node

    async def crash(self, text: str = "boom") -> None:
        raise RuntimeError(text)

    async def crash_soon(self, after: float) -> None:
        await anyio.sleep(after)
        raise RuntimeError("soon")

    async def finish(self) -> None:
        self.context.stop()

    async def hang(self) -> None:
        """Hear nothing more, also not that it shall stop."""
        await self.probe.ask(Recorder.record, ("hangs", self.context.name))
        await anyio.sleep_forever()


class Plain(Actor):
    """Has nobody to tell anything."""

    async def incarnation(self) -> int:
        return self.context.incarnation

    async def crash(self) -> None:
        raise RuntimeError("boom")


class Brief(Actor):
    """Ends as soon as it has started."""

    async def on_start(self) -> None:
        self.context.stop()


class Slow(ReportingActor):
    """Takes its time to stop, and tells when it begins and when it is done."""

    async def on_stop(self, exit: Exit) -> None:  # noqa: A002 - the hook's name
        await self.probe.ask(Recorder.record, ("stopping", self.context.name))
        await anyio.sleep(0.02)
        await super().on_stop(exit)


class StartScript(Actor):
    """Tells actors what to do in their `on_start`, over all their lives."""

    def __init__(self) -> None:
        self.cues: dict[str, list[str]] = {}

    async def plan(self, name: str, *cues: str) -> None:
        self.cues[name] = list(cues)

    async def cue(self, name: str) -> str:
        left = self.cues.get(name)
        return left.pop(0) if left else "go"


class OddError(BaseException):
    """Is no `Exception`."""


class ScriptedStart(ReportingActor):
    """Starts, fails or hangs as its director says."""

    def __init__(self, probe: Ref[Recorder], director: Ref[StartScript]) -> None:
        super().__init__(probe)
        self.director = director

    async def on_start(self) -> None:
        cue = await self.director.ask(StartScript.cue, self.context.name)
        if cue == "fail":
            raise ConnectionError("no database")
        if cue == "throw":
            raise OddError("thrown")
        if cue == "cancel":
            raise asyncio.CancelledError
        if cue == "hang":
            await self._hang()
        await super().on_start()

    async def _hang(self) -> None:
        try:
            await self.probe.ask(Recorder.record, ("hangs", self.context.name))
            await anyio.sleep_forever()
        finally:
            self.probe.tell_nowait(Recorder.record, ("let go", self.context.name))


class Faulty(ReportingActor):
    """Raises or hangs at one site, in the incarnations that were named."""

    def __init__(
        self, probe: Ref[Recorder], site: str, how: str = "raise", at: Sequence[int] = (1,)
    ) -> None:
        super().__init__(probe)
        self.site = site
        self.how = how
        self.armed = self.context.incarnation in at
        if self.armed and site == "constructor":
            raise LookupError(site)

    async def on_start(self) -> None:
        await super().on_start()
        await self._fault("on_start")

    async def on_stop(self, exit: Exit) -> None:  # noqa: A002 - the hook's name
        await super().on_stop(exit)
        await self._fault("on_stop")

    async def on_exit(self, _ref: Ref[Any], _exit: Exit) -> None:
        await self._fault("on_exit")

    async def watch(self, ref: Ref[Any]) -> None:
        self.context.watch(ref)

    async def start_task(self) -> None:
        self.context.tasks.start_soon(self._task)

    async def _task(self) -> None:
        await self._fault("task")
        try:
            await anyio.sleep_forever()
        finally:
            await self._fault("task's end", shield=True)

    async def items(self) -> AsyncIterator[int]:
        try:
            yield 1
            await self._fault("generator")
            yield 2
        finally:
            await self._fault("generator's end")

    async def _fault(self, site: str, *, shield: bool = False) -> None:
        if site != self.site or not self.armed:
            return
        if self.how == "raise":
            raise LookupError(site)
        with anyio.CancelScope(shield=shield):
            await self.probe.ask(Recorder.record, ("hangs", self.context.name))
            await anyio.sleep(0.05 if shield else 3600)


class Parent(ReportingActor):
    """Has children of its own."""

    async def start_child(self, cls: str, name: str) -> Ref[Any]:
        return await self.context.spawn(_CHILDREN[cls], self.probe, name=name)

    async def start_cued(self, director: Ref[StartScript], name: str) -> Ref[Any]:
        return await self.context.spawn(ScriptedStart, self.probe, director, name=name)

    async def watch(self, ref: Ref[Any]) -> None:
        self.context.watch(ref)

    async def on_exit(self, ref: Ref[Any], exit: Exit) -> None:  # noqa: A002 - the hook's name
        await self.probe.ask(Recorder.record, ("heard", ref.name, exit.kind.value))


_CHILDREN: dict[str, type[ReportingActor]] = {"slow": Slow, "well": ReportingActor}


ERRORS: dict[str, type[Exception]] = {
    "restart": ZeroDivisionError,
    "resume": KeyError,
    "stop": ConnectionError,
}


class WithErrorTable(
    ReportingActor,
    on_error={
        ArithmeticError: OnError.RESTART,
        LookupError: OnError.RESUME,
        OSError: OnError.STOP,
    },
):
    """Is restarted, resumed or stopped, by the class of the error."""

    async def fail(self, how: str) -> None:
        raise ERRORS[how](how)


class Stumbling(ReportingActor):
    """Fails in `on_stop` of its first incarnation and in the constructor of its second."""

    def __init__(self, probe: Ref[Recorder]) -> None:
        super().__init__(probe)
        if self.context.incarnation == 2:
            raise ArithmeticError("constructor")

    async def on_stop(self, exit: Exit) -> None:  # noqa: A002 - the hook's name
        await super().on_stop(exit)
        if self.context.incarnation == 1:
            raise LookupError("on_stop")


class OnceOnly(ReportingActor):
    """Ends as soon as it has been restarted."""

    async def on_start(self) -> None:
        if self.context.incarnation > 1:
            self.context.stop()


class Watcher(ReportingActor):
    """Has children, watches others, and tells of their ends."""

    async def start_well(self, name: str) -> Ref[ReportingActor]:
        return await self.context.spawn(ReportingActor, self.probe, name=name)

    async def watch(self, ref: Ref[Any]) -> None:
        self.context.watch(ref)

    async def hear_out(self, ref: Ref[Any], *, unwatch: bool) -> None:
        """Wait until *ref* has ended, and its notice is queued behind this message."""
        await self.probe.ask(Recorder.record, "listening")
        await ref.wait()
        if unwatch:
            self.context.unwatch(ref)

    async def on_exit(self, ref: Ref[Any], exit: Exit) -> None:  # noqa: A002 - the hook's name
        await self.probe.ask(Recorder.record, ("heard", ref.name, exit.kind.value))

    async def be_cancelled(self) -> None:
        """Have the task that handles this cancelled, as a stranger would."""
        assert sniffio.current_async_library() == "asyncio"
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await anyio.sleep_forever()


class Unwatched(ReportingActor):
    """Watches without a hook to hear it."""

    async def watch(self, ref: Ref[Any]) -> None:
        self.context.watch(ref)


async def deafly(seconds: float) -> None:
    """Sleep, whatever anybody does about it."""
    end = anyio.current_time() + seconds
    while (left := end - anyio.current_time()) > 0:
        # A shield keeps trio's cancellations away; asyncio's have to be caught.
        with (
            contextlib.suppress(anyio.get_cancelled_exc_class()),
            anyio.CancelScope(shield=True),
        ):
            await anyio.sleep(left)


class Deaf(Actor):
    """Goes on when it is cancelled, and replies too late."""

    async def slow(self, value: str) -> str:
        await deafly(0.1)
        return value

    async def quick(self, value: str) -> str:
        return value


class Asker(ReportingActor):
    """Asks others with little patience."""

    async def ask_within(self, seconds: float, other: Ref[Deaf], value: str) -> str:
        self.context.watch(other)
        try:
            return await other.within(seconds).ask(Deaf.slow, value)
        except DeadlineExceeded:
            return "too late"

    async def ask_itself(self) -> int:
        return await self.context.ref.ask(ReportingActor.incarnation)

    async def ask_next(self, other: Ref[Deaf], value: str) -> str:
        return await other.ask(Deaf.quick, value)

    async def on_exit(self, ref: Ref[Any], exit: Exit) -> None:  # noqa: A002 - the hook's name
        await self.probe.ask(Recorder.record, ("heard", ref.name, exit.kind.value))


class BlockingFatal(Actor, blocking=True):
    """Ends its process from its own thread."""

    def leave(self) -> None:
        raise SystemExit(3)


class Fatal(Actor):
    """Raises what is for its node, or is not."""

    async def raise_it(self, name: str) -> None:
        raise FATAL[name]

    async def incarnation(self) -> int:
        return self.context.incarnation


class NoException(BaseException):
    """Is no `Exception`, and nobody's business but its actor's."""


FATAL: dict[str, BaseException] = {
    "SystemExit": SystemExit(3),
    "KeyboardInterrupt": KeyboardInterrupt(),
    "GeneratorExit": GeneratorExit(),
    "NoException": NoException(),
}
