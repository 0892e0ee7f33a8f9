"""What is forked from the process of a system, by multiprocessing for example, is no part of that system."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.scripts import run

CODE = """
import asyncio
import concurrent.futures
import multiprocessing
import os
import signal
import sys
import time
import actors

FORK = multiprocessing.get_context("fork")

class Desk(actors.Actor):
    async def pid(self) -> int:
        return os.getpid()

def square(number):
    return number * number

async def executor():
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=FORK) as executor:
        return await asyncio.get_running_loop().run_in_executor(executor, square, 5)

async def pool():
    with FORK.Pool(1) as pool:
        return await asyncio.to_thread(pool.map, square, [5])

async def terminated():
    process = FORK.Process(target=time.sleep, args=(60,))
    process.start()
    process.terminate()
    return await ended(process)

async def interrupted():
    begun = FORK.Event()
    process = FORK.Process(target=sleep, args=(begun,))
    process.start()
    begun.wait()
    os.kill(process.pid, signal.SIGINT)
    return await ended(process)

def sleep(begun):
    begun.set()
    time.sleep(60)

async def ended(process):
    await asyncio.to_thread(process.join, 10)
    code = process.exitcode
    process.kill()
    return code

async def system_of_a_fork():
    answers, answer = FORK.Pipe(duplex=False)
    process = FORK.Process(target=look, args=(answer,))
    process.start()
    process.join()
    return answers.recv()

def look(answer):
    try:
        answer.send(f"found {actors.current()}")
    except actors.errors.NoSystem:
        answer.send("no system")

async def main():
    async with actors.System(actors.Topology(nodes=[actors.nodes("work")])) as system:
        desk = await system.spawn(Desk, on="work")
        before = await desk.ask(Desk.pid)
        print(await globals()[sys.argv[1]]())
        await asyncio.sleep(0.1)
        print("the same node" if await desk.ask(Desk.pid) == before else "another node")

if __name__ == "__main__":
    actors.run(main, uvloop=UVLOOP)
    print("the end")
"""


@pytest.mark.parametrize("uvloop", [True, False])
@pytest.mark.parametrize(
    "started, answer",
    [
        ("executor", "25"),
        ("pool", "[25]"),
        ("terminated", "-15"),
        ("interrupted", "1"),
        ("system_of_a_fork", "no system"),
    ],
)
def test_a_process_that_is_forked_from_the_one_of_a_system_ends_without_that_system(
    tmp_path: Path, started: str, answer: str, *, uvloop: bool
) -> None:
    path = tmp_path / "forks.py"
    status, out, _ = run(path, CODE.replace("UVLOOP", str(uvloop)), started)
    assert (status, out.splitlines()) == (0, [answer, "the same node", "the end"])


PLAIN = """
import multiprocessing
import os
import sys
import actors

FORK = multiprocessing.get_context("fork")

class Desk(actors.Actor):
    async def pid(self) -> int:
        return os.getpid()

def ask(_):
    try:
        return desk.ask(Desk.pid)
    except actors.errors.ActorsError as error:
        return str(error).partition(",")[0]

if __name__ == "__main__":
    with actors.blocking_system(actors.Topology(nodes=[actors.nodes("work")])) as system:
        desk = system.spawn(Desk, on="work")
        before = desk.ask(Desk.pid)
        with FORK.Pool(1) as pool:
            print(*pool.map(ask, range(1)))
        forked = os.fork()
        if not forked:
            sys.exit(5)
        print(os.waitstatus_to_exitcode(os.waitpid(forked, 0)[1]))
        print("the same node" if desk.ask(Desk.pid) == before else "another node")
"""


def test_a_fork_of_plain_code_is_told_that_it_reaches_no_actors_and_ends_without_the_system(
    tmp_path: Path,
) -> None:
    status, out, _ = run(tmp_path / "plain.py", PLAIN)
    told = "this process was forked from the one in which the system runs"
    assert (status, out.splitlines()) == (0, [told, "5", "the same node"])
