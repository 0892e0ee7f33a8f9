"""Which of our files one ask over a process node enters, and a local crash up to the next message.

`python -m tests.house.files_entered` prints them: how many places a reader has to know for each way.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from types import FrameType
from typing import Any, Final

import actors
from actors._base import events

ROOT: Final = Path(actors.__file__).resolve().parents[1]
FOLDERS: Final = {"actors", "supervisors", "transport"}


class Entered:
    """The files of this project that this thread calls a function of between `start` and `stop`."""

    def __init__(self) -> None:
        self._files: set[str] = set()

    def start(self) -> None:
        sys.setprofile(self._note)

    def stop(self) -> list[str]:
        sys.setprofile(None)
        files = {Path(name).resolve() for name in self._files if not name.startswith("<")}
        ours = [file.relative_to(ROOT) for file in files if file.is_relative_to(ROOT)]
        return sorted(str(file) for file in ours if file.parts[0] in FOLDERS)

    def _note(self, frame: FrameType, event: str, _argument: object) -> None:
        if event == "call":
            self._files.add(frame.f_code.co_filename)


ENTERED = Entered()


class Echo(actors.Actor):
    """Answers, and counts what its node enters."""

    async def start_counting(self) -> None:
        ENTERED.start()

    async def say(self, value: int) -> int:
        return value

    async def stop_counting(self) -> list[str]:
        return ENTERED.stop()


class Fragile(actors.Actor):
    """Counts from its crash until its next incarnation handles a message."""

    async def crash(self) -> None:
        ENTERED.start()
        raise RuntimeError("crash")

    async def say(self) -> list[str]:
        return ENTERED.stop()


async def ask_over_a_process_node() -> list[str]:
    topology = actors.Topology(nodes=[actors.nodes("work", count=1)])
    async with actors.System(topology) as system:
        echo = await system.spawn(Echo, on="work")
        for number in range(100):
            await echo.ask(Echo.say, number)
        here = Entered()
        await echo.ask(Echo.start_counting)
        here.start()
        await echo.ask(Echo.say, 1)
        files = {*here.stop(), *await echo.ask(Echo.stop_counting)}
    return sorted(files)


async def crash_to_next_message() -> list[str]:
    async with actors.System() as system:
        fragile = await system.spawn(Fragile)
        await fragile.tell(Fragile.crash)
        files = await fragile.ask(Fragile.say)
    return sorted(files)


def entered(way: Callable[[], Coroutine[Any, Any, list[str]]]) -> list[str]:
    """Run *way* in a loop of its own and return what it entered."""
    files: list[str] = []

    async def run() -> None:
        files.extend(await way())

    actors.run(run)
    return files


if __name__ == "__main__":
    # Log lines are written a moment after an event: late enough here not to fall into the restart.
    vars(events)["_DELAY"] = 0.1
    ways = {way.__name__: entered(way) for way in (ask_over_a_process_node, crash_to_next_message)}
    sys.stdout.write(json.dumps(ways, indent=2) + "\n")
