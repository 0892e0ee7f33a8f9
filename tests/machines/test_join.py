"""Agents that come by themselves: real `actors join` programs, over TCP and TLS on this machine."""

from __future__ import annotations

import gc
import os
import signal
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import psutil
import pytest

from actors import nodes
from actors._system.control.ps import ps
from actors._system.control.top import top
from actors._system.system import coordinator_of
from actors.cli.client.text import as_status, as_top
from actors.errors import InvalidSpec, NodeDown
from actors.machines.authority import Authority
from actors.machines.control_line import ControlLine
from actors.machines.dial import dial_to_join
from actors.machines.join_secret import JoinSecret
from actors.machines.wire_version import identity
from actors.testing import eventually
from actors.transport.channels.tls_session import TlsSession
from tests.machines.far_actors import Counter
from tests.machines.joining import Cluster, free_port
from tests.machines.places_of_a_test import alive, kinds, place_of, system_with_events
from tests.scripts import start

pytestmark = [pytest.mark.usefixtures("no_leaks"), pytest.mark.within(120)]


@pytest.fixture(params=["uvloop", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    return {"uvloop": ("asyncio", {"use_uvloop": True}), "trio": ("trio", {})}[request.param]


async def test_an_agent_that_comes_before_its_parent_waits_for_it(cluster: Cluster) -> None:
    agent = cluster.agent("--label", "pool=gpu")
    assert "Connection refused" in (await agent.said("agent waits"))["why"]
    wanted = nodes("far", engine="join", on={"labels": {"pool": "gpu"}})
    async with system_with_events(cluster.topology(wanted)) as (system, _):
        counter = await system.spawn(Counter, 1, on="far/0")
        assert await counter.ask(Counter.add, 1) == 2
        assert place_of(system, "far/0").pid == agent.pid
        assert (await agent.said("agent joined"))["place"] == "far@0"


async def test_agents_choose_no_group_and_two_groups_get_those_with_their_labels(
    cluster: Cluster,
) -> None:
    """Also those with no labels get one, and what nobody wants waits as a spare."""
    groups = [
        nodes("any", engine="join"),
        nodes("gpu", engine="join", on={"labels": {"pool": "gpu", "zone": "a"}}),
        nodes("cpu", engine="join", on={"labels": {"pool": "cpu"}}),
    ]
    both = cluster.agent("--label", "pool=gpu", "--label", "zone=a", "--name", "both")
    cpu = cluster.agent("--label", "pool=cpu", "--name", "cpu")
    other = cluster.agent("--label", "pool=gpu", "--name", "other")
    async with system_with_events(cluster.topology(*groups)) as (system, _):
        found = {name: place_of(system, f"{name}/0").pid for name in ("any", "gpu", "cpu")}
        assert found == {"any": other.pid, "gpu": both.pid, "cpu": cpu.pid}
        spare = cluster.agent("--label", "pool=gpu", "--name", "late", ACTORS_RELEASE="7")
        await spare.said("agent waits")
        facts: dict[str, Any] = {}

        async def shown() -> bool:
            facts.update(await ps(coordinator_of(system)))
            return any(place["state"] == "SPARE" for place in facts["places"])

        await eventually(shown, within=20)
        for text in (as_status(facts), as_top(await top(coordinator_of(system), 0.1))):
            rows = [line.split() for line in text.splitlines()]
            assert any(
                row[1:2] == ["join"] and "SPARE" in row and "pool=gpu" in row for row in rows
            )


async def test_kill_9_of_an_agent_is_one_loss_and_a_spare_takes_its_place(cluster: Cluster) -> None:
    agents = [cluster.agent(), cluster.agent()]
    async with system_with_events(cluster.topology(lease=2.0)) as (system, events):
        counter = await system.spawn(Counter, 10, on="far/0")
        pid = await counter.ask(Counter.pid)
        first = place_of(system, "far/0")
        os.kill(first.pid, signal.SIGKILL)
        await eventually(lambda: kinds(events, "place_lost"), within=10)
        assert not alive(pid)
        assert await counter.ask(Counter.add, 1) == 11
        ((_, lost),) = kinds(events, "place_lost")
        assert (lost["place"], lost["by"]) == ("far@0", "its lease")
        (other,) = {agent.pid for agent in agents} - {first.pid}
        assert place_of(system, "far/0").pid == other


async def test_who_comes_under_the_name_of_one_that_was_killed_proves_that_it_is_gone(
    cluster: Cluster,
) -> None:
    """Long before the lease is over."""
    agent = cluster.agent("--name", "web-0")
    async with system_with_events(cluster.topology(lease=100.0)) as (system, events):
        counter = await system.spawn(Counter, 10, on="far/0")
        agent.kill()
        again = cluster.agent("--name", "web-0")
        await eventually(lambda: kinds(events, "place_lost"), within=30)
        ((_, lost),) = kinds(events, "place_lost")
        assert lost["by"] == "engine join"
        assert "another agent has come as 'web-0'" in lost["why"]
        assert await counter.ask(Counter.add, 1) == 11
        assert place_of(system, "far/0").pid == again.pid


async def test_who_comes_under_the_name_of_one_that_lives_is_refused(cluster: Cluster) -> None:
    agent = cluster.agent("--name", "web-0")
    async with system_with_events(cluster.topology()) as (system, events):
        before = place_of(system, "far/0").key
        second = cluster.agent("--name", "web-0")
        assert await second.ended() == 78
        (refused,) = second.records("agent refused")
        assert (
            f"agent 'web-0' lives, on {os.uname().nodename} with pid {agent.pid}" in refused["why"]
        )
        ((_, told),) = kinds(events, "agent_refused")
        assert (told["agent"], told["why"]) == ("web-0", refused["why"])
        assert place_of(system, "far/0").key == before


async def test_who_comes_under_the_name_of_one_that_is_stopped_proves_that_it_is_gone(
    cluster: Cluster,
) -> None:
    """It does not answer for a third of the lease; when it goes on it finds its name taken."""
    agent = cluster.agent("--name", "web-0")
    async with system_with_events(cluster.topology(lease=6.0)) as (system, events):
        counter = await system.spawn(Counter, 10, on="far/0")
        pid = await counter.ask(Counter.pid)
        os.kill(agent.pid, signal.SIGSTOP)
        try:
            again = cluster.agent("--name", "web-0")
            await eventually(lambda: kinds(events, "place_lost"), within=30)
            ((_, lost),) = kinds(events, "place_lost")
            assert "another agent has come as 'web-0', which is one at a time" in lost["why"]
            assert await counter.ask(Counter.add, 1) == 11
            assert place_of(system, "far/0").pid == again.pid
            await eventually(lambda: not alive(pid), within=20)
        finally:
            os.kill(agent.pid, signal.SIGCONT)
        assert await agent.ended() == 78
        assert f"agent 'web-0' lives, on {os.uname().nodename} with pid {again.pid}" in agent.output


async def test_nodes_are_reached_at_the_address_that_their_agent_was_given(
    cluster: Cluster,
) -> None:
    addresses = {
        cluster.agent("--address", f"127.0.0.{last}").pid: f"127.0.0.{last}" for last in (2, 3)
    }
    async with system_with_events(cluster.topology(nodes("far", count=2, engine="join"))) as (
        system,
        _,
    ):
        counters = [await system.spawn(Counter, on=f"far/{slot}") for slot in (0, 1)]
        await counters[0].ask(Counter.ask_other, counters[1], 1)
        await counters[1].ask(Counter.ask_other, counters[0], 1)
        found = set()
        for slot, counter in enumerate(counters):
            own = addresses[place_of(system, f"far/{slot}").pid]
            sockets = psutil.Process(await counter.ask(Counter.pid)).net_connections("tcp")
            listening = {one.laddr.ip for one in sockets if one.status == psutil.CONN_LISTEN}
            assert listening <= {own}
            found |= listening
        assert found, "one of the two listens for the other"


async def test_agents_stay_when_their_parent_ends_and_join_the_next_one(cluster: Cluster) -> None:
    agent = cluster.agent()
    for turn in range(1, 3):
        async with system_with_events(cluster.topology()) as (system, _):
            counter = await system.spawn(Counter, on="far/0")
            assert await counter.ask(Counter.add, turn) == turn
            pid = await counter.ask(Counter.pid)
            assert place_of(system, "far/0").pid == agent.pid
        await agent.said("agent left", count=turn)
        assert not alive(pid)
    agent.process.terminate()
    assert await agent.ended() == 0


async def test_an_agent_whose_connection_was_reset_has_ended_its_nodes_and_comes_again(
    cluster: Cluster,
) -> None:
    agent = cluster.agent()
    async with system_with_events(cluster.topology(lease=100.0)) as (system, events):
        counter = await system.spawn(Counter, 10, on="far/0")
        place: Any = place_of(system, "far/0")
        place._line._session.close()  # as a device on the way does it
        await eventually(lambda: kinds(events, "place_lost"), within=30)
        ((_, lost),) = kinds(events, "place_lost")
        assert "has ended its nodes, and has come again" in lost["why"]
        assert await counter.ask(Counter.add, 1) == 11
        assert place_of(system, "far/0").pid == agent.pid


async def test_sigterm_lets_the_nodes_finish_and_exits_0(cluster: Cluster) -> None:
    agent = cluster.agent()
    async with system_with_events(cluster.topology()) as (system, events):
        counter = await system.spawn(Counter, on="far/0")
        await counter.tell(Counter.wait, 0.3)
        answer = await counter.ask(Counter.add, 5)
        agent.process.terminate()
        assert await agent.ended() == 0
        assert answer == 5
        spare = cluster.agent()
        assert await counter.ask(Counter.add, 1) == 1
        assert place_of(system, "far/0").pid == spare.pid
        assert kinds(events, "node_replaced")
        assert not kinds(events, "node_died", "place_lost")


async def test_sigterm_ends_an_agent_whose_parents_own_code_keeps_it_from_ending_the_nodes(
    cluster: Cluster,
) -> None:
    """The thread that grants leases goes on; nobody would ever tell the nodes to end."""
    agent = cluster.agent()
    short = nodes("far", engine="join", shutdown=0.5)
    async with system_with_events(cluster.topology(short)) as (system, events):
        counter = await system.spawn(Counter, on="far/0")
        pid = await counter.ask(Counter.pid)
        agent.process.terminate()
        assert agent.process.wait(timeout=60) == 0  # keeps the loop
        assert not alive(pid)
        await eventually(lambda: kinds(events, "place_left"), within=20)
        after = cluster.agent()
        assert await counter.ask(Counter.add, 1) == 1
        assert place_of(system, "far/0").pid == after.pid


async def test_a_node_waits_for_an_agent_and_says_for_what_and_since_when(cluster: Cluster) -> None:
    agent = cluster.agent("--label", "pool=gpu")
    wanted = nodes("far", engine="join", on={"labels": {"pool": "gpu"}})
    async with system_with_events(cluster.topology(wanted)) as (system, events):
        agent.process.terminate()
        assert await agent.ended() == 0
        await eventually(lambda: kinds(events, "place_waits"), within=20)
        ((_, waits),) = kinds(events, "place_waits")
        assert (waits["place"], waits["for"]) == ("far@0", "an agent with pool=gpu")
        facts = await ps(coordinator_of(system))
        (node,) = facts["nodes"]
        assert node["state"] == "WAITING"
        assert "far/0 waits for an agent with pool=gpu since " in as_status(facts)
        cluster.agent("--label", "pool=gpu")
        await eventually(lambda: coordinator_of(system).nodes["far/0"].ready, within=30)


async def test_a_wrong_secret_is_refused_and_told_on_both_sides(cluster: Cluster) -> None:
    wrong = cluster.secret_file("wrong", "a secret that nobody else has")
    cluster.agent()
    async with system_with_events(cluster.topology()) as (_, events):
        agent = cluster.agent("--secret-file", str(wrong))
        assert await agent.ended() == 78
        (refused,) = agent.records("agent refused")
        assert refused["why"] == (
            f"127.0.0.1:{cluster.port} did not let us in: it has another join secret, or none "
            f"(--secret-file={str(wrong)!r})"
        )
        await eventually(lambda: kinds(events, "strangers_turned_away"), within=10)
        ((_, told),) = kinds(events, "strangers_turned_away")
        assert told["why"] == "it wants to join, and its secret is another one"


async def test_kill_9_of_a_node_is_told_and_its_agent_starts_it_again(cluster: Cluster) -> None:
    agent = cluster.agent()
    async with system_with_events(cluster.topology()) as (system, events):
        counter = await system.spawn(Counter, on="far/0")
        with pytest.raises(NodeDown, match="killed by SIGKILL"):
            await counter.ask(Counter.kill_process)
        assert await counter.ask(Counter.add, 2) == 2
        assert place_of(system, "far/0").pid == agent.pid
        assert not kinds(events, "place_lost")


async def test_so_many_nodes_share_an_agent_as_the_group_says(cluster: Cluster) -> None:
    cluster.agent()
    cluster.agent()
    wanted = nodes("far", count=4, engine="join", on={"nodes_per_agent": 2})
    async with system_with_events(cluster.topology(wanted)) as (system, _):
        places = [place_of(system, f"far/{slot}").pid for slot in range(4)]
        assert places[0] == places[1] != places[2] == places[3]


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_probes_are_told_when_its_nodes_are_ready_and_from_draining_on_that_they_are_not(
    cluster: Cluster,
) -> None:
    port = free_port()
    agent = cluster.agent("--health", f"127.0.0.1:{port}")
    await agent.said("agent waits")
    assert await probe(port, "live") == (200, "alive\n")
    assert await probe(port, "ready") == (503, "no parent has given it a place yet\n")
    async with system_with_events(cluster.topology()) as (system, _):
        counter = await system.spawn(Counter, on="far/0")
        await eventually(partial(is_ready, port), within=20)
        busy = await system.spawn(Counter, on="far/0")
        await busy.tell(Counter.wait, 2.0)
        await counter.ask(Counter.add, 1)
        agent.process.terminate()
        await agent.said("agent joined")
        assert await probe(port, "ready") == (503, "place far@0 is draining\n")
        assert await agent.ended() == 0


async def test_a_second_system_cannot_have_the_address_of_the_first(cluster: Cluster) -> None:
    cluster.agent()
    async with system_with_events(cluster.topology()):
        with pytest.raises(InvalidSpec, match=f"cannot listen on 127.0.0.1:{cluster.port}: "):
            async with system_with_events(cluster.topology()):
                raise AssertionError("it started")


async def test_kill_9_of_the_parent_ends_its_nodes_and_the_next_one_gets_the_agents(
    cluster: Cluster, tmp_path: Path
) -> None:
    agent = cluster.agent()
    source = f"""
        import anyio, os, sys
        from actors import System, Topology, nodes, run
        from tests.machines.far_actors import Counter

        async def main():
            group = nodes("far", engine="join")
            options = {{"reach": "127.0.0.1:{cluster.port}", "join_secret": "{cluster.secret}"}}
            async with System(Topology(nodes=[group], **options)) as system:
                counter = await system.spawn(Counter, on="far/0")
                print(await counter.ask(Counter.pid), flush=True)
                await anyio.sleep_forever()

        run(main)
    """
    parent = start(tmp_path / "parent.py", source)
    try:
        assert parent.stdout is not None
        pid = int(await anyio.to_thread.run_sync(parent.stdout.readline))
        assert alive(pid)
    finally:
        parent.kill()
        parent.communicate()
    await agent.said("agent left")
    assert not alive(pid)
    async with system_with_events(cluster.topology()) as (system, _):
        assert place_of(system, "far/0").pid == agent.pid


async def test_an_agent_of_another_release_is_refused_when_it_comes_and_both_releases_are_told(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACTORS_RELEASE", "1.4")
    cluster.agent(ACTORS_RELEASE="1.4")
    async with system_with_events(cluster.topology()) as (system, events):
        (place,) = (await ps(coordinator_of(system)))["places"]
        assert place["release"] == "1.4"
        other = cluster.agent(ACTORS_RELEASE="1.5")
        assert await other.ended() == 78
        why = "its agent has ACTORS_RELEASE='1.5', and this process has '1.4'"
        assert other.records("agent refused")[-1]["why"] == why
        ((_, told),) = kinds(events, "agent_refused")
        assert told["why"] == why


async def test_while_a_place_is_ended_in_order_an_agent_of_another_release_may_come(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It belongs to the system from then on."""
    monkeypatch.setenv("ACTORS_RELEASE", "1.4")
    agent = cluster.agent(ACTORS_RELEASE="1.4")
    async with system_with_events(cluster.topology()) as (system, events):
        agent.process.terminate()
        await eventually(lambda: kinds(events, "place_leaving"), within=20)
        newer = cluster.agent(ACTORS_RELEASE="1.5")
        await newer.said("agent joined")
        await eventually(lambda: coordinator_of(system).nodes["far/0"].ready, within=30)
        cluster.agent(ACTORS_RELEASE="1.5")
        await eventually(lambda: kinds(events, "agent_spare"), within=30)
        assert not kinds(events, "agent_refused", "place_failed")


async def test_a_node_that_is_not_wanted_any_more_waits_for_no_agent(cluster: Cluster) -> None:
    """The next agent is a spare, for others."""
    cluster.agent()
    async with system_with_events(cluster.topology()) as (system, events):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(system.scale, "far", 2)
            await eventually(lambda: kinds(events, "place_waits"), within=20)
            tasks.cancel_scope.cancel()
        await system.scale("far", 1)
        spare = cluster.agent()
        await eventually(lambda: kinds(events, "agent_spare"), within=20)
        assert not spare.records("agent joined")


@pytest.mark.parametrize("files", [(), ("other",)], ids=["without", "of another authority"])
async def test_with_an_authority_of_their_own_agents_need_a_certificate_of_it(
    cluster: Cluster, files: tuple[str, ...]
) -> None:
    authority = Authority.new()
    mine, theirs = written(cluster, "mine", authority), written(cluster, "agent", authority)
    tls = {**dict(zip(("ca", "certificate", "key"), mine, strict=True)), "server": authority.server}
    agent = cluster.agent(*tls_words(theirs, authority.server))
    async with system_with_events(cluster.topology(tls=tls)) as (system, _):
        counter = await system.spawn(Counter, on="far/0")
        assert await counter.ask(Counter.add, 2) == 2
        assert place_of(system, "far/0").pid == agent.pid
        others = [written(cluster, name, Authority.new()) for name in files]
        words = tls_words(others[0], authority.server) if others else ()
        stranger = cluster.agent(*words)
        why = "certificate verify failed" if others else "certificate required"
        await eventually(
            lambda: any(why in record["why"] for record in stranger.records("agent waits")),
            within=30,
        )
        assert not stranger.records("agent joined")


GOOD: dict[str, Any] = {
    **identity(),
    "name": "x",
    "unique": True,
    "instance": "i",
    "labels": {},
    "machine": "m",
    "pid": 1,
}
ODD: list[dict[str, Any]] = [
    {},
    {"name": ""},
    {"name": 5},
    {"name": "x" * 300},
    {"name": "x\x1b[2J"},
    {"machine": "m\n"},
    {"instance": ""},
    {"labels": None},
    {"labels": [1]},
    {"labels": {"a": 5}},
    {"labels": {"a": "\n"}},
    {"labels": {str(number): "v" for number in range(40)}},
    {"pid": "1"},
    {"pid": True},
    {"machine": {}},
    {"release": ["1"]},
    {"wire": {}},
]


async def test_who_has_the_secret_and_says_odd_things_is_refused_and_costs_nothing(
    cluster: Cluster,
) -> None:
    cluster.agent()
    async with system_with_events(cluster.topology()) as (system, events):
        secret = JoinSecret.from_file(cluster.secret)
        for odd in ODD:
            said = {} if not odd else {**GOOD, **odd}
            session = await dial_to_join(("127.0.0.1", cluster.port), None, secret, said)
            answer = await all_of(session)
            session.close()
            assert b'"refused"' in answer, odd
        assert len(kinds(events, "agent_refused")) == len(ODD)
        for rest in (b"", b"\xff" * 4, (5).to_bytes(4, "little") + b"[1,2]", b"\0" * 4):
            session = await dial_to_join(("127.0.0.1", cluster.port), None, secret, GOOD)
            if rest:
                session.send(rest)
            session.close()
        counter = await system.spawn(Counter, on="far/0")
        assert await counter.ask(Counter.add, 2) == 2


async def test_nothing_is_kept_of_agents_that_have_gone(cluster: Cluster) -> None:
    cluster.agent()
    async with system_with_events(cluster.topology()) as (_, events):
        before = count_of(ControlLine)
        secret = JoinSecret.from_file(cluster.secret)
        for _ in range(5):
            session = await dial_to_join(("127.0.0.1", cluster.port), None, secret, GOOD)
            session.close()
        await eventually(lambda: len(kinds(events, "agent_gone")) == 5)
        await eventually(lambda: count_of(ControlLine) == before)


def count_of(kind: type) -> int:
    """Return how many objects there are of a class."""
    gc.collect()
    return sum(type(found) is kind for found in gc.get_objects())


NO_LEASE = """
import os, sys
real = os.eventfd

def eventfd(*given):
    if sys._getframe(1).f_globals["__name__"] == "actors.machines.lease_asker":
        raise OSError(24, "Too many open files")
    return real(*given)

os.eventfd = eventfd
"""


async def test_an_agent_that_can_hold_no_lease_says_so_and_its_place_is_another_ones(
    cluster: Cluster,
) -> None:
    (cluster.folder / "sitecustomize.py").write_text(NO_LEASE)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_start_on_another, cluster)
        agent = cluster.agent(PYTHONPATH=str(cluster.folder))
        left = await agent.said("agent left")
        assert left["why"] == "it can hold no lease: [Errno 24] Too many open files"
        agent.kill()
        cluster.agent()


async def _start_on_another(cluster: Cluster) -> None:
    async with system_with_events(cluster.topology()) as (system, _):
        counter = await system.spawn(Counter, on="far/0")
        assert await counter.ask(Counter.add, 2) == 2


async def all_of(session: TlsSession) -> bytes:
    """Read a session to its end."""
    data, room = b"", memoryview(bytearray(1000))
    while True:
        await anyio.wait_readable(session)
        try:
            size = session.recv_into(room)
        except BlockingIOError:
            continue
        if not size:
            return data
        data += room[:size]


def written(cluster: Cluster, name: str, authority: Authority) -> list[Path]:
    """Write a certificate of an authority into files."""
    made = authority.issue(name)
    paths = [cluster.folder / f"{name}.{part}" for part in ("ca", "pem", "key")]
    for path, text in zip(paths, (made.ca, made.certificate, made.key), strict=True):
        path.write_text(text)
        path.chmod(0o600)
    return paths


def tls_words(files: list[Path], server: str) -> tuple[str, ...]:
    ca, certificate, key = map(str, files)
    words = ("--ca", ca, "--certificate", certificate, "--key", key)
    return (*words, "--server-name", server)


async def probe(port: int, what: str) -> tuple[int, str]:
    async with await anyio.connect_tcp("127.0.0.1", port) as stream:
        await stream.send(f"GET /{what} HTTP/1.1\r\n\r\n".encode())
        answer = b"".join([part async for part in stream]).decode()
    return int(answer.split(" ", 2)[1]), answer.partition("\r\n\r\n")[2]


async def is_ready(port: int) -> bool:
    return (await probe(port, "ready"))[0] == 200
