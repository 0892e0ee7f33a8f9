"""How many Python functions of ours a message enters, at its sender's node and at its receiver's.

`python -m tests.house.calls_counted` prints both for each kind of node and message. A figure of time depends
on the machine; these do not, and most of the time of a small message is calls.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, Final

from anyio.lowlevel import checkpoint

import actors

ROOT: Final = Path(actors.__file__).resolve().parents[1]
OURS: Final = tuple(f"{ROOT / name}/" for name in ("actors", "transport", "supervisors"))
ROUNDS: Final = 5
MESSAGES: Final = 50
"""Of each kind: what a batch of them costs together is divided by this."""


@dataclass(frozen=True, slots=True)
class Order:
    number: int
    customer: str
    price: float


PAYLOADS: Final[dict[str, Any]] = {
    "int": 1,
    "dict": {"id": 1, "name": "Ada", "tags": ["a", "b"]},
    "object": Order(1, "Ada", 98.5),
}


class Calls:
    """Calls of our functions by this thread between `start` and `stop`."""

    def __init__(self) -> None:
        self._count = 0
        self._ours: dict[str, bool] = {}

    def start(self) -> None:
        self._count = 0
        sys.setprofile(self._note)

    def stop(self) -> float:
        sys.setprofile(None)
        return self._count / MESSAGES

    def _note(self, frame: FrameType, event: str, _argument: object) -> None:
        if event != "call":
            return
        file = frame.f_code.co_filename
        if file not in self._ours:
            self._ours[file] = str(Path(file).resolve()).startswith(OURS)
        self._count += self._ours[file]


CALLS: Final = Calls()


class Echo(actors.Actor):
    """Answers, and counts what its node calls."""

    async def start_counting(self) -> None:
        CALLS.start()

    async def say(self, _value: Any) -> int:
        return 1

    async def stop_counting(self) -> float:
        return CALLS.stop()


async def count(ref: actors.Ref[Echo], verb: str, payload: Any, *, remote: bool) -> list[float]:
    """Return the calls here and there for one message."""
    for _ in range(10):
        await ref.ask(Echo.say, payload)
    here = Calls()
    if remote:
        await ref.ask(Echo.start_counting)
    here.start()
    for _ in range(MESSAGES):
        await getattr(ref, verb)(Echo.say, payload)
    await checkpoint()
    mine = here.stop()
    return [round(mine, 1), round(await ref.ask(Echo.stop_counting), 1) if remote else 0.0]


async def count_all() -> dict[str, list[float]]:
    """Return the calls here and there, by kind of node, verb and payload: the fewest of some rounds.

    A timer of the node, or a message that finds the other side asleep, adds calls that are not its own.
    """
    groups = [actors.nodes("process"), actors.nodes("thread", kind="thread")]
    found: dict[str, list[float]] = {}
    async with actors.System(actors.Topology(nodes=groups)) as system:
        for kind in ("local", "process", "thread"):
            ref = await system.spawn(Echo, on=None if kind == "local" else kind)
            for verb in ("tell", "ask"):
                for name, payload in PAYLOADS.items():
                    way = f"{kind} {verb} {name}"
                    rounds = [
                        await count(ref, verb, payload, remote=kind != "local")
                        for _ in range(ROUNDS)
                    ]
                    found[way] = [min(side) for side in zip(*rounds, strict=True)]
    return found


async def main() -> None:
    sys.stdout.write(json.dumps(await count_all(), indent=2) + "\n")


if __name__ == "__main__":
    actors.run(main)
