"""Thresholds of a running system: crossings are events, and tell a command and a webhook nobody waits for."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, ClassVar

import anyio
import psutil
import pytest

from actors import Actor, Backoff, System, Topology, child, nodes
from actors._base.loop import Loop
from actors._base.run_loop import open_loop
from actors._system.alerts import AlertWatch, _commands
from actors._system.alerts_spec import Reading
from actors._system.system import coordinator_of
from actors.dashboard import Alerts
from actors.errors import InvalidSpec
from actors.programs import ProgramThreads, run_once
from tests.cli.running_command import error_of, run_command

pytestmark = pytest.mark.within(40)


class Slow(Actor):
    """Handles one message for ever, blocks its node, or crashes."""

    async def crash(self) -> None:
        raise ValueError("as it was told")

    async def rest(self) -> None:
        await anyio.sleep_forever()

    async def block(self, seconds: float) -> None:
        time.sleep(seconds)  # noqa: ASYNC251 - that is what it is for


@asynccontextmanager
async def watched(**alerts: Any) -> AsyncIterator[System]:
    topology = Topology(
        nodes=[nodes("back", block_after=None)],
        children=[child(Slow, name="slow", on="back", shutdown=0.1, backoff=Backoff(first=0.01))],
        alerts=Alerts(every=0.1, **alerts),
    )
    async with System(topology) as system:
        yield system


async def until(events: Any, kind: str) -> dict[str, Any]:
    async for event in events:
        if event.kind == kind:
            return dict(event.facts)
    raise AssertionError(f"no {kind}")


async def test_a_loop_that_is_late_raises_an_alert_and_clears_it() -> None:
    async with watched(lag=0.5) as system:
        events = system.events()
        slow = await system.lookup("slow", Slow)
        assert slow is not None
        await slow.tell(Slow.block, 1.0)
        raised = await until(events, "alert_raised")
        assert (raised["what"], raised["of"], raised["limit"]) == ("lag", "back/0", 0.5)
        assert raised["value"] > 0.5
        assert (await until(events, "alert_cleared"))["of"] == "back/0"


async def test_a_mailbox_that_is_full_raises_an_alert_for_its_actor() -> None:
    async with watched(mailbox=3) as system:
        events = system.events()
        slow = await system.lookup("slow", Slow)
        assert slow is not None
        for _ in range(6):
            await slow.tell(Slow.rest)
        raised = await until(events, "alert_raised")
        assert (raised["what"], raised["of"]) == ("mailbox", "slow")
        assert raised["value"] > 3


async def test_memory_and_restarts_have_thresholds_too() -> None:
    async with watched(memory=1, restarts=1) as system:
        events = system.events()
        assert (await until(events, "alert_raised"))["what"] == "memory"
        slow = await system.lookup("slow", Slow)
        assert slow is not None
        await slow.tell(Slow.crash)
        await until(events, "restart_scheduled")
        await until(events, "child_started")
        await slow.tell(Slow.crash)
        assert (await until(events, "alert_raised"))["of"] == "system"


async def test_the_command_gets_the_facts_and_one_that_fails_is_told(tmp_path: Path) -> None:
    file = tmp_path / "told"
    write = f"open({str(file)!r}, 'a').write(os.environ['ACTORS_ALERT'] + chr(10))"
    code = f"import os; {write}; raise SystemExit('no mail')"
    async with watched(memory=1, command=[sys.executable, "-c", code]) as system:
        failed = await until(system.events(), "alert_failed")
        assert "exit code 1: no mail" in failed["why"]
    facts = json.loads(file.read_text().splitlines()[0])
    assert (facts["alert"], facts["what"], facts["of"]) == ("alert_raised", "memory", "back/0")
    assert facts["value"] > facts["limit"] == 1


class _Hook(BaseHTTPRequestHandler):
    posted: ClassVar[list[Any]] = []

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.posted.append(json.loads(body))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_args: Any) -> None:
        """Say nothing."""


@pytest.fixture
def hook() -> Iterator[HTTPServer]:
    """A server that keeps what is posted to it."""
    with HTTPServer(("127.0.0.1", 0), _Hook) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


async def test_a_webhook_is_posted_to(hook: HTTPServer) -> None:
    url = f"http://127.0.0.1:{hook.server_port}/alerts"
    async with open_threads() as (loop, threads):
        state: Any = _State(loop)
        watch = AlertWatch(state, threads)
        ((name, command),) = _commands(Alerts(memory=10, webhook=url))

        await watch._tell(name, command, {"alert": "alert_raised", **_facts(20)})

        assert state.events == []
        assert _Hook.posted[-1]["text"] == "memory of back/0 is above 10: 20"
        await watch._tell(name, [*command[:-1], "http://127.0.0.1:9"], _facts(20, "alert_x"))
    assert state.events[0][0] == "alert_failed"
    assert state.events[0][1]["command"] == url
    assert "refused" in state.events[0][1]["why"]


@asynccontextmanager
async def open_threads() -> AsyncIterator[tuple[Loop, ProgramThreads]]:
    """Provide the loop, and threads that start programs until the end of the block."""
    async with open_loop() as loop:
        threads = ProgramThreads(loop)
        try:
            yield loop, threads
        finally:
            threads.close()


def _facts(value: float, alert: str = "alert_raised") -> dict[str, Any]:
    return {"alert": alert, "what": "memory", "of": "back/0", "value": value, "limit": 10}


class _State:
    """Takes events."""

    def __init__(self, loop: Loop) -> None:
        self.events: list[tuple[str, dict[str, Any]]] = []
        self.loop = loop

    def event(self, kind: str, facts: dict[str, Any]) -> None:
        self.events.append((kind, facts))


async def test_each_crossing_is_told_once_and_what_waits_to_be_told_is_bounded() -> None:
    async with open_threads() as (loop, threads):
        state: Any = _State(loop)
        watch = AlertWatch(state, threads)
    spec = Alerts(memory=10, command=["x"])
    for value in (5, 20, 30, 5, 5, 20):
        watch.take(spec, [Reading("memory", "back/0", value)])
    assert [kind for kind, _ in state.events] == ["alert_raised", "alert_cleared", "alert_raised"]
    watch.take(spec, [])  # the node has gone
    assert state.events[-1][0] == "alert_cleared"
    assert state.events[-1][1] == {"what": "memory", "of": "back/0", "value": None, "limit": 10}
    for number in range(300):
        watch.take(spec, [Reading("memory", f"n/{number}", 20)])
    assert len(watch._waiting) == 100
    assert watch._dropped > 100


@pytest.mark.parametrize(
    "code, seconds, says",
    [
        ("pass", 20, "exit code 0"),
        ("print('x' * 1_000_000)", 20, "exit code 0: xxxx"),
        ("raise SystemExit(3)", 20, "exit code 3"),
        ("import time; time.sleep(3600)", 0.3, "late"),
        ("import subprocess; subprocess.Popen(['sleep', '3600'])", 20, "exit code 0"),
    ],
)
async def test_a_program_is_run_to_its_end_and_nothing_of_it_is_left(
    code: str, seconds: float, says: str
) -> None:
    command, env = [sys.executable, "-c", code], {"PATH": "/usr/bin:/bin"}
    async with open_threads() as (loop, threads):
        end = await run_once(command, env, seconds, loop=loop, threads=threads)
    assert ("late" if end.code is None else str(end)).startswith(says)


async def test_who_stops_waiting_for_a_program_goes_on_when_it_has_been_reaped() -> None:
    command, env = (
        [sys.executable, "-c", "import time; time.sleep(3600)"],
        {"PATH": "/usr/bin:/bin"},
    )
    before = psutil.Process().children()
    async with open_threads() as (loop, threads):
        with anyio.move_on_after(0.3):
            await run_once(command, env, 20, loop=loop, threads=threads)
        assert psutil.Process().children() == before


async def test_a_program_that_there_is_not_is_said() -> None:
    async with watched(memory=1, command=["/nowhere/at/all"]) as system:
        failed = await until(system.events(), "alert_failed")
        assert failed["why"] == "cannot be started: No such file or directory"


@pytest.mark.parametrize(
    "options, says",
    [
        ({}, "no threshold"),
        ({"command": ["x"]}, "no threshold"),
        ({"lag": 0}, "lag must be a number above 0, got 0"),
        ({"lag": "1"}, "got '1'"),
        ({"lag": float("nan")}, "got nan"),
        ({"lag": 1, "every": 0.01}, "every must be 0.1 or more, got 0.01"),
        ({"lag": 1, "command": "mail me"}, "got 'mail me'"),
        ({"lag": 1, "webhook": "ftp://x"}, "got 'ftp://x'"),
        ({"lags": 1}, "lags"),
    ],
)
def test_alerts_that_cannot_work_are_refused(options: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidSpec, match="Alerts") as error:
        Alerts(**options)
    assert says in str(error.value)


def test_a_topology_takes_no_other_alerts() -> None:
    with pytest.raises(InvalidSpec, match="alerts must be an Alerts, got 5"):
        Topology(alerts=5)  # type: ignore[arg-type] # that is the mistake


@pytest.mark.parametrize(
    "arguments, says",
    [
        (["--alert", "lags=1"], "did you mean 'lag'"),
        (["--alert", "lag=x"], "must be a number"),
        (["--alert", "lag=-1"], "above 0"),
        (["--alert-webhook", "http://x"], "go with --alert"),
        (["--alert", "lag=1", "--alert-webhook", "x"], "http(s)"),
        (["--alert", "lag=1", "--alert-command", "'x"], "quotation"),
    ],
)
def test_the_command_line_says_what_is_wrong(
    tmp_path: Path, arguments: list[str], says: str
) -> None:
    done = run_command(tmp_path, "run", "topologies:good", *arguments)

    assert done.returncode == 2
    assert says in error_of(done.stderr, "actors run")


async def test_other_thresholds_hold_at_once_and_what_is_over_them_stays_raised() -> None:
    async with watched(memory=1) as system:
        events, watch = system.events(), coordinator_of(system).alerts
        assert (await until(events, "alert_raised"))["limit"] == 1

        watch.watch(Alerts(every=0.1, memory=2, restarts=1))
        slow = await system.lookup("slow", Slow)
        assert slow is not None
        for _ in range(2):
            await slow.tell(Slow.crash)
            await until(events, "restart_scheduled")
            await until(events, "child_started")
        raised = await until(events, "alert_raised")
        assert (raised["what"], raised["value"]) == ("restarts", 2)

        watch.watch(Alerts(every=0.1, memory=1 << 60, restarts=1))
        cleared = await until(events, "alert_cleared")
        assert (cleared["what"], cleared["limit"]) == ("memory", 1)


async def test_without_thresholds_what_was_raised_is_cleared_and_whom_it_was_told_is_told() -> None:
    code = "import os; raise SystemExit(os.environ['ACTORS_ALERT'])"
    async with watched(memory=1, command=[sys.executable, "-c", code]) as system:
        events, watch = system.events(), coordinator_of(system).alerts
        await until(events, "alert_failed")

        watch.watch(None)

        assert (await until(events, "alert_cleared"))["value"] is None
        assert '"alert_cleared"' in (await until(events, "alert_failed"))["why"]
        watch.watch(Alerts(every=0.1, memory=5))
        assert (await until(events, "alert_raised"))["limit"] == 5


async def test_nobody_looks_unless_it_was_asked_for() -> None:
    async with System(Topology(nodes=[nodes("back")])) as system:
        assert coordinator_of(system).topology.alerts is None
