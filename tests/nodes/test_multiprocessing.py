"""Processes that handlers and tasks start with multiprocessing, and systems inside such processes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.scripts import run

TASK = """
import multiprocessing
import actors

class Point:
    def __init__(self, x):
        self.x = x

def double(point):
    return Point(2 * point.x)

def doubled(method):
    with multiprocessing.get_context(method).Pool(1) as pool:
        return [point.x for point in pool.map(double, [Point(1), Point(2)])]

class Doubler(actors.Actor):
    async def doubled(self, method: str) -> list[int]:
        return doubled(method)

async def main():
    async with actors.System(actors.Topology(nodes=[actors.nodes("work")])) as system:
        print(await system.offload(doubled, METHOD))
        doubler = await system.spawn(Doubler, on="work")
        print(await doubler.ask(Doubler.doubled, METHOD))
"""
GUARD = 'if __name__ == "__main__":\n    actors.run(main)\n'


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_what_a_node_starts_by_multiprocessing_finds_the_main_file(
    tmp_path: Path, method: str
) -> None:
    code = f"METHOD = {method!r}\n{TASK}{GUARD}"
    assert run(tmp_path / "doubles.py", code) == (0, "[2, 4]\n[2, 4]\n", "")


def test_a_system_in_a_process_of_multiprocessing_runs_functions_of_the_main_file(
    tmp_path: Path,
) -> None:
    code = """
import multiprocessing
import actors

def square(number):
    return number * number

async def squared():
    async with actors.System() as system:
        return await system.offload(square, 3)

def squares():
    print(actors.run(squared))

if __name__ == "__main__":
    process = multiprocessing.get_context("spawn").Process(target=squares)
    process.start()
    process.join()
"""
    assert run(tmp_path / "squares.py", code) == (0, "9\n", "")


def test_a_file_that_runs_without_a_guard_is_refused_in_a_process_of_multiprocessing(
    tmp_path: Path,
) -> None:
    code = """
import multiprocessing
import actors

async def main():
    print("in main")
    process = multiprocessing.get_context("spawn").Process(target=print, args=["never"])
    process.start()
    process.join()
    print(process.exitcode)

actors.run(main)
"""
    status, out, err = run(tmp_path / "bare.py", code)
    assert (status, out) == (0, "in main\n1\n")
    assert 'put that under if __name__ == "__main__":' in err


def test_run_in_another_thread_than_the_main_one_hears_of_no_signals(tmp_path: Path) -> None:
    code = """
import threading
import actors

async def main(found):
    async with actors.System() as system:
        found.append(await system.offload(abs, -3))

found = []
thread = threading.Thread(target=actors.run, args=(main, found))
thread.start()
thread.join()
print(found)
"""
    assert run(tmp_path / "threaded.py", code) == (0, "[3]\n", "")
