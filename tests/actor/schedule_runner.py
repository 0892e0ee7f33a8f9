"""Runs schedules of messages to one actor, one a line of standard input, and prints what came of each.

The tests of the twins run one of these with the C methods and one without.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import actors
from actors import Actor, OnError, Ref, System
from actors._base.twins import COMPILED
from actors.errors import ActorsError
from actors.nodes.health.block_watch import BlockWatch

GATE: list[asyncio.Event] = []
"""The last one is that of the schedule that runs; who waits for it holds the actor up."""


class Scribe(Actor, on_error={LookupError: OnError.RESUME}):
    def __init__(self) -> None:
        self.log: list[Any] = []

    async def note(self, value: Any) -> tuple[Any, int]:
        self.log.append(value)
        return (value, len(self.log))

    async def count(self, value: int) -> int:
        self.log.append(value)
        return value + 1

    async def wait(self, value: Any) -> Any:
        self.log.append(["waits", value])
        try:
            await GATE[-1].wait()
        except asyncio.CancelledError:
            self.log.append(["cancelled", value])
            raise
        return value

    async def pause(self, value: Any) -> Any:
        self.log.append(["begins", value])
        await asyncio.sleep(0)
        self.log.append(["ends", value])
        return value

    async def fail(self, value: Any) -> None:
        self.log.append(["fails", value])
        raise LookupError(value)

    async def defer(self, value: Any) -> Any:
        if not GATE[-1].is_set():
            raise self.context.defer()
        self.log.append(["deferred", value])
        return value

    @actors.concurrent
    async def beside(self, value: Any) -> Any:
        self.log.append(["beside", value])
        await asyncio.sleep(0)
        return value

    async def everything(self) -> list[Any]:
        return self.log

    async def tell_itself(self, value: Any) -> None:
        await self.context.ref.tell(Scribe.note, ["own", value])


async def run(schedule: list[list[Any]]) -> dict[str, Any]:
    tasks: list[asyncio.Task[Any]] = []
    outcomes: list[Any] = []
    GATE.append(asyncio.Event())
    async with System() as system:
        ref = await system.spawn(Scribe, mailbox=4)
        await ref.wait_ready()
        for verb, *rest in schedule:
            if verb == "turns":
                for _ in range(rest[0]):
                    await asyncio.sleep(0)
            elif verb == "cancel":
                if tasks:
                    tasks[rest[0] % len(tasks)].cancel()
            elif verb == "open":
                GATE[-1].set()
            else:
                outcomes.append(await send(ref, tasks, verb, *rest))
        GATE[-1].set()
        async with asyncio.timeout(5):
            log = await ref.ask(Scribe.everything)
            done = await asyncio.gather(*tasks, return_exceptions=True)
            log = await ref.ask(Scribe.everything)
    return {"log": log, "outcomes": outcomes, "done": [shown(one) for one in done]}


async def send(
    ref: Ref[Scribe],
    tasks: list[asyncio.Task[Any]],
    verb: str,
    method: str,
    value: Any,
    keyword: bool,
) -> Any:
    args, kwargs = ((), {"value": value}) if keyword else ((value,), {})
    handler = getattr(Scribe, method)
    if verb == "nowait":
        try:
            return ref.tell_nowait(handler, *args, **kwargs)
        except ActorsError as error:
            return shown(error)
    tasks.append(asyncio.create_task(getattr(ref, verb)(handler, *args, **kwargs)))
    return None


def shown(outcome: Any) -> Any:
    return repr(outcome) if isinstance(outcome, BaseException) else outcome


def main() -> None:
    # It looks when it likes, and then an ask of an idle actor goes through the mailbox.
    setattr(BlockWatch, "start", lambda _watch: None)  # noqa: B010 - as a checker has it, no method can be set
    say("C" if COMPILED else "Python")
    for line in sys.stdin:
        say(json.dumps(asyncio.run(run(json.loads(line)))))


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
