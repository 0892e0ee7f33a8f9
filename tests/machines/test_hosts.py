"""Nodes that an agent of another machine starts; here it is this one, reached over TCP and TLS all the same."""

from __future__ import annotations

import errno
import os
import signal
import socket
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import psutil
import pytest

from actors import System, Topology, nodes, pool
from actors._base.run_loop import open_loop
from actors._system import cpu_budget, group_scaling
from actors._system.control.ps import ps
from actors._system.control.top import top
from actors._system.system import coordinator_of
from actors.cli.client.text import as_status, as_top
from actors.cli.top.details import about_row
from actors.dashboard.prometheus import exposition
from actors.errors import BootFailed, NodeDown, ReloadFailed
from actors.machines.engine import Join, Want
from actors.machines.hosts_engine import HostsEngine
from actors.machines.wire_version import identity, skew_of
from actors.testing import eventually
from tests.machines.far_actors import Counter
from tests.machines.places_of_a_test import alive, kinds, place_of, system_with_events

pytestmark = [pytest.mark.usefixtures("no_leaks"), pytest.mark.within(120)]
TWO = Topology(nodes=[nodes("far", count=2, engine="hosts")], patience=60.0)


@pytest.fixture(params=["uvloop", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    return {"uvloop": ("asyncio", {"use_uvloop": True}), "trio": ("trio", {})}[request.param]


async def test_its_actors_are_told_asked_looked_up_and_supervised() -> None:
    async with system_with_events(TWO) as (system, events):
        counter = await system.spawn(Counter, 1, name="counter", on="far/1")
        await counter.tell(Counter.add, 1)
        assert await counter.ask(Counter.add, 1) == 3
        assert await system.lookup("counter", Counter) == counter
        assert await counter.ask(Counter.pid) == system.nodes[-1].pid != os.getpid()
        assert await counter.ask(Counter.nodes) == ["local", "far/0", "far/1"]
        await counter.tell(Counter.fail)
        assert await counter.ask(Counter.add, 5) == 6, "it was started again"
        await counter.stop()
        joined = kinds(events, "place_joined")
        assert not joined, "the place was there before anything was listened to"
        assert place_of(system, "far/0") is place_of(system, "far/1"), "one agent for one machine"


async def test_actors_of_all_kinds_of_nodes_ask_each_other() -> None:
    groups = [*TWO.nodes, nodes("box"), nodes("thread", kind="thread")]
    async with System(Topology(nodes=groups)) as system:
        places = ("far/0", "far/1", "box/0", "thread/0", "local")
        counters = [await system.spawn(Counter, on=place) for place in places]
        for asks in counters:
            for asked in counters:
                if asks is not asked:
                    await asks.ask(Counter.ask_other, asked, 1)
        assert [await counter.ask(Counter.add, 0) for counter in counters] == [4] * 5


async def test_a_parent_that_is_kept_for_longer_than_a_lease_loses_nothing() -> None:
    """Also if so much is written to it meanwhile that no connection takes more."""
    topology = replace(TWO, lease=1.0)
    async with system_with_events(topology) as (system, events):
        counter = await system.spawn(Counter, on="far/0")
        await counter.tell(Counter.write, 8_000_000)
        until = time.monotonic() + 5 * topology.lease
        while time.monotonic() < until:
            pass
        assert await counter.ask(Counter.add, 1) == 1
        assert not kinds(events, "place_lost", "node_died")


@pytest.mark.parametrize("reach", ["[::1]", "[::1]:0", "127.0.0.1:0", "localhost"])
async def test_a_system_is_reached_where_it_says(reach: str) -> None:
    two_places: dict[str, Any] = {"hosts": [{}, {}]}
    groups = [nodes("far", count=2, engine="hosts", on=two_places)]
    async with System(Topology(nodes=groups, reach=reach)) as system:
        one, other = [await system.spawn(Counter, on=f"far/{slot}") for slot in range(2)]
        assert await one.ask(Counter.ask_other, other, 5) == 5


async def test_kill_9_of_a_node_is_told_and_its_agent_starts_it_again() -> None:
    async with system_with_events(TWO) as (system, events):
        place, counter = place_of(system, "far/0"), await system.spawn(Counter, on="far/0")
        with pytest.raises(NodeDown, match="killed by SIGKILL") as failed:
            await counter.ask(Counter.kill_process)
        assert failed.value.may_have_run
        assert await counter.ask(Counter.add, 2) == 2
        assert place_of(system, "far/0") is place, "by the same agent"
        assert len(kinds(events, "node_died")) == 1
        assert not kinds(events, "place_lost")


async def test_the_end_of_a_node_parts_no_link_however_soon_it_is_there_again() -> None:
    """Who was linked to it hears of the end of the link first, and of the new run a moment later."""
    groups = [nodes("far", engine="hosts"), nodes("off", engine="hosts")]
    async with system_with_events(Topology(nodes=groups, patience=60.0)) as (system, events):
        one = await system.spawn(Counter, 10, on="far")
        other = await system.spawn(Counter, 20, on="off")
        for _ in range(3):
            assert await other.ask(Counter.ask_other, one, 1) == 11
            with pytest.raises(NodeDown):
                await one.ask(Counter.kill_process)
            assert await one.ask(Counter.add, 0) == 10
            await other.ask(Counter.wait, 0.2)
        assert not kinds(events, "link_parted")


async def test_a_node_whose_end_is_not_certain_yet_parts_no_link() -> None:
    """Its agent reports the end later than who was linked to it waits for that."""
    groups = [nodes("far", engine="hosts"), nodes("off", engine="hosts")]
    async with system_with_events(Topology(nodes=groups, patience=60.0)) as (system, events):
        one = await system.spawn(Counter, 10, on="far")
        other = await system.spawn(Counter, 20, on="off")
        assert await other.ask(Counter.ask_other, one, 1) == 11
        pid, agent = await one.ask(Counter.pid), place_of(system, "far/0").pid
        os.kill(agent, signal.SIGSTOP)
        try:
            os.kill(pid, signal.SIGKILL)
            await other.ask(Counter.wait, 0.7)
        finally:
            os.kill(agent, signal.SIGCONT)
        assert await one.ask(Counter.add, 0) == 10
        assert not kinds(events, "link_parted")


async def test_what_a_node_printed_last_is_in_the_report_of_its_end() -> None:
    async with system_with_events(TWO) as (system, events):
        counter = await system.spawn(Counter, on="far/0")
        with pytest.raises(NodeDown, match="exit code 7"):
            await counter.ask(Counter.end_process, "a last word")
        await eventually(lambda: kinds(events, "node_ready"))
        assert coordinator_of(system).nodes["far/0"].last_end.endswith("a last word")


async def test_kill_9_of_an_agent_is_one_loss_and_all_comes_back_elsewhere() -> None:
    async with system_with_events(TWO) as (system, events):
        before = place_of(system, "far/0")
        counters = [await system.spawn(Counter, 10, on=f"far/{slot}") for slot in range(2)]
        pids = [await counter.ask(Counter.pid) for counter in counters]
        os.kill(before.pid, signal.SIGKILL)
        await eventually(lambda: kinds(events, "place_lost"), within=10)
        assert not any(map(alive, pids))
        assert [await counter.ask(Counter.add, 1) for counter in counters] == [11, 11]
        ((_, lost),) = kinds(events, "place_lost")
        assert (lost["place"], lost["by"]) == ("far@0", "engine hosts")
        assert "killed by SIGKILL" in lost["why"]
        assert place_of(system, "far/1").key != before.key
        assert [facts["why"][:18] for _, facts in kinds(events, "node_died")] == [
            "its place was lost"
        ] * 2


async def test_while_it_is_not_certain_that_a_node_has_ended_messages_wait_for_its_next_run() -> (
    None
):
    """The end of its link, and of the command that reaches its agent, are hints until its lease is over."""
    elsewhere = nodes("far", engine="hosts", on={"hosts": [{"run": ["env", "FAR=1"]}]})
    topology = Topology(nodes=[elsewhere, nodes("box")], patience=60.0, lease=3.0)
    async with system_with_events(topology) as (system, events):
        counter = await system.spawn(Counter, 10, on="far")
        box = await system.spawn(Counter, on="box")
        os.kill(place_of(system, "far/0").pid, signal.SIGKILL)
        await eventually(lambda: kinds(events, "node_draining"), within=10)
        answers: list[int] = []

        async def ask_by_the_other() -> None:
            answers.append(await box.ask(Counter.ask_other, counter, 1))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask_by_the_other)
            answers.append(await counter.ask(Counter.add, 1))
        assert sorted(answers) == [11, 12]
        ((_, lost),) = kinds(events, "place_lost")
        assert lost["by"] == "its lease"


async def test_a_node_whose_link_the_network_has_lost_ends_in_order_and_runs_again() -> None:
    """It does not run on until its `shutdown` seconds are over, which nobody could reach."""
    group = nodes("far", count=2, engine="hosts", shutdown=90.0)
    async with system_with_events(Topology(nodes=[group], patience=60.0)) as (system, events):
        counters = [await system.spawn(Counter, 10, on=f"far/{slot}") for slot in range(2)]
        pids = [await counter.ask(Counter.pid) for counter in counters]
        link: Any = coordinator_of(system).nodes["far/0"].link
        with socket.socket(fileno=os.dup(link._channel._fd)) as same:
            same.shutdown(socket.SHUT_RDWR)  # as a device on the way ends it
        with anyio.fail_after(30):
            await eventually(lambda: kinds(events, "node_replaced"), within=30)
            assert await counters[0].ask(Counter.add, 1) == 11
        ((_, replaced),) = kinds(events, "node_replaced")
        assert replaced["why"] == "replaced: the network has lost its link"
        assert not kinds(events, "node_died", "place_lost")
        assert not alive(pids[0])
        assert await counters[1].ask(Counter.pid) == pids[1]


async def test_who_starts_an_actor_on_a_node_that_has_just_lost_its_link_is_told_that_it_is_down() -> (
    None
):
    async with system_with_events(TWO) as (system, _):
        link: Any = coordinator_of(system).nodes["far/0"].link
        os.kill(place_of(system, "far/0").pid, signal.SIGKILL)
        await eventually(lambda: link.closed is not None, within=10)
        with pytest.raises(NodeDown) as caught:
            await system.spawn(Counter, on="far/0")
        assert caught.value.node == "far/0"
        assert caught.value.restarting


async def test_an_agent_that_is_stopped_loses_its_lease_and_its_nodes_first() -> None:
    """The kernel ends them, while nobody of theirs runs."""
    async with system_with_events(TWO.also((), trace=False, lease=1.0)) as (system, events):
        before, counter = place_of(system, "far/0"), await system.spawn(Counter, on="far/0")
        pid = await counter.ask(Counter.pid)
        os.kill(before.pid, signal.SIGSTOP)
        with anyio.fail_after(20):
            await eventually(lambda: kinds(events, "place_silent"), within=5)
            await eventually(lambda: kinds(events, "place_lost"), within=10)
            assert not alive(pid), "it had ended before its place was given up"
            await eventually(lambda: coordinator_of(system).nodes["far/0"].ready, within=15)
        assert await counter.ask(Counter.add, 1) == 1
        ((_, lost),) = kinds(events, "place_lost")
        assert lost["by"] == "its lease"
        assert not alive(before.pid)


async def test_an_agent_that_is_told_to_end_lets_its_nodes_finish_and_others_take_over() -> None:
    async with system_with_events(TWO) as (system, events):
        before, counter = place_of(system, "far/0"), await system.spawn(Counter, on="far/0")
        await counter.tell(Counter.add, 1)
        os.kill(before.pid, signal.SIGTERM)
        await eventually(lambda: kinds(events, "place_left"), within=10)
        assert await counter.ask(Counter.add, 1) in {1, 2}
        assert place_of(system, "far/0").key != before.key
        assert len(kinds(events, "node_replaced")) == 2
        assert not kinds(events, "node_died", "place_lost")


async def test_an_agent_that_does_not_end_with_its_system_is_killed() -> None:
    async with System(TWO) as system:
        agent = place_of(system, "far/0").pid
        os.kill(agent, signal.SIGSTOP)
    assert not alive(agent)


async def test_env_travels_and_what_the_parent_has_itself_does_not() -> None:
    group = nodes("far", count=2, engine="hosts", env={"GPU": "{slot}", "KIND": "far"})
    async with System(Topology(nodes=[group])) as system:
        counter = await system.spawn(Counter, on="far/1")
        assert [await counter.ask(Counter.variable, name) for name in ("GPU", "KIND")] == [
            "1",
            "far",
        ]
        sys.path.append("/only/the/parent/has/this")
        try:
            await system.spawn(Counter, on="far/0")
            assert "/only/the/parent/has/this" not in await counter.ask(Counter.path)
        finally:
            sys.path.remove("/only/the/parent/has/this")


async def test_a_node_that_does_not_get_ready_fails_the_start_with_its_own_words() -> None:
    group = nodes("far", engine="hosts", on_ready="tests.machines.far_actors:missing")
    with pytest.raises(BootFailed, match="missing"):
        async with System(Topology(nodes=[group])):
            raise AssertionError("it started")


async def test_an_agent_that_has_no_room_for_a_node_fails_the_start_and_names_the_node_once() -> (
    None
):
    few = ["bash", "-c", 'ulimit -n 48; exec "$0" "$@"']
    group = nodes("far", count=12, engine="hosts", on={"hosts": [{"run": few}]})
    with pytest.raises(
        BootFailed, match=r"^node far/\d+ could not be started: .*Too many open files"
    ):
        async with System(Topology(nodes=[group])):
            pass


async def test_a_command_that_runs_no_agent_fails_the_start_with_what_it_said() -> None:
    hosts = [{"run": [sys.executable, "-c", "print('no such host'); raise SystemExit(3)"]}]
    group = nodes("far", engine="hosts", on={"hosts": hosts})
    with pytest.raises(BootFailed, match=r"(?s)exit code 3.*no such host"):
        async with System(Topology(nodes=[group])):
            raise AssertionError("it started")


SAYS = """
import asyncio, json, sys, time
from actors.machines.dial import dial
from actors.machines.engine import Join
from actors.machines.material import Material
from actors.machines.wire_version import identity

async def main():
    join = Join.from_text(sys.stdin.readline())
    hello = {"purpose": "agent", **identity(), **json.loads(sys.argv[1])}
    address, material = (join.host, join.port), Material.from_plain(join.material)
    session = await dial(address, material, join.ticket, hello)
    await asyncio.sleep(1000)

asyncio.run(main())
"""


@pytest.mark.parametrize(
    "said, why",
    [
        ('{"wire": 9}', "its agent speaks version 9 of the protocol, and this process"),
        ('{"machine": "m"}', "its agent says that it is process None of machine 'm'"),
        ('{"machine": "m", "pid": "x"}', "its agent says that it is process 'x' of machine 'm'"),
        ('{"machine": "\\u001b", "pid": 1}', r"it is process 1 of machine '\\x1b'"),
    ],
)
async def test_an_agent_that_says_other_things_of_itself_fails_the_start_with_them(
    said: str, why: str
) -> None:
    hosts = [{"run": [sys.executable, "-c", SAYS, said]}]
    group = nodes("far", engine="hosts", on={"hosts": hosts})
    with pytest.raises(BootFailed, match=f"place far@0: .*{why}"):
        async with System(Topology(nodes=[group])):
            raise AssertionError("it started")


async def test_a_command_that_never_comes_ends_at_once_with_the_system() -> None:
    silent = [{"run": ["sh", "-c", "sleep 1000", "sh"]} for _ in range(2)]
    group = nodes("far", count=2, engine="hosts", on={"hosts": silent})
    began = time.monotonic()
    with anyio.move_on_after(0.5):
        async with System(Topology(nodes=[group])):
            raise AssertionError("it started")
    assert time.monotonic() - began < 5, "nobody waited for the end of what was not told to end"
    assert not [child for child in psutil.Process().children() if "sleep" in child.cmdline()]


async def test_a_command_whose_end_nobody_would_see_is_ended_and_fails_the_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    begun: list[int] = []

    def no_descriptor(pid: int) -> int:
        begun.append(pid)
        raise OSError(errno.EMFILE, "Too many open files")

    join = Join(host="127.0.0.1", port=1, ticket="", material=None, lease=10.0, place="far@0")
    want = Want(group="far", place=0, on={"hosts": [{"run": ["sh", "-c", "sleep 1000", "sh"]}]})
    async with open_loop() as loop:
        engine = HostsEngine(loop)
        monkeypatch.setattr(os, "pidfd_open", no_descriptor)
        with pytest.raises(OSError, match="Too many open files"):
            await engine.start(want, join, lambda _gone: None)
        await engine.close()
    (pid,) = begun
    assert not alive(pid)


async def test_ps_top_and_the_tree_show_where_a_node_is() -> None:
    async with System(TWO) as system:
        coordinator = coordinator_of(system)
        facts = await ps(coordinator)
        (place,) = facts["places"]
        assert (place["name"], place["engine"], place["state"]) == ("far@0", "hosts", "READY")
        assert 0 < place["lease_left"] <= 11.25
        assert [node["place"] for node in facts["nodes"]] == ["far@0"] * 2
        lines = as_status(facts).splitlines()
        assert any(
            line.split()[:4] == ["far@0", "hosts", socket.gethostname(), "READY"] for line in lines
        )
        looked = await top(coordinator, 0.1, 5, "mailbox")
        shown = {node["name"]: node for node in looked["nodes"]}
        assert [one["name"] for one in looked["places"]] == ["far@0"]
        rows = as_top(looked).splitlines()
        assert any(row.startswith("far/0  process at far@0") for row in rows), rows
        assert any(row.split()[:2] == ["far@0", "hosts"] for row in rows), rows
        details = about_row("node", shown["far/0"], looked)
        assert any(row.split()[:3] == ["far@0", "hosts", place["machine"]] for row in details)
        assert shown["far/0"]["answering"]
        assert shown["far/0"]["rss"] > 0
        (nodes_,) = [part for part in (await system.tree())["children"] if part["name"] == "nodes"]
        assert [node["place"] for node in nodes_["children"]] == ["far@0"] * 2


def test_metrics_say_of_each_place_how_it_is_reached() -> None:
    nothing: dict[str, Any] = {"nodes": {}, "listeners": [], "pools": [], "programs": []}
    here = {"name": "far@0", "machine": "web1", "state": "READY", "round_trip": 0.001}
    gone = {**here, "name": "far@1", "state": "UNREACHABLE", "round_trip": None}
    places = [{**here, "lease_left": 9.5}, {**gone, "lease_left": 2.0}]

    text = exposition({**nothing, "events": {}, "places": places}).decode()

    assert 'actors_place_up{machine="web1",place="far@0"} 1.0' in text
    assert 'actors_place_up{machine="web1",place="far@1"} 0.0' in text
    assert 'actors_place_round_trip_seconds{machine="web1",place="far@0"} 0.001' in text
    assert 'actors_place_round_trip_seconds{machine="web1",place="far@1"}' not in text
    assert 'actors_place_lease_left_seconds{machine="web1",place="far@1"} 2.0' in text


async def test_an_agent_with_another_release_of_the_code_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ACTORS_RELEASE", "1.4")
    hosts = [{"run": ["env", "ACTORS_RELEASE=1.5"]}]
    group = nodes("far", engine="hosts", on={"hosts": hosts})
    what = "its agent has ACTORS_RELEASE='1.5', and this process has '1.4'"
    with pytest.raises(BootFailed, match=what):
        async with System(Topology(nodes=[group])):
            raise AssertionError("it started")
    hosts[0]["run"] = ["env", "ACTORS_RELEASE=1.4"]
    async with System(Topology(nodes=[group])) as system:
        assert system.nodes[-1].ready


@pytest.mark.parametrize(
    "there, problem",
    [
        ({}, ""),
        ({"python": "3.99.0"}, ""),
        ({"release": "2"}, ""),
        ({"wire": 99}, "its agent speaks version 99 of the protocol, and this process"),
        ({"wire": None}, "its agent speaks version None of the protocol"),
    ],
)
def test_who_can_be_of_one_system(there: dict[str, Any], problem: str) -> None:
    found = skew_of({**identity(), **there})
    assert found.startswith(problem)
    assert bool(found) == bool(problem)


async def test_nodes_and_workers_of_other_machines_share_no_cpus_with_those_of_this_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for module in (cpu_budget, group_scaling):
        monkeypatch.setattr(module, "usable_cpus", lambda: 2)
    topology = replace(TWO, children=[pool(name="work", size=8, on="far")])
    async with system_with_events(topology) as (system, events):
        await system.scale("far", 3)
        await system.start(nodes("box", kind="thread"))
        assert not kinds(events, "cpu_budget")
        assert coordinator_of(system).process_nodes == 0
        assert coordinator_of(system).scaling._cpus_for("box") == 2
        await system.scale("box", 3)
        ((_, told),) = kinds(events, "cpu_budget")
        assert (told["nodes"], told["groups"], told["pools"]) == (3, "box=3", "")


async def test_its_stacks_and_profile_come_by_its_agent() -> None:
    async with System(TWO) as system:
        await system.spawn(Counter, name="seen", on="far/0")
        run = coordinator_of(system).nodes["far/0"].run
        assert run is not None
        stacks = await run.stacks()
        assert any("seen" in name for task in stacks["tasks"] for name in task["names"])
        assert stacks["threads"]


async def test_kill_of_a_node_by_its_handle_is_a_restart_and_stop_is_for_good() -> None:
    async with system_with_events(TWO) as (system, events):
        far = {node.name: node for node in system.nodes}
        far["far/1"].kill()
        await eventually(lambda: kinds(events, "node_ready"), within=10)
        await far["far/0"].stop()
        assert [node.name for node in system.nodes] == ["local", "far/1"]
        ((_, died),) = kinds(events, "node_died")
        assert "as" in died["why"]


async def test_a_group_grows_shrinks_and_is_reloaded() -> None:
    async with System(TWO) as system:
        assert len(await system.scale("far", 3)) == 3
        assert len(await system.scale("far", 1)) == 1
        counter = await system.spawn(Counter, on="far/0")
        before = await counter.ask(Counter.pid)
        await system.reload("far")
        assert await counter.ask(Counter.pid) != before


async def test_a_reload_whose_place_is_lost_gives_the_reason_of_the_event(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    go = tmp_path / "go"
    go.touch()
    monkeypatch.setenv("GO", str(go))
    far = nodes("far", engine="hosts", on_ready="tests.machines.far_actors:wait_for_go")
    async with system_with_events(Topology(nodes=[far], patience=60.0)) as (system, events):
        go.unlink()
        agent = psutil.Process(place_of(system, "far/0").pid)
        before = len(agent.children(recursive=True))

        async def kill_when_two_run() -> None:
            await eventually(lambda: len(agent.children(recursive=True)) > before, 60)
            agent.kill()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(kill_when_two_run)
            with pytest.raises(ReloadFailed) as failed:
                await system.reload()
        go.touch()
        await eventually(lambda: kinds(events, "node_ready"), 60)
        ((_, lost),) = kinds(events, "place_lost")
        assert lost["why"]
        assert failed.value.why == f"node far/0 ended meanwhile: its place was lost: {lost['why']}"
