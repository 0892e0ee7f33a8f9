"""What a broken agent, or one that is none, says to the parent: it ends that line, and nothing else."""

from __future__ import annotations

import json
import signal
from typing import Any
from unittest.mock import Mock

import anyio
import psutil
import pytest

from actors import Topology, nodes
from actors._base.run_loop import open_loop
from actors._system.system import coordinator_of
from actors.machines.agent import Agent
from actors.machines.agent_records import check_answer, check_record
from actors.machines.control_line import ControlLine
from actors.machines.engine import Join
from actors.testing import eventually
from tests.machines.far_actors import Counter
from tests.machines.places_of_a_test import kinds, place_of, system_with_events
from tests.machines.plain_session import session_pair

pytestmark = [pytest.mark.usefixtures("no_leaks"), pytest.mark.within(120)]

IN_ROUTER = {"name": "far/0", "slot": 0, "open": 1, "total": 2, "unacknowledged": 0, "queued": 0}
SUMS = {
    **dict.fromkeys(("accepted", "pending", "peeking", "dropped", "refused", "redispatched"), 0),
    **dict.fromkeys(("lost_unread", "learned", "unlearned", "passed_on", "passing"), 0),
}
GOOD: dict[str, dict[str, Any]] = {
    "ready": {},
    "answer": {"call": 1, "result": {"address": "x"}},
    "leaving": {"why": "it was told to"},
    "left": {"why": "it was told to"},
    "event": {"kind": "accept_paused", "facts": {"listener": "web", "errno": 24, "seconds": 0.5}},
    "router": {"listener": "web", "figures": {"accepting": True, "nodes": [IN_ROUTER], **SUMS}},
    "started": {"n": 1, "pid": 5},
    "records": {"n": 1, "records": [{"event": "hello", "level": "info", "more": [1, {}]}]},
    "lines": {"n": 1, "lines": ["{}", "caf\u00e9"]},
    "dropped": {"n": 1, "lines": 3},
    "ended": {"n": 1, "code": -9, "why": "", "stack": "", "lines": ["last words"]},
}
ODD: list[Any] = [-1, True, 1.5, 1e400, 10**30, "x", [5], [[]], [{}], {"a": 1}, {"event": 5}]
MAY_BE: dict[tuple[str, str], list[Any]] = {
    ("answer", "result"): ODD,
    ("answer", "error"): ["x"],
    ("leaving", "why"): ["x"],
    ("left", "why"): ["x"],
    ("event", "kind"): ["x"],
    ("router", "listener"): ["x"],
    ("ended", "code"): [-1],
    ("ended", "why"): ["x"],
    ("ended", "stack"): ["x"],
}


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.parametrize("op", GOOD)
def test_what_an_agent_says_is_let_through_and_every_other_shape_of_it_is_not(op: str) -> None:
    check_record(op, GOOD[op])
    for name in {**GOOD[op], **({"error": ""} if op == "answer" else {})}:
        for value in ODD:
            if value in MAY_BE.get((op, name), ()):
                check_record(op, {**GOOD[op], name: value})
                continue
            with pytest.raises(ValueError, match=f"'{op}' has no such '{name}'"):
                check_record(op, {**GOOD[op], name: value})
        if name in GOOD[op] and name not in ("result", "code"):
            with pytest.raises(ValueError, match=f"'{op}' has no such '{name}' as None"):
                check_record(op, {key: value for key, value in GOOD[op].items() if key != name})
    with pytest.raises(ValueError, match="has no such 'more'"):
        check_record(op, {**GOOD[op], "more": None})


def test_a_word_that_no_agent_says_is_refused() -> None:
    with pytest.raises(ValueError, match="an agent says no 'sing'"):
        check_record("sing", {})


@pytest.mark.parametrize(
    "facts", [{"event": "x"}, {"level": "x"}, {"self": 1}, {"exc_info": 1}, {"listener": []}]
)
def test_facts_that_no_event_of_an_agent_has_are_refused(facts: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="has no such 'facts'"):
        check_record("event", {"kind": "available", "facts": facts})


def test_figures_of_which_one_is_missing_are_refused() -> None:
    for name in GOOD["router"]["figures"]:
        figures = {**GOOD["router"]["figures"]}
        del figures[name]
        with pytest.raises(ValueError, match="has no such 'figures'"):
            check_record("router", {"listener": "web", "figures": figures})


@pytest.mark.parametrize(
    "op, good, odd",
    [
        ("version_of", "1.0", [None, 5, {}]),
        (
            "listen",
            {"address": "127.0.0.1:80", "way": ["127.0.0.1", 7000, "ticket"]},
            [None, {}, {"address": 5}, {"address": "x", "errno": "x"}, {"address": "x", "way": 5}],
        ),
        ("stacks", {}, [None, [], "x"]),
        ("profile", {}, [None, 5]),
    ],
)
def test_an_answer_is_of_the_kind_that_was_asked_for(op: str, good: Any, odd: list[Any]) -> None:
    check_answer(op, good)
    for value in odd:
        with pytest.raises(ValueError, match=f"is no answer to '{op}'"):
            check_answer(op, value)


@pytest.mark.parametrize("odd", [5, None, [], {}, {"host": "x"}, "lease", "port", "place"])
def test_what_an_agent_cannot_join_by_is_refused(odd: Any) -> None:
    good = {"host": "x", "port": 1, "ticket": "t", "material": None, "lease": 1.0, "place": "p"}
    assert Join.from_plain(good).place == "p"
    with pytest.raises(ValueError, match="nothing that an agent can join by"):
        Join.from_plain({**good, odd: []} if isinstance(odd, str) else odd)


@pytest.mark.parametrize(
    "error", [AttributeError("no lines"), IndexError(5), ZeroDivisionError(), RuntimeError("x")]
)
async def test_whatever_a_record_leads_to_ends_its_line_and_not_the_loop(error: Exception) -> None:
    def take(_record: dict[str, Any]) -> None:
        raise error

    ended: list[str] = []
    here, there = session_pair()
    async with open_loop() as loop:
        session: Any = here
        line = ControlLine(loop, session, take, ended.append)
        body = json.dumps({"op": "x"}).encode()
        there.send(memoryview(len(body).to_bytes(4, "little") + body))
        await eventually(lambda: bool(ended))
        assert ended == [f"it sent what is no record of this line: {type(error).__name__}: {error}"]
        assert line.refused
    there.close()


@pytest.mark.parametrize(
    "record",
    [
        {"op": "ended", "n": 0, "code": "x", "why": 5, "stack": [], "lines": 7},
        {"op": "router", "listener": "web", "figures": {}},
        {"op": "event", "kind": "available", "facts": {"event": "x"}},
    ],
)
async def test_an_agent_that_says_what_none_says_loses_its_place_and_another_one_comes(
    record: dict[str, Any],
) -> None:
    one = Topology(nodes=[nodes("far", engine="hosts")], patience=60.0)
    async with system_with_events(one) as (system, events):
        counter = await system.spawn(Counter, on="far/0")
        place: Any = place_of(system, "far/0")
        line = place._line
        body = json.dumps(record).encode()
        line._in += len(body).to_bytes(4, "little") + body
        line._take_whole()
        with anyio.fail_after(60):
            await eventually(lambda: kinds(events, "node_ready"), 60)
            assert await counter.ask(Counter.add, 2) == 2
        ((_, facts),) = kinds(events, "place_lost")
        assert facts["why"].startswith("its agent sent what is no record of this line: ValueError")


async def test_a_node_that_the_parent_has_badly_configured_ends_and_says_why() -> None:
    one = Topology(nodes=[nodes("far", engine="hosts")], patience=60.0)
    async with system_with_events(one) as (system, _events):
        place = place_of(system, "far/0")
        run: Any = coordinator_of(system).nodes["far/0"].run
        launch = run._launch("no ticket")
        launch["config"]["link"] = 5
        before = {child.pid for child in psutil.Process(place.pid).children(recursive=True)}
        odd = Mock()
        place.start_run(999, odd, launch)
        await eventually(lambda: odd.on_ended.called, 60)
        told = odd.on_ended.call_args.kwargs
        assert told["code"] == -signal.SIGKILL
        assert told["why"].startswith("node far/0 could not be started: ")
        after = {child.pid for child in psutil.Process(place.pid).children(recursive=True)}
        assert after == before, "nothing of it is left"


@pytest.mark.parametrize(
    "odd",
    [{"slots": [5]}, {"slots": [["x", "y"]]}, {"ways": {"a": [1]}}, {"ways": 5}, {"shutdown": "x"}],
)
async def test_an_agent_does_not_keep_what_is_no_sharing_of_keys(odd: dict[str, Any]) -> None:
    async with open_loop() as loop:
        listeners = Agent(
            loop, Join(host="x", port=1, ticket="t", material=None, lease=1.0, place="p")
        ).listeners
        good = {"here": "p", "slots": [[0, "p"]], "ways": {"p": ["h", 1, "t"]}, "shutdown": 1}
        listeners.operations["share"](listener="web", **good)
        with pytest.raises((TypeError, ValueError, AttributeError)):
            listeners.operations["share"](listener="web", **(good | odd))
