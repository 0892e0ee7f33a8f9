"""Who does not read the log of a system holds nothing up: it serves, obeys, and ends."""

import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.cli.running_command import PATIENCE, Running, run_here, running

SHOP = """
from actors import Actor, Topology, child, nodes

class Talker(Actor):
    async def talk(self) -> str:
        for number in range(40_000):
            print("a line of a node", number, "x" * 40)
            self.context.log.warning("a line of an actor", number=number)
        return "done"

class Asker(Actor):
    async def on_start(self) -> None:
        await self.context.ref.tell(Asker.go)
    async def go(self) -> None:
        talker = await self.context.spawn(Talker)
        await self.context.spawn(Talker, name=await talker.ask(Talker.talk))

topology = Topology(nodes=[nodes("web"), nodes("back")], children=[child(Asker, on="back")])
"""


def fill(system: Running) -> None:
    """Fill the pipe that the system logs to."""
    with open(f"/proc/{system.pid}/fd/2", "wb", buffering=0, opener=_nonblocking) as pipe:
        for size in (65536, 1):
            with suppress(BlockingIOError):
                while pipe.write(b"\n" * size) is not None:
                    pass


def _nonblocking(path: str, flags: int) -> int:
    return os.open(path, flags & ~(os.O_CREAT | os.O_TRUNC) | os.O_NONBLOCK)


@pytest.fixture
def stalled(runtime: Path, tmp_path: Path) -> Iterator[Running]:
    """A system whose log nobody reads any more."""
    (tmp_path / "shop.py").write_text(SHOP)
    with running(runtime, "run", "shop:topology", cwd=tmp_path) as system:
        fill(system)
        yield system


def test_a_system_whose_log_nobody_reads_obeys_and_ends(stalled: Running) -> None:
    for _ in range(3):
        assert run_here(stalled.runtime, "kill", "web/0")[0] == 0
        assert run_here(stalled.runtime, "scale", "web=2")[0] == 0
        assert run_here(stalled.runtime, "scale", "web=1")[0] == 0
    assert run_here(stalled.runtime, "ps")[0] == 0
    stalled.process.send_signal(signal.SIGTERM)
    assert stalled.process.wait(PATIENCE) == 0


def test_nodes_that_write_much_go_on_and_what_was_lost_is_counted(stalled: Running) -> None:
    while True:  # until the talker has talked, and another actor bears its answer as a name
        code, out, _ = run_here(stalled.runtime, "tree", "--json")
        assert code == 0
        if '"done"' in out:
            break
    assert stalled.event("log lines dropped")["count"] > 0
    assert stalled.end(signal.SIGTERM) == 0


def test_the_error_of_a_system_that_cannot_start_waits_for_nobody(
    runtime: Path, tmp_path: Path
) -> None:
    go = tmp_path / "go"
    os.mkfifo(go)
    (tmp_path / "shop.py").write_text(f"open({str(go)!r}).read()\nprint('x' * 10, 1 / 0)")
    with running(runtime, "run", "shop:topology", cwd=tmp_path, ready="") as system:
        with go.open("w"):
            fill(system)
        assert system.process.wait(PATIENCE) == 1
