"""Actors that start others on their own node, for `test_own_starts`."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path
from typing import Any

import anyio

from actors import Actor, Exit, Ref, current
from actors.errors import ActorsError
from actors.testing import Recorder


class Born(Actor):
    """Says when it starts, and does what it is told."""

    def __init__(self, probe: Ref[Recorder] | None = None, end: str = "") -> None:
        self.probe = probe
        self.end = end

    async def on_start(self) -> None:
        if self.probe is not None:
            await self.probe.tell(Recorder.record, (self.context.name, self.context.incarnation))

    async def on_stop(self, end: Exit) -> None:
        if self.end:
            with Path(self.end).open("a") as file:  # noqa: ASYNC230 - one line
                file.write(f"{end.kind.value}\n")

    async def incarnation(self) -> int:
        return self.context.incarnation

    async def crash(self) -> None:
        raise RuntimeError("crashed as asked")

    async def finish(self) -> None:
        self.context.stop()


class Hanging(Actor):
    """Does not get ready, and says so."""

    def __init__(self, probe: Ref[Recorder]) -> None:
        self.probe = probe

    async def on_start(self) -> None:
        await self.probe.tell(Recorder.record, self.context.ref)
        await anyio.sleep_forever()

    async def nothing(self) -> None:
        """Is never done."""


class Failing(Actor):
    """Fails to start."""

    def __init__(self, why: str) -> None:
        raise ValueError(why)


class Starter(Actor):
    """Starts actors on its own node, after the first one without asking the parent."""

    async def on_start(self) -> None:
        first = await current().spawn(Born, on=current().node)
        await first.stop()

    async def start(self, *args: Any, **options: Any) -> Ref[Born]:
        return await current().spawn(Born, *args, on=current().node, **options)

    async def start_unplaced(self) -> Ref[Born]:
        return await current().spawn(Born)

    async def start_failing(self, why: str) -> None:
        await current().spawn(Failing, why, on=current().node)

    async def start_hanging(self, probe: Ref[Recorder], seconds: float) -> None:
        with anyio.move_on_after(seconds):
            await current().spawn(Hanging, probe, on=current().node)

    async def start_and_die(self, probe: Ref[Recorder], count: int) -> None:
        """Start *count* actors and one more, and end the process in the very step in which it has that."""
        async with anyio.create_task_group() as tasks:
            for _ in range(count):
                tasks.start_soon(self.start, probe)
        await self.start(probe)
        os.kill(os.getpid(), signal.SIGKILL)

    async def start_and_say(self, pipe: str) -> None:
        ref = await self.start()
        with Path(pipe).open("w") as file:  # noqa: ASYNC230 - its other end is open
            file.write(ref.name)

    async def start_always(self, probe: Ref[Recorder]) -> None:
        """Start actors until that is refused, and say how."""
        while True:
            try:
                await self.start()
            except ActorsError as error:
                with suppress(ActorsError):
                    await probe.tell(Recorder.record, type(error).__name__)
                return

    async def wait_for(self, ref: Ref[Born]) -> Exit:
        return await ref.wait()

    async def ask_of(self, ref: Ref[Born]) -> int:
        return await ref.ask(Born.incarnation)

    async def stop_other(self, ref: Ref[Any]) -> None:
        await ref.stop()
