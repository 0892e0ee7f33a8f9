"""A node whose loop no longer runs is found, shows what it is busy with, is killed and comes back."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import anyio
import pytest

from actors import Backoff, Node, NodeDown, Ref, System, Topology, listen, nodes
from actors._base.events import Event
from actors._remoting.operation import Operation
from actors.nodes import NodeState, _spec, _thread
from actors.nodes.health.block_watch import read_page
from actors.nodes.health.heartbeat import HangDetector, Heartbeat, beat_every, margin_of, stacks_of
from actors.nodes.remote_node import RemoteRun
from actors.testing import eventually, running_system
from tests.conftest import LOOPS
from tests.nodes.hanging_actors import GATE, Grower, Hanger
from tests.routing.virtual_loop import VirtualLoop

HANG_AFTER = 1.2
"""Long enough for nodes on a machine that is busy, which would else hang by themselves."""
HUNG = "hung: no heartbeat for 1.2 s"
NODE_LOOPS: dict[str, dict[str, Any]] = {
    "asyncio": {"uvloop": False},
    "uvloop": {"uvloop": True},
    "trio": {"backend": "trio"},
}
QUICKLY = Backoff(first=0.01, factor=1, cap=0.01)


def named(system: System, name: str) -> Any:
    return next(node for node in system.nodes if node.name == name)


async def first(events: AsyncIterator[Event], kind: str) -> Event:
    async for event in events:
        if event.kind == kind:
            return event
    raise AssertionError(f"the system ended without {kind}")


@pytest.fixture(params=["uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    """One loop where nothing depends on the parent's."""
    return LOOPS[request.param]


@asynccontextmanager
async def hanging(**options: Any) -> AsyncIterator[tuple[System, Node, Ref[Hanger]]]:
    """A system with a node that hangs soon, and an actor on it."""
    spec = nodes("web", backoff=QUICKLY, **{"hang_after": HANG_AFTER, **options})
    async with running_system(Topology(nodes=[spec])) as system:
        with anyio.fail_after(50):
            yield system, named(system, "web/0"), await system.spawn(Hanger, on="web")


# -- real nodes ---------------------------------------------------------------------------------


@pytest.mark.parametrize("anyio_backend", ["trio"], indirect=True)
async def test_nodes_that_keep_the_lock_show_their_stack_are_killed_and_come_back(
    capfd: pytest.CaptureFixture[str],
) -> None:
    groups = [
        nodes(loop, hang_after=HANG_AFTER, backoff=QUICKLY, **options)
        for loop, options in NODE_LOOPS.items()
    ]
    async with running_system(Topology(nodes=[*groups, nodes("calm")])) as system:
        bystander = await system.spawn(Hanger, on="calm")
        calm = await bystander.ask(Hanger.pid)
        events = system.events()

        async def hang(loop: str) -> None:
            node = named(system, f"{loop}/0")
            hanger = await system.spawn(Hanger, on=loop)
            before = await hanger.ask(Hanger.pid)
            with pytest.raises(NodeDown) as caught:
                await hanger.ask(Hanger.match)
            text = f"{hanger}: node {loop}/0 is down ({HUNG}); it is being restarted"
            assert str(caught.value) == text
            await eventually(lambda: node.ready, 20)
            assert await hanger.ask(Hanger.pid) == node.pid != before
            assert node.last_end.startswith(HUNG)
            assert "in match_catastrophically" in node.last_end

        with anyio.fail_after(50):
            async with anyio.create_task_group() as tasks:
                for loop in NODE_LOOPS:
                    tasks.start_soon(hang, loop)
                    assert await bystander.ask(Hanger.pid) == calm
        assert await bystander.ask(Hanger.pid) == calm
    hung = [event.facts async for event in events if event.kind == "node_hung"]
    assert sorted(fact["node"] for fact in hung) == ["asyncio/0", "trio/0", "uvloop/0"]
    assert [fact["seconds"] for fact in hung] == [HANG_AFTER] * 3
    assert capfd.readouterr().err.count("in match_catastrophically") == 3


async def test_a_process_that_was_stopped_is_hung_too() -> None:
    async with hanging() as (_, node, hanger):
        before = node.pid
        assert before is not None
        os.kill(before, signal.SIGSTOP)
        with pytest.raises(NodeDown, match=HUNG):
            await hanger.ask(Hanger.pid)
        await eventually(lambda: node.ready, 10)
        assert await hanger.ask(Hanger.pid) == node.pid != before


async def test_a_thread_that_hangs_shows_its_stack_and_is_abandoned(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_thread, "_GRACE", 0.2)
    GATE.clear()
    async with hanging(kind="thread") as (system, node, hanger):
        events = system.events()
        try:
            with pytest.raises(NodeDown, match=HUNG):
                await hanger.ask(Hanger.wait)
            hung = await first(events, "node_hung")
            assert hung.facts["node"] == "web/0"
            assert "in wait_at_the_gate" in hung.facts["stack"]
            died = await first(events, "node_died")
            abandoned = "abandoned: a thread cannot be killed, and it did not end"
            assert died.facts["why"] == f"{HUNG}; {abandoned}"
        finally:
            GATE.set()
        events.close()
        await eventually(lambda: node.ready, 10)
        assert await hanger.ask(Hanger.node) == "web/0"


async def test_by_default_only_nodes_that_serve_a_listener_are_killed_for_their_silence() -> None:
    groups = [nodes("web"), nodes("work"), nodes("own", hang_after=7)]
    listener = listen("tests.nodes.hanging_actors:echo", "127.0.0.1:0", nodes="web")
    async with running_system(Topology(nodes=groups, listeners=[listener])) as system:
        await system.start(nodes("late"))
        after = {node.group: node.spec.hang_after for node in system.nodes if node.group != "local"}  # type: ignore[attr-defined] # a RemoteNode
    assert after == {"web": 30.0, "work": None, "own": 7, "late": None}


BUSY: dict[str, tuple[dict[str, Any], Any, str]] = {
    "a process that keeps the lock": ({}, Hanger.match_for_a_while, "in match_for_a_while"),
    "a process that sleeps": ({}, Hanger.block, "in block"),
    "a process on trio": ({"backend": "trio"}, Hanger.block, "in block"),
    "a thread": ({"kind": "thread"}, Hanger.block, "in block"),
}


@pytest.mark.parametrize("options, method, place", BUSY.values(), ids=BUSY)
async def test_a_node_that_computes_is_reported_as_busy_and_goes_on(
    options: dict[str, Any], method: Any, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_spec, "SILENT_AFTER", 1.0)
    async with hanging(hang_after=None, **options) as (system, node, hanger):
        events, pid = system.events(), await hanger.ask(Hanger.pid)
        for _ in range(2):
            # A block that begins before the node has been heard again is a part of the last silence.
            run: Any = node.run  # type: ignore[attr-defined] # a node of another process or thread
            await eventually(lambda: not run._busy, 10)  # noqa: B023 - awaited before the next turn
            await hanger.ask(method, 2.5)
            busy = await first(events, "node_busy")
            while "actor" not in busy.facts:  # the machine itself was busy
                busy = await first(events, "node_busy")
            assert busy.facts["node"] == "web/0"
            assert (busy.facts["actor"], busy.facts["message"]) == (hanger.name, method.__name__)
            assert busy.facts["seconds"] == 1.0
            assert abs(datetime.now(UTC) - datetime.fromisoformat(busy.facts["since"])).seconds < 30
            assert place in busy.facts["stack"]
        assert await hanger.ask(Hanger.pid) == pid
        assert node.restarts == 0
        events.close()


@pytest.mark.parametrize("kind", ["local", "process", "thread"])
async def test_what_blocks_a_loop_is_an_event_with_actor_message_and_stack(kind: Any) -> None:
    groups = [nodes(kind, kind=kind)] if kind != "local" else []
    async with running_system(Topology(nodes=groups)) as system:
        hanger = await system.spawn(Hanger, on=kind)
        events = system.events()
        with anyio.fail_after(30):
            await hanger.ask(Hanger.block, 1.0)
            blocked = await first(events, "loop_blocked")
        assert (blocked.facts["actor"], blocked.facts["message"]) == (hanger.name, "block")
        assert blocked.facts["node"] == hanger.node
        assert blocked.facts["seconds"] >= 0.25
        assert "in block" in blocked.facts["stack"]
        events.close()


async def test_a_handler_that_blocks_again_and_again_is_told_once_in_a_while() -> None:
    groups = [nodes("work", kind="thread"), nodes("quiet", kind="thread", block_after=None)]
    async with running_system(Topology(nodes=groups)) as system:
        hangers = [await system.spawn(Hanger, on=group.name) for group in groups]
        events = system.events()
        for _ in range(3):
            for hanger in hangers:
                await hanger.ask(Hanger.block, 0.6)
    told = [event.facts["node"] async for event in events if event.kind == "loop_blocked"]
    assert told == ["work/0"]


async def test_nobody_is_killed_because_the_parent_slept() -> None:
    async with hanging(hang_after=2.0) as (_, node, hanger):
        before = node.pid
        time.sleep(3)  # noqa: ASYNC251 - that is the test
        # The looks that had been due are taken before the answers are read.
        for _ in range(3):
            assert await hanger.ask(Hanger.pid) == before
        assert node.restarts == 0


async def test_a_node_that_is_debugged_or_not_to_be_watched_may_stand_still() -> None:
    groups = [
        nodes("off", hang_after=None),
        nodes("debug", hang_after=0.3, env={"PYTHONASYNCIODEBUG": "1"}),
    ]
    async with running_system(Topology(nodes=groups)) as system:
        with anyio.fail_after(50):
            hangers = [await system.spawn(Hanger, on=group.name) for group in groups]
            async with anyio.create_task_group() as tasks:
                for hanger in hangers:
                    tasks.start_soon(hanger.ask, Hanger.block, 0.8)
            pids = [await hanger.ask(Hanger.pid) for hanger in hangers]
        assert pids == [named(system, "off/0").pid, named(system, "debug/0").pid]
        assert [node.restarts for node in system.nodes] == [0, 0, 0]


async def test_what_a_node_imports_may_take_its_time() -> None:
    async with hanging(env={"ACTORS_TEST_SLOW_IMPORT": "1.8"}) as (_, node, hanger):
        assert await hanger.ask(Hanger.pid) == node.pid
        assert node.restarts == 0


async def test_a_node_that_ends_in_order_is_not_hung(capfd: pytest.CaptureFixture[str]) -> None:
    async with hanging() as (system, _, _):
        node, events = named(system, "web/0"), system.events()
        grower = await system.spawn(Grower, on="web")
        await grower.ask(Grower.block_at_the_end, 1.8)
        assert node.replace("the test wants it")
        seen = [(await anext(events)).kind]
        while seen[-1] != "node_ready":
            seen.append((await anext(events)).kind)
        events.close()
        assert "node_replaced" in seen
        assert not {"node_hung", "node_died"} & set(seen)
    assert "Timeout" not in capfd.readouterr().err


@pytest.mark.parametrize(
    "page",
    [
        b"",
        b'{"actor": "a',
        b"[1]",
        b'"text"',
        b'{"since": [], "actor": "a", "message": "m", "stack": ""}',
        b'{"since": 1e400, "actor": 1, "message": null}',
        b"[" * 2_000_000,
    ],
    ids=["none", "half", "list", "text", "other", "less", "huge"],
)
def test_a_page_that_holds_no_block_is_read_as_none(page: bytes) -> None:
    fd = os.memfd_create("page")
    try:
        os.write(fd, page)
        assert read_page(fd) == {}
    finally:
        os.close(fd)


@pytest.mark.parametrize("since", ["1e400", "-1", "NaN"])
def test_a_block_began_at_a_time_that_can_be_shown(since: str) -> None:
    fd = os.memfd_create("page")
    try:
        os.write(fd, b'{"since": %s, "actor": "a", "message": "m", "stack": 3}' % since.encode())
        found = read_page(fd)
        assert 0 <= found.pop("since") <= time.time()
        assert found == {"actor": "a", "message": "m", "stack": "3"}
    finally:
        os.close(fd)


# -- the parent's side, on virtual time ---------------------------------------------------------


class SleepyLoop(VirtualLoop):
    """A loop whose process may be kept from running."""

    def oversleep(self, seconds: float) -> None:
        """Let time pass; what is due meanwhile runs at the next `advance`, late."""
        self._now += seconds

    def waiter(self) -> Any:
        raise AssertionError("nobody waits here")


@pytest.fixture
def loop() -> Iterator[SleepyLoop]:
    loop = SleepyLoop()
    yield loop
    loop.close()


class Busy(RemoteRun):
    """A run that keeps its loop by C code, so that its process itself says nothing."""

    def _blocked_by(self) -> dict[str, Any]:
        return {"actor": "ann", "message": "match", "stack": "in match"}


def test_what_was_told_of_a_busy_node_is_what_blocks_it_until_it_speaks(loop: SleepyLoop) -> None:
    told: list[tuple[str, dict[str, Any]]] = []
    host = SimpleNamespace(loop=loop)
    home = SimpleNamespace(host=host, event=lambda *event: told.append(event))
    spec = nodes("web", hang_after=None)
    node: Any = SimpleNamespace(home=home, address=0, name="web/0", spec=spec, run=None)
    run = Busy(node)
    run.state = NodeState.READY
    run.hang_detector.start()
    for _ in range(2):
        run.on_heartbeat(watched=True)
        assert run.block == {}
        loop.advance(100)
        kind, facts = told.pop()
        assert (kind, facts["actor"], told) == ("node_busy", "ann", [])
        assert run.block["message"] == "match"
        assert run.block["since"] <= time.time() - 30
    run.hang_detector.stop()


class Hung:
    """Counts how often a node was found to be hung."""

    def __init__(self, loop: SleepyLoop) -> None:
        self.times: list[float] = []
        self.loop = loop
        self.began = loop.now()

    def __call__(self) -> None:
        self.times.append(round(self.loop.now() - self.began, 6))


@pytest.mark.parametrize(
    "hang_after, every, margin",
    [(30.0, 5.0, 1.0), (4.0, 1.0, 1.0), (0.4, 0.1, 0.25), (0.01, 0.05, 0.25), (3600.0, 5.0, 1.0)],
)
def test_beats_are_as_rare_as_they_may_be(hang_after: float, every: float, margin: float) -> None:
    assert (beat_every(hang_after), margin_of(hang_after)) == pytest.approx((every, margin))


def test_a_silent_node_is_hung_after_its_time_and_the_margin_once(loop: SleepyLoop) -> None:
    hung = Hung(loop)
    watch = HangDetector(loop, 30.0, hung)
    watch.start()
    watch.beat(watched=True)
    loop.advance(100)
    assert hung.times == [31.0]
    assert loop.timers == 0


def test_a_beat_begins_the_wait_anew(loop: SleepyLoop) -> None:
    hung = Hung(loop)
    watch = HangDetector(loop, 30.0, hung)
    watch.start()
    for _ in range(10):
        loop.advance(29)
        watch.beat(watched=True)
    assert hung.times == []
    loop.advance(100)
    assert hung.times == [290 + 31.0]


def test_a_look_that_comes_late_counts_as_one_in_time(loop: SleepyLoop) -> None:
    hung = Hung(loop)
    watch = HangDetector(loop, 30.0, hung)
    watch.start()
    watch.beat(watched=True)
    loop.oversleep(3600)
    loop.advance(0)
    assert hung.times == []
    watch.beat(watched=True)
    loop.advance(30)
    assert hung.times == []


def test_a_node_that_was_silent_before_the_parent_slept_has_the_rest_of_its_time(
    loop: SleepyLoop,
) -> None:
    hung = Hung(loop)
    watch = HangDetector(loop, 30.0, hung)
    watch.start()
    watch.beat(watched=True)
    loop.advance(10)
    loop.oversleep(3600)
    loop.advance(15)
    assert hung.times == []
    loop.advance(31)
    assert len(hung.times) == 1


def test_silence_means_nothing_before_the_first_beat_and_while_unwatched(
    loop: SleepyLoop,
) -> None:
    hung = Hung(loop)
    watch = HangDetector(loop, 30.0, hung)
    watch.start()
    loop.advance(100)
    watch.beat(watched=True)
    loop.advance(10)
    watch.beat(watched=False)
    loop.advance(1000)
    assert hung.times == []
    watch.beat(watched=True)
    loop.advance(40)
    assert hung.times == [1110 + 31.0]


@pytest.mark.parametrize("hang_after", [None, 30.0])
def test_a_watch_that_is_stopped_or_off_has_no_timer(
    loop: SleepyLoop, hang_after: float | None
) -> None:
    hung = Hung(loop)
    watch = HangDetector(loop, hang_after, hung)
    watch.start()
    watch.beat(watched=True)
    watch.stop()
    loop.advance(100)
    assert (hung.times, loop.timers) == ([], 0)


# -- the node's side ------------------------------------------------------------------------------


class Parent:
    """Writes down what a node says."""

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []

    def note(self, op: Operation, /, *args: Any, **_none: Any) -> None:
        self.told.append((op.name, *args))

    def flush(self) -> None:
        self.told.append(("flushed",))


def beating(loop: SleepyLoop, **config: Any) -> tuple[Heartbeat, Parent]:
    parent = Parent()
    # Without dumps: this process's timer is pytest's.
    options = {"silent_after": 20.0, "max_rss": None, "dumps": False, **config}
    return Heartbeat(loop, parent, options), parent


def test_a_node_beats_until_it_is_told_to_leave(loop: SleepyLoop) -> None:
    heart, parent = beating(loop)
    heart.start()
    loop.advance(14.9)
    assert parent.told == [("heartbeat", True)] * 3
    heart.stop()
    loop.advance(100)
    assert (len(parent.told), loop.timers) == (3, 0)


def test_a_beat_that_comes_late_tells_how_long_the_loop_was_kept(loop: SleepyLoop) -> None:
    heart, _ = beating(loop)
    heart.start()
    assert heart.late == 0
    loop.oversleep(7)
    loop.advance(0)
    assert heart.late == 2
    heart.stop()


def test_a_node_that_is_traced_says_that_its_silence_means_nothing(loop: SleepyLoop) -> None:
    heart, parent = beating(loop)
    heart.start()
    before = sys.gettrace()
    sys.settrace(lambda *_: None)
    try:
        loop.advance(5)
    finally:
        sys.settrace(before)
    loop.advance(5)
    heart.stop()
    assert parent.told == [("heartbeat", True), ("heartbeat", False), ("heartbeat", True)]


def test_an_import_is_announced_before_it_keeps_the_loop(loop: SleepyLoop) -> None:
    heart, parent = beating(loop)
    heart.start()
    with heart.paused(), heart.paused():
        assert parent.told == [("heartbeat", True), ("heartbeat", False), ("flushed",)]
        loop.advance(5)
        assert parent.told[3:] == [("heartbeat", False)]
    heart.stop()
    assert parent.told[4:] == [("heartbeat", True)]


def test_memory_is_looked_at_every_second(loop: SleepyLoop) -> None:
    heart, parent = beating(loop, silent_after=40.0, max_rss=1)
    heart.start()
    loop.advance(2.9)
    heart.stop()
    sizes = [told[1] for told in parent.told if told[0] == "over_rss"]
    assert len(sizes) == 3
    assert min(sizes) > 1 << 20


def test_the_report_holds_the_last_dump_of_stacks() -> None:
    dump = ["Timeout (0:00:30)!", *(f"  File {n}" for n in range(40))]
    assert stacks_of(["before", "Timeout (0:00:30)!", "old", *dump]) == dump
    assert stacks_of([str(n) for n in range(30)]) == [str(n) for n in range(10, 30)]
