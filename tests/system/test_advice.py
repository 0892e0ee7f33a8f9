"""A system says what makes a program slow: once for each place, with what to do, and not if it is told so."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import anyio
import pytest

from actors import Sticky, System, Topology, asgi, keys, listen, nodes, pool
from actors._base.event_log import LogSubscriber
from actors._base.events import Event
from actors._base.library_threads import THREAD_VARIABLES, thread_settings
from actors._base.often import Often
from actors._system.system import coordinator_of
from actors.testing import running_system
from tests.routing.raw_websocket import Raw, close
from tests.system.advised_actors import Office, graph

PATIENCE = 60
APP = "tests.system.advised_actors:app"


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, object]]:
    """One loop: what is noticed has to do with none."""
    return "asyncio", {"use_uvloop": True}


class Kept:
    """The events of one kind of a system."""

    def __init__(self, system: System, kind: str) -> None:
        self._events = system.events()
        self._kind = kind

    async def first(self) -> dict[str, Any]:
        """Wait for the first one."""
        with anyio.fail_after(PATIENCE):
            return await anext(self._of_kind())

    async def _of_kind(self) -> Any:
        async for event in self._events:
            if event.kind == self._kind:
                yield dict(event.facts)

    def rest(self) -> list[dict[str, Any]]:
        """Return those that have come meanwhile."""
        return [dict(event.facts) for event in self._events.take() if event.kind == self._kind]


# -- actors and pools for one piece of work --------------------------------------------------------


@pytest.mark.parametrize("on", [None, "back"])
async def test_actors_that_are_started_for_one_piece_of_work_each_are_told_once(
    on: str | None,
) -> None:
    async with running_system(Topology(nodes=[nodes("back")])) as system:
        events = Kept(system, "spawned_often")
        office = await system.spawn(Office, on=on)
        await office.ask(Office.one_each, 3000)
        told = await events.first()
        assert events.rest() == []
    assert told["what"] == "tests.system.advised_actors.Piece"
    assert (told["count"], told["node"]) == (1000, "back/0" if on else "local")
    assert told["alive"] <= 1
    assert "a pool" in told["advice"]


async def test_many_actors_that_stay_are_no_such_thing() -> None:
    async with running_system() as system:
        events = Kept(system, "spawned_often")
        office = await system.spawn(Office)
        await office.ask(Office.keep, 2500)
        assert events.rest() == []


async def test_pools_that_are_started_again_and_again_are_told() -> None:
    async with running_system() as system:
        events = Kept(system, "spawned_often")
        for number in range(20):
            made = await system.start(pool(name=f"p{number}", kind="thread", size=1))
            await made.stop()
        told = await events.first()
    assert (told["what"], told["count"], told["node"]) == ("pools", 20, "local")


def test_what_is_made_slowly_or_was_told_is_not_often() -> None:
    now = iter(range(0, 100, 10))
    often = Often(10, 5.0, lambda: next(now))
    for _ in range(40):
        assert often.count("slow") is None  # ten take ten seconds
    often = Often(10, 5.0, lambda: 0.0)
    found = [often.count("fast") for _ in range(100)]
    # Whoever asks in vain asks half as often each time.
    assert [index + 1 for index, one in enumerate(found) if one] == [10, 30, 70]
    often.told("fast")
    assert [one for one in (often.count("fast") for _ in range(500)) if one] == []


# -- large graphs ----------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", ["ask", "tell", "reply"])
async def test_a_large_graph_is_told_with_what_packing_it_costs(verb: str) -> None:
    async with running_system(Topology(nodes=[nodes("back")])) as system:
        events = Kept(system, "big_message")
        office = await system.spawn(Office, on="back")
        for _ in range(2):
            if verb == "reply":
                assert len(await office.ask(Office.give, 100_000)) == 100_000
            elif verb == "ask":
                await office.ask(Office.take, graph(100_000))
            else:
                await office.tell(Office.take, graph(100_000))
        told = await events.first()
        await office.ask(Office.take, 0)
        assert events.rest() == []
    part = "give (reply)" if verb == "reply" else "take (arguments)"
    assert told["of"] == f"tests.system.advised_actors.Office.{part}"
    assert told["node"] == ("back/0" if verb == "reply" else "local")
    assert told["bytes"] > 1 << 20
    assert told["milliseconds"] >= 5


async def test_bytes_and_small_graphs_are_no_such_thing() -> None:
    async with running_system(Topology(nodes=[nodes("back")])) as system:
        events = Kept(system, "big_message")
        office = await system.spawn(Office, on="back")
        await office.ask(Office.take, bytes(30 << 20))
        await office.ask(Office.take, "x" * (2 << 20))
        await office.ask(Office.take, graph(1000))
        assert events.rest() == []


async def test_measuring_a_message_leaves_nothing_in_shared_memory() -> None:
    async with running_system(Topology(nodes=[nodes("back")])) as system:
        office = await system.spawn(Office, on="back")
        payload = bytes(1 << 20)
        await office.ask(Office.take, payload)
        held = coordinator_of(system).host.memory.stats()["held"]
        await office.ask(Office.take, [*graph(100_000), payload])
        await office.ask(Office.take, payload)
        assert coordinator_of(system).host.memory.stats()["held"] <= held


# -- WebSockets ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "count, policy, expected",
    [(2, None, 1), (1, None, 0), (2, Sticky(keys.header("x-user")), 0)],
    ids=["two nodes", "one node", "a key"],
)
async def test_a_websocket_that_may_come_to_any_of_several_nodes_is_told(
    count: int, policy: Any, expected: int
) -> None:
    served = listen(asgi(APP, lifespan="off"), "127.0.0.1:0", policy=policy)
    async with running_system(
        Topology(nodes=[nodes("web", count=count)], listeners=[served])
    ) as system:
        events = Kept(system, "websocket_without_key")
        router: Any = coordinator_of(system).listeners[0].router
        for _ in range(3):
            with anyio.fail_after(PATIENCE):
                async with await anyio.connect_tcp("127.0.0.1", router.port) as stream:
                    client = Raw(stream)
                    assert "101" in await client.shake("/", **{"X-User": "ann"})
                    await client.send(close(1000))
                    await client.receive()
        if expected:
            told = await events.first()
            assert (told["listener"], told["count"]) == ("127.0.0.1:0", 2)
            assert "--sticky" in told["advice"]
        # Each node says so once.
        assert len(events.rest()) <= expected


# -- imports ---------------------------------------------------------------------------------------

SLOW = "import time\ntime.sleep(1.1)\nasync def app(scope, receive, send): ...\n"


@pytest.fixture
def slow_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "slow_shop.py").write_text(SLOW)
    return "slow_shop"


def lines_of(text: str, event: str) -> list[dict[str, Any]]:
    lines = (json.loads(line) for line in text.splitlines() if line.startswith("{"))
    return [line for line in lines if line["event"] == event]


@pytest.mark.parametrize("preload", [False, True])
async def test_a_module_that_takes_long_to_import_is_named_with_its_seconds(
    slow_module: str,
    preload: bool,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ACTORS_LOG_FORMAT", "json")
    served = listen(asgi(f"{slow_module}:app", lifespan="off", preload=preload), "127.0.0.1:0")
    async with running_system(Topology(nodes=[nodes("web")], listeners=[served])):
        pass
    (line,) = lines_of(capfd.readouterr().err, "slow import")
    assert (line["module"], line["level"]) == (slow_module, "warning")
    assert 1.1 <= line["seconds"] < PATIENCE
    assert "python -X importtime" in line["advice"]


# -- threads of libraries --------------------------------------------------------------------------


async def test_libraries_in_nodes_share_the_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in THREAD_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys.modules["actors.nodes._process"], "usable_cpus", lambda: 8)
    groups = [nodes("a", count=2), nodes("b"), nodes("c", env={"MKL_NUM_THREADS": "7"})]
    async with running_system(Topology(nodes=groups)) as system:
        offices = [await system.spawn(Office, on=name) for name in ("a/0", "a/1", "b/0", "c/0")]
        found = [await office.ask(Office.thread_settings) for office in offices]
    expected = dict.fromkeys(THREAD_VARIABLES, "2")
    assert found == [expected, expected, expected, {**expected, "MKL_NUM_THREADS": "7"}]
    assert "OMP_NUM_THREADS" not in os.environ


async def test_what_the_user_has_set_for_all_libraries_stays(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in THREAD_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    async with running_system(Topology(nodes=[nodes("a")])) as system:
        office = await system.spawn(Office, on="a")
        assert await office.ask(Office.thread_settings) == {"OMP_NUM_THREADS": "3"}


@pytest.mark.parametrize(
    "cpus, processes, share", [(8, 2, "4"), (8, 3, "2"), (2, 8, "1"), (1, 0, "1")]
)
def test_the_share_of_a_process_is_at_least_one(cpus: int, processes: int, share: str) -> None:
    assert thread_settings(cpus, processes, ()) == dict.fromkeys(THREAD_VARIABLES, share)


# -- the log ---------------------------------------------------------------------------------------


def test_advice_is_one_line_for_each_place(capfd: pytest.CaptureFixture[str]) -> None:
    log = LogSubscriber(lambda: 0.0)
    for node, of in (("web/0", "a"), ("web/1", "a"), ("web/0", "b"), ("web/0", "a")):
        log(Event("big_message", {"node": node, "of": of}))
    assert [line["of"] for line in lines_of(capfd.readouterr().err, "big message")] == ["a", "b"]


@pytest.mark.parametrize("text", ["big_message", "slow import, big message"])
def test_the_environment_says_which_records_are_left_out(
    text: str, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACTORS_LOG_WITHOUT", text)
    handed: list[dict[str, Any]] = []
    log = LogSubscriber(lambda: 0.0, handed.append)
    log(Event("big_message", {"of": "a"}))
    log(Event("node_died", {"node": "web/0"}))
    text = capfd.readouterr().err
    assert lines_of(text, "big message") == []
    assert len(lines_of(text, "node died")) == 1
    assert [record["event"] for record in handed] == ["node died"]
