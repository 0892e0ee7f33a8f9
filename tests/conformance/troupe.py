"""More actors of the cases, for restarts and messages; a process node imports them from here."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import anyio
import sniffio

from actors import Actor, Exit, OnError, Ref
from actors.errors import DeadlineExceeded
from actors.testing import Recorder
from tests.conformance.cast import Well

ERRORS: dict[str, type[Exception]] = {
    "restart": ZeroDivisionError,
    "resume": KeyError,
    "stop": ConnectionError,
}


class Tabled(
    Well,
    on_error={
        ArithmeticError: OnError.RESTART,
        LookupError: OnError.RESUME,
        OSError: OnError.STOP,
    },
):
    """Is restarted, resumed or stopped, by the class of the error."""

    async def fail(self, how: str) -> None:
        raise ERRORS[how](how)


class Stumbling(Well):
    """Fails in `on_stop` of its first incarnation and in the constructor of its second."""

    def __init__(self, probe: Ref[Recorder]) -> None:
        super().__init__(probe)
        if self.context.incarnation == 2:
            raise ArithmeticError("constructor")

    async def on_stop(self, exit: Exit) -> None:  # noqa: A002 - the hook's name
        await super().on_stop(exit)
        if self.context.incarnation == 1:
            raise LookupError("on_stop")


class OnceOnly(Well):
    """Ends as soon as it has been restarted."""

    async def on_start(self) -> None:
        if self.context.incarnation > 1:
            self.context.stop()


class Watcher(Well):
    """Has children, watches others, and tells of their ends."""

    async def start_well(self, name: str) -> Ref[Well]:
        return await self.context.spawn(Well, self.probe, name=name)

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


class Unwatched(Well):
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


class Asker(Well):
    """Asks others with little patience."""

    async def ask_within(self, seconds: float, other: Ref[Deaf], value: str) -> str:
        self.context.watch(other)
        try:
            return await other.within(seconds).ask(Deaf.slow, value)
        except DeadlineExceeded:
            return "too late"

    async def ask_itself(self) -> int:
        return await self.context.ref.ask(Well.incarnation)

    async def ask_next(self, other: Ref[Deaf], value: str) -> str:
        return await other.ask(Deaf.quick, value)

    async def on_exit(self, ref: Ref[Any], exit: Exit) -> None:  # noqa: A002 - the hook's name
        await self.probe.ask(Recorder.record, ("heard", ref.name, exit.kind.value))


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
