"""`breakpoint()` on a node, and `actors debug` in a terminal: they meet over the control socket."""

from __future__ import annotations

import inspect
import os
import pty
import select
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress

import pytest

import actors
from actors._messaging.blocking_ref import BlockingRef
from actors.errors import NodeDown
from tests.cli.debugged import Stops
from tests.cli.running_command import HERE, ROOT, Running, command, environment, run_here, running


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("dbg")
    with running(folder, "run", "tests.cli.debugged:topology", cwd=ROOT) as started:
        yield started


class Terminal:
    """A command in a terminal of its own."""

    def __init__(self, fd: int, process: subprocess.Popen[bytes]) -> None:
        self._fd = fd
        self.process = process
        self.screen = ""

    def reads(self, text: str, within: float = 15.0) -> str:
        """Wait until *text* is on the screen; return what was there before it."""
        until = time.monotonic() + within
        while text not in self.screen:
            ready, _, _ = select.select([self._fd], [], [], max(0.0, until - time.monotonic()))
            assert ready, self.screen
            with suppress(OSError):
                self.screen += os.read(self._fd, 4096).decode()
                continue
            raise AssertionError(self.screen)  # the command has ended
        before, _, self.screen = self.screen.partition(text)
        return before

    def types(self, text: str) -> None:
        os.write(self._fd, text.encode())


@contextmanager
def _debug(system: Running, node: str = "box/0") -> Iterator[Terminal]:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        command("debug", node),
        cwd=HERE,
        env=environment(system.runtime),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    try:
        yield Terminal(ours, process)
    finally:
        process.kill()
        process.wait()
        os.close(ours)


@pytest.fixture
def stops(
    system: Running, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[BlockingRef[Stops], ThreadPoolExecutor]]:
    """The actor, and threads to ask it from."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(system.runtime))
    system.lines.clear()  # so that events of earlier tests are not taken for those of this one
    with ThreadPoolExecutor() as threads, actors.connect() as connected:
        ref = connected.lookup("stops", Stops)
        assert ref is not None
        yield ref, threads


Asked = tuple[BlockingRef[Stops], ThreadPoolExecutor]


@pytest.mark.parametrize("leave", ["q\n", "\x04", "c\n"])
def test_a_person_looks_around_and_leaves_and_the_program_goes_on(
    system: Running, stops: Asked, leave: str
) -> None:
    ref, threads = stops
    pid = ref.ask(Stops.pid)
    reply = threads.submit(ref.ask, Stops.total, 3, 4)
    reached = system.event("breakpoint reached", node="box/0")
    assert reached["command"] == "actors debug box/0"
    assert reached["actor"] == "stops"
    with _debug(system) as terminal:
        terminal.reads("box/0 stands at ")
        terminal.reads("in actor stops; q or Ctrl-D leaves")
        terminal.reads("(Pdb) ")
        time.sleep(2.5)  # longer than `hang_after`: the node is not killed while somebody thinks
        terminal.types("p price + count\n")
        assert "7" in terminal.reads("(Pdb) ")
        terminal.types("!count = 5\n")
        terminal.reads("(Pdb) ")
        terminal.types(leave)
        terminal.reads("node box/0 continues")
        assert terminal.process.wait(15) == 0
    assert reply.result(15) == 15
    assert ref.ask(Stops.pid) == pid  # the same process


def test_breakpoints_that_are_set_stop_it_again(system: Running, stops: Asked) -> None:
    ref, threads = stops
    pid = ref.ask(Stops.pid)
    lines, first = inspect.getsourcelines(Stops.pid)
    reply = threads.submit(ref.ask, Stops.total, 3, 4)
    system.event("breakpoint reached", node="box/0")
    with _debug(system) as terminal:
        terminal.reads("(Pdb) ")
        terminal.types(f"b {inspect.getsourcefile(Stops)}:{first + len(lines) - 1}\n")
        terminal.reads("(Pdb) ")
        terminal.types("c\n")
        assert reply.result(15) == 12
        asked = threads.submit(ref.ask, Stops.pid)
        terminal.reads("(Pdb) ")
        time.sleep(2.5)  # longer than `hang_after`
        terminal.types("q\n")
        terminal.reads("node box/0 continues")
        assert asked.result(15) == pid


def test_a_command_that_is_killed_leaves_as_well(system: Running, stops: Asked) -> None:
    ref, threads = stops
    reply = threads.submit(ref.ask, Stops.total, 3, 4)
    system.event("breakpoint reached", node="box/0")
    with _debug(system) as terminal:
        terminal.reads("(Pdb) ")
        terminal.process.kill()
        assert reply.result(15) == 12


def test_the_end_of_the_node_ends_the_command(system: Running, stops: Asked) -> None:
    ref, threads = stops
    reply = threads.submit(ref.ask, Stops.die)
    system.event("breakpoint reached", node="box/0")
    with _debug(system) as terminal:
        terminal.reads("(Pdb) ")
        terminal.types("c\n")
        terminal.reads("node box/0 has ended: killed by SIGKILL")
        assert terminal.process.wait(15) == 1
    with pytest.raises(NodeDown):
        reply.result(15)
    system.event("node ready", node="box/0", restarts=1)


def test_where_nobody_comes_the_program_goes_on_after_a_while(
    system: Running, stops: Asked
) -> None:
    ref, _ = stops
    ref.ask(Stops.wait_shortly)
    assert ref.ask(Stops.total, 3, 4) == 12
    assert "seconds" in system.event("breakpoint passed", node="box/0")


@pytest.mark.parametrize(
    "node, why",
    [
        ("box/0", "node box/0 stands at no breakpoint(); `actors stack box/0` shows what it does"),
        ("thr/0", "thr/0 is a thread of the program: breakpoint() opens pdb in the program's own"),
        ("bix/0", "there is no node 'bix/0'; the nodes are box/0, thr/0; did you mean 'box/0'?"),
    ],
)
def test_without_a_breakpoint_the_command_says_so(system: Running, node: str, why: str) -> None:
    code, _, err = run_here(system.runtime, "debug", node)
    assert code != 0
    assert why in err
