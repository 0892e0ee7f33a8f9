"""The event stream and the default log: bounded, in order, never waited for."""

from __future__ import annotations

import json

import anyio
import pytest

from actors import Actor, Restart
from actors._base.event_log import LogSubscriber
from actors._base.events import Event, event_of
from actors.routing import ConnectionDropped, HandlerFailed, HandOverFailed, RequestTimedOut
from actors.testing import running_system
from tests.contracts.contract_actors import BadStart
from tests.nodes.node_actors import Victim


class Doomed(Actor):
    async def crash(self) -> None:
        raise RuntimeError("boom")

    async def note(self, value: int) -> None: ...


async def test_a_life_is_told_in_order() -> None:
    async with running_system() as system:
        events = system.events()
        doomed = await system.spawn(Doomed, name="doomed")
        with anyio.fail_after(5):
            await doomed.tell(Doomed.crash)
            await doomed.wait_ready()
            await doomed.stop()
            await doomed.wait()
    told = [event async for event in events if event.facts.get("child") == "doomed"]
    assert [event.kind for event in told] == [
        "child_started",
        "child_ended",
        "restart_scheduled",
        "child_started",
        "child_ended",
    ]
    started, crashed, scheduled, again, ended = (event.facts for event in told)
    assert (started["restarts"], again["restarts"]) == (0, 1)
    assert (crashed["exit"], crashed["asked"]) == ("CRASHED(RuntimeError: boom)", False)
    assert "raise RuntimeError" in crashed["traceback"]
    assert scheduled["delay"] == 0
    assert (ended["exit"], ended["expected"]) == ("SHUTDOWN", True)
    assert [event.at for event in told] == sorted(event.at for event in told)


async def test_an_event_is_plain_data() -> None:
    async with running_system() as system:
        events = system.events()
        doomed = await system.spawn(Doomed, restart=Restart.TEMPORARY)
        with anyio.fail_after(5):
            await doomed.tell(Doomed.crash)
            await doomed.wait()
    for event in [event async for event in events]:
        json.dumps(dict(event.facts))


async def test_messages_to_an_actor_that_ends_are_dead_letters() -> None:
    async with running_system() as system:
        events = system.events()
        doomed = await system.spawn(Doomed, name="doomed", restart=Restart.TEMPORARY)
        with anyio.fail_after(5):
            await doomed.tell(Doomed.crash)
            for n in range(3):
                await doomed.tell(Doomed.note, n)
            await doomed.wait()
    letters = [event.facts async for event in events if event.kind == "dead_letter"]
    assert letters == 3 * [
        {
            "actor": "doomed",
            "message": "note",
            "reason": "it has ended: CRASHED(RuntimeError: boom)",
            "node": "local",
        }
    ]


async def test_a_stream_ends_with_its_system_and_after_what_it_has() -> None:
    async with running_system() as system:
        events = system.events()
    kinds = [event.kind async for event in events]
    assert kinds[-1] == "system_stopped"
    with anyio.fail_after(1), pytest.raises(StopAsyncIteration):
        await anext(events)


async def test_a_closed_stream_hears_nothing_more_and_ends() -> None:
    async with running_system() as system:
        events = system.events()
        waiting = system.events()
        ended: list[Event] = []

        async def read() -> None:
            ended.extend([event async for event in waiting])

        with anyio.fail_after(5):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(read)
                await anyio.wait_all_tasks_blocked()
                for stream in (events, waiting):
                    stream.close()
                await system.spawn(Victim)
            assert [event async for event in events] == ended == []


async def test_a_reader_that_is_late_loses_the_oldest_and_is_told_how_many() -> None:
    async with running_system() as system:
        events = system.events()
        doomed = await system.spawn(Doomed, restart=Restart.TEMPORARY, mailbox=10_000)
        with anyio.fail_after(20):
            await doomed.tell(Doomed.crash)
            for n in range(5000):
                await doomed.tell(Doomed.note, n)
            await doomed.wait()
    lost, *rest = [event async for event in events]
    assert lost.kind == "events_lost"
    assert len(rest) == 4096
    assert lost.facts["count"] >= 5000 - 4096


def lines_of(capfd: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    return [json.loads(line) for line in capfd.readouterr().err.splitlines()]


def test_dead_letters_are_told_once_then_counted(capfd: pytest.CaptureFixture[str]) -> None:
    now = 0.0
    log = LogSubscriber(lambda: now)
    letter = Event("dead_letter", {"actor": "a", "message": "note", "reason": "it has ended"})
    for _ in range(100):
        log(letter)
    log(Event("dead_letter", {"actor": "b", "message": "note", "reason": "it has ended"}))
    now = 10.0
    log(letter)
    told = [(line["actor"], line.get("suppressed")) for line in lines_of(capfd)]
    assert told == [("a", None), ("b", None), ("a", 99)]


def test_failed_messages_are_told_once_of_each_error_then_counted(
    capfd: pytest.CaptureFixture[str],
) -> None:
    now = 0.0
    log = LogSubscriber(lambda: now)
    facts = {"actor": "a", "message": "note"}
    for n in range(100):
        log(Event("message_failed", {**facts, "error": f"ValueError: {n}"}))
    log(Event("message_failed", {**facts, "error": "KeyError: 'x'"}))
    log(Event("dead_letter", {**facts, "reason": "it has ended"}))
    now = 10.0
    log(Event("message_failed", {**facts, "error": "ValueError: again"}))
    told = [(line["event"], line.get("error"), line.get("suppressed")) for line in lines_of(capfd)]
    assert told == [
        ("message failed", "ValueError: 0", None),
        ("message failed", "KeyError: 'x'", None),
        ("dead letter", None, None),
        ("message failed", "ValueError: again", 99),
    ]


LEVELS = {
    "message_failed": ({}, "warning"),
    "node_died": ({}, "error"),
    "child_ended": ({"asked": False, "expected": False}, "error"),
    "budget_exceeded": ({}, "error"),
    "restart_scheduled": ({}, "warning"),
    "node_ready": ({}, "info"),
}


@pytest.mark.parametrize("kind", LEVELS)
def test_an_event_has_the_level_an_operator_expects(
    kind: str, capfd: pytest.CaptureFixture[str]
) -> None:
    facts, level = LEVELS[kind]
    LogSubscriber(lambda: 0.0)(Event(kind, {"node": "web/0", "empty": "", "none": None, **facts}))
    (line,) = lines_of(capfd)
    assert (line["event"], line["level"]) == (kind.replace("_", " "), level)
    assert line["node"] == "web/0"
    assert {"empty", "none"}.isdisjoint(line)


async def test_ordinary_starts_and_stops_are_no_lines(capfd: pytest.CaptureFixture[str]) -> None:
    async with running_system() as system:
        victim = await system.spawn(Victim)
        await victim.stop()
        await victim.wait()
    lines = lines_of(capfd)
    assert lines[0]["event"] == "system ready"
    assert all(str(line["event"]).startswith("system ") for line in lines)


async def test_a_failed_start_is_a_line_with_its_cause(capfd: pytest.CaptureFixture[str]) -> None:
    async with running_system() as system:
        with pytest.raises(Exception, match="no database"):
            await system.spawn(BadStart, name="offline")
    (line,) = [line for line in lines_of(capfd) if line["level"] == "error"]
    assert (line["event"], line["child"]) == ("child start failed", "offline")
    assert "ConnectionError: no database" in str(line["error"])


def test_what_clients_cause_is_told_once_then_counted(capfd: pytest.CaptureFixture[str]) -> None:
    now = 0.0
    log = LogSubscriber(lambda: now)

    def failed(text: str) -> Event:
        try:
            int(text)
        except ValueError as error:
            return event_of(HandlerFailed("web", 7, error), 0.0)
        raise AssertionError(text)

    def report(count: int) -> None:
        for number in range(count):
            log(event_of(RequestTimedOut("web", number, "head", 10.0), 0.0))
            log(event_of(ConnectionDropped("web", number), 0.0))
            log(event_of(HandOverFailed("web", f"web/{number % 2}", OSError("gone")), 0.0))
            log(failed(f"a text that the client chose: {number}"))

    report(500)
    log(event_of(RequestTimedOut("web", 1, "body", 60.0), 0.0))
    log(event_of(RequestTimedOut("api", 1, "head", 10.0), 0.0))
    now = 10.0
    report(1)
    told = [(line["event"], line.get("suppressed")) for line in lines_of(capfd)]
    kinds = ["request timed out", "connection dropped", "hand over failed", "handler failed"]
    assert told == [
        *((kind, None) for kind in kinds),
        ("request timed out", None),
        ("request timed out", None),
        *((kind, 499) for kind in kinds),
    ]
