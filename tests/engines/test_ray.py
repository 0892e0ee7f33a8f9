"""What Ray may lose: a machine, and its head; and what is refused in its words."""

from __future__ import annotations

import os
import sys
from typing import Any

import psutil
import pytest

from actors import System, Topology, nodes
from actors.errors import BootFailed, InvalidSpec
from actors.testing import eventually
from tests.engines.ray_cluster import ray_cluster
from tests.machines.far_actors import Counter
from tests.machines.places_of_a_test import alive, kinds, place_of, system_with_events

pytestmark = [pytest.mark.within(200), pytest.mark.timeout(260)]
LEASE = 2.0


def far(**options: Any) -> Topology:
    group = nodes("far", engine="ray", boot_timeout=60, **options)
    return Topology(nodes=[group], patience=100.0, lease=LEASE)


@pytest.mark.skipif("ray" in sys.modules, reason="Ray is installed here")
async def test_without_ray_there_is_one_error_that_names_the_extra(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(InvalidSpec, match=r"pip install 'actors-framework\[ray\]'"):
        async with System(far()):
            raise AssertionError("it started")


@pytest.mark.parametrize(
    "on, text",
    [
        ({"GPUS": 1}, "on takes CPU, GPU, .* got 'GPUS'; did you mean 'GPU'"),
        ({"GPU": 1, "num_gpus": 1}, "on has 'GPU' and 'num_gpus', which are the same"),
        ({"max_restarts": 3}, "on takes .* got 'max_restarts'"),
        ({"resources": {"a": object()}}, "on must be what JSON has: .*object"),
    ],
)
async def test_words_that_are_not_rays_are_refused(
    monkeypatch: pytest.MonkeyPatch, on: dict[str, Any], text: str
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: True)
    with pytest.raises(InvalidSpec, match=text):
        async with System(far(on=on)):
            raise AssertionError("it started")


@pytest.mark.soak
@pytest.mark.parametrize(
    "on, text",
    [
        ({"GPU": "one"}, "num_gpus"),
        ({"resources": {"disk": -1}}, "disk cannot be negative"),
        ({"resources": {"CPU": 1}}, "Use the 'num_cpus' and 'num_gpus' keyword"),
    ],
)
async def test_what_ray_refuses_is_told_in_its_words(on: dict[str, Any], text: str) -> None:
    pytest.importorskip("ray", reason="Ray is not installed: make soak installs it")
    with pytest.raises(InvalidSpec, match=text):
        async with System(far(on=on)):
            raise AssertionError("it started")


@pytest.mark.soak
async def test_a_place_is_where_its_resources_are() -> None:
    with ray_cluster() as cluster:
        machine = cluster.add_machine(disk=1)
        topology = far(on={"resources": {"disk": 0.5}}, count=2)
        async with system_with_events(topology) as (system, _):
            pids = [place_of(system, f"far/{slot}").pid for slot in range(2)]
            assert len(set(pids)) == 2
            parents = {psutil.Process(pid).ppid() for pid in pids}
            assert parents == {machine.all_processes["raylet"][0].process.pid}


@pytest.mark.soak
async def test_a_machine_that_vanishes_is_over_with_its_lease_and_its_place_goes_elsewhere() -> (
    None
):
    with ray_cluster() as cluster:
        first = cluster.add_machine(disk=1)
        topology = far(on={"resources": {"disk": 0.5}, "num_cpus": 0})
        async with system_with_events(topology) as (system, events):
            counter = await system.spawn(Counter, on="far/0")
            pid, agent = await counter.ask(Counter.pid), place_of(system, "far/0").pid
            os.kill(agent, 19)  # SIGSTOP: it is as unreachable as its machine
            cluster.kill_machine(first)
            await eventually(lambda: kinds(events, "place_lost"), within=20)
            assert not alive(pid)
            ((_, lost),) = kinds(events, "place_lost")
            assert lost["by"] == "its lease"
            cluster.add_machine(disk=1)
            assert await counter.ask(Counter.add, 1) == 1
            if alive(agent):
                os.kill(agent, 9)


@pytest.mark.soak
async def test_a_head_that_vanishes_ends_the_process_that_speaks_to_ray_and_not_the_system() -> (
    None
):
    with ray_cluster() as cluster:
        async with system_with_events(far(on={"num_cpus": 0})) as (system, events):
            here = await system.spawn(Counter)
            counter = await system.spawn(Counter, on="far/0")
            engine: Any = place_of(system, "far/0")._engine
            cluster.kill_head()
            assert await counter.ask(Counter.add, 1) == 1, "nobody needs the head for a message"
            # Ray ends its own processes when they have missed the head for a minute.
            await eventually(lambda: engine._driver.over, within=120)
            assert await here.ask(Counter.add, 2) == 2
            if not kinds(events, "place_lost"):  # Ray has left the agent its process
                assert await counter.ask(Counter.add, 1) == 2


@pytest.mark.soak
async def test_a_cluster_that_is_not_there_fails_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ray", reason="Ray is not installed: make soak installs it")
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    with pytest.raises(BootFailed, match="engine ray"):
        async with System(far()):
            raise AssertionError("it started")
