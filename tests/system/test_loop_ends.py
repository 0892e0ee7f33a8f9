"""An event loop that ends, or a signal that ends the program, stops the systems that run there in order."""

from __future__ import annotations

import json
import signal
import time
from contextlib import suppress
from pathlib import Path
from subprocess import Popen
from typing import Any

import psutil
import pytest

from tests.scripts import finish, interrupt, start, wait_for_line

PROGRAM = """
import asyncio, os, signal, sys, threading
os.environ["ACTORS_LOG"] = "warning"
import anyio, actors

class Worker(actors.Actor):
    async def on_stop(self, exit):
        print("stopped", exit, self.context.node, flush=True)

    async def fall(self):
        raise RuntimeError("it fell")

    async def work(self):
        print("working", flush=True)
        await anyio.sleep(0.3)
        print("worked", flush=True)

TOPOLOGY = actors.Topology(nodes=[actors.nodes("n", shutdown=2.0)])

def run(main):
    if sys.argv[1] == "trio":
        import trio
        trio.run(main)
    elif sys.argv[1] == "actors":
        actors.run(main)
    else:
        asyncio.run(main())

"""
MAIN = """
if __name__ == "__main__":
    run(main)
"""
WARNING = (
    "the event loop ended while the system ran; it is stopped now: `await system.aclose()` before the "
    "end, or use `async with actors.System()`"
)


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    """One loop: the programs have their own."""
    return "asyncio", {}


def program(tmp_path: Path, source: str, how: str = "asyncio") -> Popen[str]:
    path = tmp_path / "program.py"
    path.write_text(PROGRAM + source + MAIN)
    return start(path, None, how)


def said(err: str) -> list[str]:
    """Return what it and its nodes wrote to stderr: log lines, by what they warn of, and what nodes print."""
    facts = [json.loads(line) if line[:1] == "{" else {"event": line} for line in err.splitlines()]
    return [fact.get("warning", fact["event"]) for fact in facts]


@pytest.mark.parametrize("how", ["asyncio", "trio", "actors"])
def test_a_loop_that_ends_stops_the_system_in_order_and_says_what_was_missing(
    tmp_path: Path, how: str
) -> None:
    source = """
async def main():
    system = await actors.start(TOPOLOGY)
    await system.spawn(Worker)
    worker = await system.spawn(Worker, on="n")
    await worker.tell(Worker.work)
    print(system.nodes[1].pid)
"""
    code, out, err = finish(program(tmp_path, source, how))
    assert code == 0
    assert sorted(said(err)) == sorted(["working", "worked", "stopped SHUTDOWN n/0", WARNING])
    pid, line = out.splitlines()
    assert line == "stopped SHUTDOWN local"
    assert not Path(f"/proc/{pid}").exists()


@pytest.mark.parametrize("how", ["asyncio", "trio"])
def test_a_loop_that_ends_while_actors_wait_for_their_restart_does_not_wait_for_them(
    tmp_path: Path, how: str
) -> None:
    source = """
async def main():
    system = await actors.start(TOPOLOGY)
    backoff = actors.Backoff(first=600, cap=600)
    for on in (None, "n"):
        worker = await system.spawn(Worker, on=on, backoff=backoff)
        for _ in range(2):
            await worker.tell(Worker.fall)
    while str(await system.tree()).count("BACKING_OFF") < 2:
        await anyio.sleep(0.01)
"""
    began = time.monotonic()
    code, _, err = finish(program(tmp_path, source, how))
    assert code == 0
    assert WARNING in err
    assert "Traceback" not in err.replace('"traceback": "Traceback', "")
    assert time.monotonic() - began < 20


HELD = """
async def hold():
    async with actors.System(TOPOLOGY) as system:
        await system.spawn(Worker)
        await system.spawn(Worker, on="n")
        print("ready", flush=True)
        await anyio.sleep(600)

async def main():
    await asyncio.wait_for(hold(), 500)
"""


def test_ctrl_c_within_a_timeout_stops_the_system_in_order(tmp_path: Path) -> None:
    running = program(tmp_path, HELD)
    wait_for_line(running, "ready")
    code, out, err = interrupt(running, signal.SIGINT)
    assert code == -signal.SIGINT
    assert out == "stopped SHUTDOWN local\n"
    assert "stopped SHUTDOWN n/0" in err
    assert err.splitlines()[-1] == "KeyboardInterrupt"


def test_a_second_ctrl_c_does_not_cut_the_end_of_the_system_short(tmp_path: Path) -> None:
    source = """
class SlowToEnd(actors.Actor):
    async def on_stop(self, exit):
        threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
        await anyio.sleep(1)
        print("ended", flush=True)
"""
    use = HELD.replace('print("ready"', 'await system.spawn(SlowToEnd); print("ready"')
    running = program(tmp_path, source + use)
    wait_for_line(running, "ready")
    code, out, err = interrupt(running, signal.SIGINT)
    assert code == -signal.SIGINT
    assert "ended" in out
    assert "stopped SHUTDOWN n/0" in err
    assert "never retrieved" not in err
    assert "destroyed" not in err


def test_sigterm_within_a_timeout_ends_the_program_with_its_system(tmp_path: Path) -> None:
    running = program(tmp_path, HELD, "actors")
    wait_for_line(running, "ready")
    code, out, err = interrupt(running, signal.SIGTERM)
    assert (code, out, said(err)) == (0, "stopped SHUTDOWN local\n", ["stopped SHUTDOWN n/0"])


def test_a_loop_that_is_closed_without_an_end_of_its_tasks_leaves_no_node_and_no_thread(
    tmp_path: Path,
) -> None:
    source = """
async def main():
    system = await actors.start(TOPOLOGY)
    print(system.nodes[1].pid, flush=True)

def run(main):
    loop = asyncio.new_event_loop()
    loop.run_until_complete(main())
    loop.close()
"""
    code, out, err = finish(program(tmp_path, source))
    assert code == 0
    assert "Traceback" not in err
    with suppress(psutil.NoSuchProcess):
        psutil.Process(int(out)).wait(5)  # TimeoutExpired if it lives on


def test_a_loop_that_stands_still_when_the_interpreter_ends_runs_to_the_end_of_the_system(
    tmp_path: Path,
) -> None:
    source = """
async def main():
    system = await actors.start(TOPOLOGY)
    await system.spawn(Worker)
    await system.spawn(Worker, on="n")

def run(main):
    asyncio.new_event_loop().run_until_complete(main())
"""
    code, out, err = finish(program(tmp_path, source))
    assert (code, out) == (0, "stopped SHUTDOWN local\n")
    assert sorted(said(err)) == sorted(["stopped SHUTDOWN n/0", WARNING])
