"""Workers in sub-interpreters: a lock each, nothing shared, and the fate of their process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import anyio
import pytest

from actors import Actor, System, Topology, pool
from actors.errors import InvalidSpec, StartFailed, TaskExited
from actors.testing import running_system
from tests.pools import tasks
from tests.pools.functions import add, fail, pid, square_later

needs_interpreters = pytest.mark.skipif(
    sys.version_info < (3, 14), reason="sub-interpreters need Python 3.14"
)


class Counter(Actor):
    """Counts, in its interpreter."""

    def __init__(self) -> None:
        self.count = 0

    async def next(self) -> int:
        self.count += 1
        return self.count


def import_numpy() -> None:
    """Import what refuses to be in a sub-interpreter."""
    import numpy  # noqa: F401, ICN001, PLC0415 - here it is refused


def _descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@needs_interpreters
async def test_functions_and_members_run_in_interpreters_of_their_own() -> None:
    with anyio.fail_after(60):
        async with running_system(Topology()) as system:
            work = await system.start(pool(size=2, name="work", kind="interpreter"))
            assert await work.run(add, 1, 2) == 3
            assert await work.run(square_later, 3) == 9
            assert await work.run(pid) == os.getpid()
            assert await work.run(len, b"x" * 3_000_000) == 3_000_000
            with pytest.raises(ValueError, match="bad number 4"):
                await work.run(fail, 4)
            with pytest.raises(TaskExited, match="exit_politely raised"):
                await work.run(tasks.exit_politely, 3)
            with pytest.raises(InvalidSpec, match="'interpreter' cannot be ended, and shares its"):
                await work.run(pid, timeout=1)
            await work.run(tasks.begin)
            assert tasks.begun() == []  # its module is another one than ours
            members = await system.start(pool(Counter, size=1, name="count", kind="interpreter"))
            assert [await members.ask(Counter.next) for _ in range(3)] == [1, 2, 3]
            await members.stop()
            await work.stop()


@needs_interpreters
async def test_interpreters_leave_no_descriptor() -> None:
    with anyio.fail_after(60):
        async with running_system(Topology()) as system:
            left: list[int] = []
            for _ in range(3):
                work = await system.start(pool(size=1, name="work", kind="interpreter"))
                assert await work.run(len, b"x" * 3_000_000) == 3_000_000
                await work.stop()
                left.append(_descriptors())
            assert left[1] == left[2]


@needs_interpreters
async def test_what_refuses_to_be_imported_in_an_interpreter_is_named_where_the_pool_is_started() -> (
    None
):
    with anyio.fail_after(60):
        async with System() as system:
            with pytest.raises(StartFailed, match=r"(?s)numpy\S+ does not support loading in sub"):
                await system.start(pool(size=1, name="w", kind="interpreter", init=import_numpy))


@needs_interpreters
@pytest.mark.parametrize("spin", ["spin", "spin_on_the_loop"])
def test_a_program_ends_although_one_of_its_interpreters_never_returns(
    tmp_path: Path, spin: str
) -> None:
    program = tmp_path / "program.py"
    program.write_text(f"""
import anyio
from actors import System, pool

def spin():
    while True: pass

async def spin_on_the_loop():
    spin()

async def main():
    async with System() as system:
        work = await system.start(pool(size=1, name="work", kind="interpreter", shutdown=0.2))
        with anyio.move_on_after(0.3):
            await work.run({spin})
    print("over")

if __name__ == "__main__":
    anyio.run(main)
""")

    done = subprocess.run(
        [sys.executable, program], capture_output=True, text=True, timeout=60, check=True
    )

    assert done.stdout == "over\n"


@pytest.mark.skipif(sys.version_info >= (3, 14), reason="this Python has sub-interpreters")
def test_an_older_python_refuses_interpreters_by_its_version() -> None:
    with pytest.raises(
        InvalidSpec, match=r"kind='interpreter' needs Python 3.14 or later, this is"
    ):
        pool(size=1, kind="interpreter")
