"""The engines under test, each with two places on this machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from actors import nodes
from actors._base.loop import Loop
from actors.machines.hosts_engine import HostsEngine
from actors.machines.ray_engine import RayEngine
from actors.nodes import NodesSpec
from tests.engines.ray_cluster import ray_cluster
from tests.engines.stateful_set import StatefulSet


@dataclass(frozen=True)
class EngineUnderTest:
    """An engine, and the words by which it gives a place.

    Attributes:
        name: of the engine.
        make: makes one without a system; None if it cannot be without.
        on: its words for two places.
        on_one: its words for one.
        options: what a system needs for it.
        stays: whether agents outlive their system, as those do that others start.
    """

    name: str
    make: Callable[[Loop], Any] | None
    on: dict[str, Any] = field(default_factory=dict)
    on_one: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    stays: bool = False

    def group(self, count: int = 2, **options: Any) -> NodesSpec:
        """Return a group of nodes, each with a place of its own."""
        return nodes("far", count=count, engine=self.name, on=self.on, **options)


HOSTS = EngineUnderTest("hosts", HostsEngine, on={"hosts": [{}, {}]})
RAY = EngineUnderTest("ray", RayEngine, on={"num_cpus": 0.5}, on_one={"num_cpus": 0.5})


@pytest.fixture(params=["hosts", "join", pytest.param("ray", marks=pytest.mark.soak)])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[EngineUnderTest]:
    if request.param == "hosts":
        yield HOSTS
    elif request.param == "join":
        agents = StatefulSet(tmp_path, 2)
        cluster = agents.cluster
        reach = {"reach": f"127.0.0.1:{cluster.port}", "join_secret": cluster.secret}
        yield EngineUnderTest("join", None, options=reach, stays=True)
        agents.close()
    else:
        with ray_cluster():
            yield RAY


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return "asyncio", {"use_uvloop": True}
