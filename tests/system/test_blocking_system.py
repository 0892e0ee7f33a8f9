"""Plain code runs a system in a thread: the same verbs, which block the caller."""

from __future__ import annotations

import signal
import threading
import time
from functools import partial
from pathlib import Path
from typing import Any, Literal

import anyio.lowlevel
import pytest

import actors
from actors import Actor, Budget, ExitKind, Topology, blocking_system, child, dynamic, nodes, pool
from actors._system.blocking_system import BlockingSystem
from actors.errors import ActorsError, InvalidSpec, StartFailed, SystemStopped
from actors.testing import Recorder
from tests.scripts import interrupt, run, start, wait_for_line

pytestmark = pytest.mark.usefixtures("no_leaks")


class Counter(Actor):
    def __init__(self, start: int = 0, *, step: int = 1) -> None:
        self.n = start
        self.step = step

    async def add(self) -> int:
        self.n += self.step
        return self.n

    async def ask_other(self, other: actors.Ref[Counter]) -> int:
        return await other.ask(Counter.add)

    async def fail(self) -> None:
        raise RuntimeError("it fell")

    async def block(self, system: Any) -> str:
        try:
            system.lookup("counter")
        except ActorsError as error:
            return str(error)
        return ""


class Unwilling(Actor):
    async def on_start(self) -> None:
        raise ValueError("not today")


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_plain_code_spawns_asks_and_stops(backend: Literal["asyncio", "trio"]) -> None:
    with blocking_system(backend=backend) as system:
        counter = system.spawn(partial(Counter, step=2), 10, name="counter")
        assert counter.ask(Counter.add) == 12
        other = system.spawn(Counter)
        assert counter.ask(Counter.ask_other, other.ref) == 1
        found = system.lookup("counter", Counter)
        assert found is not None
        assert found.ref == counter.ref
        with pytest.raises(TypeError, match="Unwilling"):
            system.lookup("counter", Unwilling)
        assert system.lookup("nobody") is None
        typed = system.lookup("counter", Counter)
        assert typed is not None
        assert typed.ref == counter.ref
        with pytest.raises(TypeError, match="Counter"):
            system.lookup("counter", Recorder)
        other.stop()
        assert other.wait() == actors.Exit.SHUTDOWN
        found.kill()
        found.wait_ready()
        assert found.ask(Counter.add) == 12  # a new one
    with pytest.raises(SystemStopped):
        system.lookup("counter")
    assert system.wait() == actors.Exit.SHUTDOWN


def test_what_spawn_returns_is_blocking_already_and_a_second_time_is_refused() -> None:
    with actors.blocking_system() as system:
        counter: Any = system.spawn(Counter)
        with pytest.raises(ActorsError, match="is a blocking ref already: call its own verbs"):
            system.blocking(counter)


def test_the_verbs_of_operations_are_there_too() -> None:
    with blocking_system(Topology(nodes=[nodes("web")], children=[dynamic("crowd")])) as system:
        events = system.events()
        assert [node.name for node in system.nodes] == ["local", "web/0"]
        assert [node.name for node in system.scale("web", 2)] == ["web/0", "web/1"]
        (node,) = system.reload("web/1")
        system.call(node.stop)
        assert [node.name for node in system.nodes] == ["local", "web/0"]
        one = system.start(child(Counter, name="one"))
        assert one.ask(Counter.add) == 1
        assert system.lookup("one") is not None
        assert system.call(system.supervisor("crowd").start_child, child(Counter)) is not None
        assert system.start(dynamic("more")) is None
        workers = system.start(pool(Counter, name="workers", size=2))
        assert workers.ask(Counter.add) == 1
        assert system.pool("workers") is not None
        assert system.pool("nobody") is None
        assert "one" in str(system.tree())
        assert system.offload(pow, 2, 5) == 32
        system.stop()
        with pytest.raises(SystemStopped):
            system.tree()
        kinds = [event.kind for event in events]
    assert kinds[-1] == "system_stopped"
    assert "node_replaced" in kinds or "reload_done" in kinds


def test_a_topic_is_published_and_followed() -> None:
    with blocking_system() as system:
        topic = system.topic("news")
        with topic.subscribe() as values:
            topic.publish(1)
            topic.publish("two")
            assert [next(values), next(values)] == [1, "two"]


def test_a_start_that_fails_raises_its_own_error_where_it_was_asked_for() -> None:
    with (
        pytest.raises(StartFailed, match="not today"),
        blocking_system(Topology(children=[child(Unwilling)])),
    ):
        raise AssertionError("it is running")
    with pytest.raises(InvalidSpec, match="patiense"), blocking_system(patiense=1):  # type: ignore[call-arg] # that is the test
        raise AssertionError("it is running")


def test_a_system_that_fails_ends_the_calls_that_wait_and_the_block_says_so() -> None:
    fragile = Topology(children=[child(Counter, name="counter")], budget=Budget(0, 5.0))

    def use() -> None:
        with blocking_system(fragile) as system:
            counter = system.lookup("counter")
            assert counter is not None
            counter.tell(Counter.fail)
            assert system.wait().kind is ExitKind.CRASHED
            with pytest.raises(SystemStopped):
                counter.ask(Counter.add)

    with pytest.raises(SystemStopped, match="the system ended by itself"):
        use()


def test_the_loops_own_thread_is_refused() -> None:
    with blocking_system() as system:
        counter = system.spawn(Counter)
        why = counter.ask(Counter.block, actors.local(system))
        assert why.startswith("a blocking call on the loop's own thread would wait for itself")


async def test_it_works_in_the_thread_of_another_loop_which_waits_meanwhile() -> None:
    with blocking_system() as system:
        assert system.spawn(Counter).ask(Counter.add) == 1
    await anyio.lowlevel.checkpoint()


def test_many_threads_use_one_system() -> None:
    totals: list[int] = []

    def work(system: BlockingSystem, counter: Any) -> None:
        totals.extend(counter.ask(Counter.add) for _ in range(20))

    with blocking_system() as system:
        counter = system.spawn(Counter)
        threads = [threading.Thread(target=work, args=(system, counter)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(totals) == list(range(1, 81))


PROGRAM = """
import time
import actors

class Slow(actors.Actor):
    async def on_stop(self, exit):
        import anyio
        print("ending", flush=True)
        await anyio.sleep({stop})
        print("ended", flush=True)

TOPOLOGY = actors.Topology(nodes=[actors.nodes("n")], children=[actors.child(Slow, shutdown=60)])

with actors.blocking_system(TOPOLOGY) as system:
    print("ready", flush=True)
    while True:
        time.sleep(0.05)  # Python 3.15 begins a longer one even if SIGINT came just before
"""


def test_ctrl_c_stops_the_system_in_order_also_without_a_guard(tmp_path: Path) -> None:
    running = start(tmp_path / "program.py", PROGRAM.format(stop=0.1))
    wait_for_line(running, "ready")
    code, out, err = interrupt(running, signal.SIGINT)
    assert (code, out) == (-signal.SIGINT, "ending\nended\n")
    assert err.splitlines()[-1] == "KeyboardInterrupt"
    assert err.count("Traceback") == 1


def test_a_second_ctrl_c_ends_it_at_once(tmp_path: Path) -> None:
    running = start(tmp_path / "program.py", PROGRAM.format(stop=50))
    wait_for_line(running, "ready")
    running.send_signal(signal.SIGINT)
    wait_for_line(running, "ending")
    began = time.monotonic()
    code, out, _ = interrupt(running, signal.SIGINT)
    assert (code, out) == (-signal.SIGINT, "")
    assert time.monotonic() - began < 20


def test_an_actor_that_exits_the_program_ends_the_block_with_that(tmp_path: Path) -> None:
    program = """
import actors

class Leaving(actors.Actor):
    async def leave(self):
        raise SystemExit(7)

if __name__ == "__main__":
    with actors.blocking_system() as system:
        leaving = system.spawn(Leaving)
        leaving.tell(Leaving.leave)
        system.wait()
"""
    code, out, err = run(tmp_path / "program.py", program)
    assert (code, out, err) == (7, "", "")
