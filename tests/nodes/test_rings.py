"""Processes that talk much go on through rings in shared memory; all that holds of links holds of them."""

from __future__ import annotations

import os
import random
import signal
from pathlib import Path
from typing import Any

import anyio
import pytest

from actors import Actor, NodeDown, Ref, System, Topology, nodes
from actors._extensions import not_loaded
from actors._system.system import coordinator_of
from actors.testing import Probe, Recorder, eventually, running_system
from actors.transport.channels import inbound_ring, spin
from actors.transport.channels.ring_extension import RING
from actors.transport.channels.spin import Spin
from tests.nodes.node_actors import Victim

pytestmark = [
    pytest.mark.within(30),
    pytest.mark.skipif(RING is None, reason=not_loaded()),
    pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="a ring takes two CPUs"),
]

_AT = 30
_BOTH_WAYS = 2
"""Rings of a process for each one that it talks to."""


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACTORS_RING_AT", str(_AT))


class Talker(Actor):
    """Talks to an actor of another node."""

    async def talk(self, victim: Ref[Victim], asks: int) -> None:
        for n in range(asks):
            await victim.ask(Victim.note, n)

    async def pid(self) -> int:
        return os.getpid()

    async def say_and_die(self, probe: Ref[Recorder], words: int) -> None:
        for n in range(words):
            await probe.tell(Recorder.record, n)
        await anyio.sleep(0.01)  # it is written at the end of the loop's turn
        os.kill(os.getpid(), signal.SIGKILL)


def rings(pid: int) -> int:
    """How many rings a process has mapped."""
    lines = Path(f"/proc/{pid}/maps").read_text(encoding="ascii").splitlines()
    spans = [line.split()[0].split("-") for line in lines if "memfd:actors" in line]
    return sum(int(end, 16) - int(start, 16) == RING.SIZE for start, end in spans)


async def has_rings(pid: int) -> None:
    await eventually(lambda: rings(pid) == _BOTH_WAYS)


def cpu_seconds(pid: int) -> float:
    """What all threads of a process have used of the CPUs."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text("ascii").split()[0]) for task in tasks) / 1e9


class AlwaysPays(Spin):
    """What the machine does besides is no part of the test."""

    @property
    def pays(self) -> bool:
        return True


class Looker(Victim):
    async def look_always(self) -> None:
        """Look on after each message, in this process, whatever the machine does besides."""
        Spin.pays = property(lambda _spin: True)  # type: ignore[method-assign,assignment]


def channel_to(system: System, node: str) -> Any:
    host = coordinator_of(system).host
    [channel] = [
        peer.link._channel for peer in host.peers.values() if peer.node == node and peer.link
    ]
    return channel


async def test_a_pair_of_processes_gets_a_ring_each_way_when_it_talks_much() -> None:
    before = rings(os.getpid())
    async with running_system(Topology(nodes=[nodes("web", count=2)])) as system:
        first, second = [await system.spawn(Victim, on=f"web/{slot}") for slot in range(2)]
        pids = [await victim.ask(Victim.pid) for victim in (first, second)]
        assert [rings(pid) for pid in pids] == [0, 0]

        for n in range(_AT):
            await first.ask(Victim.note, n)
        await has_rings(pids[0])
        assert rings(pids[1]) == 0

        talker = await system.spawn(Talker, on="web/0")
        await talker.ask(Talker.talk, second, _AT)
        await eventually(lambda: rings(pids[1]) >= _BOTH_WAYS)
        assert await second.ask(Victim.logged) == list(range(_AT))
    assert rings(os.getpid()) == before


async def test_messages_go_through_the_ring_in_order_while_the_reader_looks() -> None:
    async with running_system(Topology(nodes=[nodes("web")])) as system:
        victim = await system.spawn(Looker, on="web")
        await victim.ask(Looker.look_always)
        sent = 0
        while channel_to(system, "web/0").stats().ring_frames_sent < 10:
            # More than one frame each time: the first one wakes the reader, the others go through the ring.
            for _ in range(40):
                await victim.tell(Victim.note, (sent, "x" * 4000))
                sent += 1
            await victim.ask(Victim.pid)
        assert [number for number, _ in await victim.ask(Victim.logged)] == list(range(sent))


async def test_every_ask_is_answered_whenever_the_other_process_falls_asleep() -> None:
    chance = random.Random(7)
    async with running_system(Topology(nodes=[nodes("web")])) as system:
        victim = await system.spawn(Victim, on="web")
        for n in range(600):
            await victim.ask(Victim.note, n)
            if n % 3 == 0:
                await anyio.sleep(chance.random() * 200e-6)
        assert await victim.ask(Victim.logged) == list(range(600))


async def test_what_was_written_to_the_ring_is_read_before_the_death_of_its_writer_counts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for length in ("WINDOW", "TRIAL"):
        monkeypatch.setattr(spin, length, 3600 * 10**9)
    words = 300
    async with running_system(Topology(nodes=[nodes("web")])) as system:
        probe = await Probe.start(system)
        talker = await system.spawn(Talker, on="web")
        for _ in range(_AT):
            await talker.ask(Talker.pid)
        channel = channel_to(system, "web/0")
        await eventually(lambda: channel.rings.inbound is not None)
        channel.rings.inbound.spin = AlwaysPays(lambda: 0)
        for _ in range(_AT):
            await talker.ask(Talker.pid)
        before = channel.stats().ring_frames_received

        # From here on this end does not look: it finds what was written only when the other one has died.
        monkeypatch.setattr(inbound_ring.InboundRing, "_look", lambda _: None)
        with pytest.raises(NodeDown, match="killed by SIGKILL"):
            await talker.ask(Talker.say_and_die, probe.ref, words)
        await eventually(lambda: len(probe.heard) == words)
        assert probe.heard == list(range(words))
        assert channel.stats().ring_frames_received > before


async def test_on_one_cpu_there_is_no_ring() -> None:
    cpus = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cpus)})
    try:
        async with running_system(Topology(nodes=[nodes("web")])) as system:
            victim = await system.spawn(Victim, on="web")
            for n in range(4 * _AT):
                await victim.ask(Victim.note, n)
            assert rings(await victim.ask(Victim.pid)) == 0
    finally:
        os.sched_setaffinity(0, cpus)


async def test_processes_that_have_talked_and_are_idle_use_no_cpu() -> None:
    async with running_system(Topology(nodes=[nodes("web")])) as system:
        victim = await system.spawn(Victim, on="web")
        for n in range(10 * _AT):
            await victim.ask(Victim.note, n)
        pids = await victim.ask(Victim.pid), os.getpid()
        assert rings(pids[0]) == _BOTH_WAYS
        before = [cpu_seconds(pid) for pid in pids]
        await anyio.sleep(0.5)
        used = [cpu_seconds(pid) - start for pid, start in zip(pids, before, strict=True)]
        assert max(used) < 0.1, "a reader that never sleeps takes all of it"


async def test_a_renewed_node_has_a_new_ring() -> None:
    async with running_system(Topology(nodes=[nodes("web")])) as system:
        victim = await system.spawn(Victim, on="web")
        pids = set()
        for _ in range(2):
            for n in range(2 * _AT):
                await victim.ask(Victim.note, n)
            pid = await victim.ask(Victim.pid)
            await has_rings(pid)
            pids.add(pid)
            await system.reload("web")
        assert len(pids) == 2
        assert rings(os.getpid()) <= _BOTH_WAYS
