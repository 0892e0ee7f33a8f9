"""Supervisors alone: many children that start and stop, and a tree deeper than a Python stack."""

import time
from collections.abc import Callable
from typing import Final

import anyio
from anyio.abc import TaskGroup

import actors
from actors.supervisors import ChildSpec, DynamicSupervisor, Exit, Supervisor
from benchmarks.ours._figures import figure

FEW: Final = 1_000
MANY: Final = 10_000
DEPTH: Final = 2_048


class Idle:
    """The cheapest possible child: what is measured is the cost of the supervisor."""

    def __init__(self) -> None:
        self._ended: Callable[[Exit], None] | None = None
        self._exit: Exit | None = None

    async def start(self, ended: Callable[[Exit], None]) -> None:
        """Be ready at once."""
        self._ended = ended

    async def wait(self) -> Exit:
        """Return how it ended; called only after it has."""
        assert self._exit is not None
        return self._exit

    def stop(self) -> None:
        """End."""
        self._end(Exit.SHUTDOWN)

    def kill(self) -> None:
        """End."""
        self._end(Exit.KILLED)

    def _end(self, how: Exit) -> None:
        ended, self._ended = self._ended, None
        if ended is not None:
            self._exit = how
            ended(how)


async def children_us(count: int) -> float:
    """Return the microseconds one child takes to start and to stop, among *count*."""
    async with anyio.create_task_group() as tasks:
        supervisor = DynamicSupervisor("many", tasks=tasks, report=lambda _: None)
        await supervisor.start()
        start = time.perf_counter()
        for number in range(count):
            await supervisor.start_child(ChildSpec(name=str(number), start=Idle))
        supervisor.stop()
        await supervisor.wait()
        took = time.perf_counter() - start
    return 1e6 * took / count


def chain(depth: int, tasks: TaskGroup) -> Supervisor:
    """Return a supervisor of a supervisor of a supervisor ... of a child."""
    if depth == 0:
        specs = [ChildSpec(name="leaf", start=Idle)]
    else:
        specs = [ChildSpec(name="down", start=lambda: chain(depth - 1, tasks), kind="supervisor")]
    return Supervisor(f"s{depth}", specs, tasks=tasks, report=lambda _: None)


async def deep_stop_ms() -> float:
    """Return the milliseconds a chain of supervisors takes to stop."""
    async with anyio.create_task_group() as tasks:
        top = chain(DEPTH, tasks)
        await top.start()
        start = time.perf_counter()
        top.stop()
        await top.wait()
        took = time.perf_counter() - start
    return 1e3 * took


async def main() -> None:
    """Measure both."""
    few, many = await children_us(FEW), await children_us(MANY)
    figure("start and stop us", f"{MANY} children", many)
    figure("cost at 10000 / cost at 1000", "children", many / few)
    figure("stop ms", f"depth {DEPTH}", await deep_stop_ms())


if __name__ == "__main__":
    actors.run(main)
