"""A program may ignore SIGCHLD, or reap all its children itself: the ends of its nodes are noticed as ever."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.scripts import run

IGNORED = "signal.signal(signal.SIGCHLD, signal.SIG_IGN)"
HANDLER = "signal.signal(signal.SIGCHLD, reap)"
THREAD = "threading.Thread(target=reap_for_ever, daemon=True).start()"
BODY = """
import os, signal, subprocess, sys, threading, time
import anyio, actors

class Worker(actors.Actor):
    async def pid(self) -> int:
        return os.getpid()

    async def sleep(self) -> None:
        self.program = subprocess.Popen(["/bin/sleep", "600"])
        print(self.program.pid, file=sys.stderr, flush=True)
        await anyio.sleep_forever()

def reap(*_: object) -> None:
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass

def reap_for_ever() -> None:
    while True:
        reap()
        time.sleep(0.001)

async def main() -> None:
    {reaper}
    topology = actors.Topology(nodes=[actors.nodes("web", backoff=actors.Backoff(first=0.01))])
    with anyio.fail_after(25):
        async with actors.System(topology) as system:
            events = system.events()
            worker = await system.spawn(Worker, on="web", backoff=actors.Backoff(first=0.01))
            for round in range(2):
                pid = await worker.ask(Worker.pid)
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(kill_soon, pid)
                    try:
                        await worker.ask(Worker.sleep)
                    except actors.NodeDown as error:
                        print(str(error).partition("down ")[2])
                await anyio.sleep(0)
                async for event in events:
                    if event.kind == "node_ready" and event.facts["pid"] != pid:
                        break
                assert await worker.ask(Worker.pid) != pid
    print("ended")

async def kill_soon(pid: int) -> None:
    while not (programs := open(f"/proc/{{pid}}/task/{{pid}}/children").read().split()):
        await anyio.sleep(0.01)
    os.kill(pid, signal.SIGKILL)
    while any(alive(int(number)) for number in programs):
        await anyio.sleep(0.01)

def alive(pid: int) -> bool:
    try:
        return open(f"/proc/{{pid}}/stat").read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False

if __name__ == "__main__":
    actors.run(main)
"""
UNKNOWN = "(ended; how is not known, as this program ignores SIGCHLD or reaps all its children)"


@pytest.mark.parametrize("reaper", [IGNORED, HANDLER, THREAD], ids=["ignored", "handler", "thread"])
def test_the_end_of_a_node_is_told_and_it_comes_back(tmp_path: Path, reaper: str) -> None:
    code, out, err = run(tmp_path / "reaper.py", BODY.format(reaper=reaper))
    assert code == 0, err
    told = out.splitlines()
    assert told[-1] == "ended"
    for line in told[:-1]:
        # Who is faster is chance, where a handler or a thread reaps.
        assert line.startswith((UNKNOWN, "(killed by SIGKILL")), line
        assert line.endswith("; it is being restarted")
    assert len(told) == 3


def test_a_program_that_inherits_ignoring_it_works_as_well(tmp_path: Path) -> None:
    again = 'if os.environ.setdefault("AGAIN", "0") == "0":'
    execute = 'os.environ["AGAIN"] = "1"; os.execv(sys.executable, sys.orig_argv)'
    start = f"{again}\n    {IGNORED}\n    {execute}\n"
    source = BODY.format(reaper="pass").replace("if __name__", f"{start}if __name__")
    code, out, err = run(tmp_path / "reaper.py", source)
    assert code == 0, err
    assert out == f"{UNKNOWN}; it is being restarted\n" * 2 + "ended\n"
