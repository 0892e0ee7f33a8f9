"""A folder that comes onto the parent's `sys.path` while nodes run is on theirs, too."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

import anyio
import pytest

from actors import Actor, Ref, Topology, nodes
from actors.testing import eventually, running_system
from tests.nodes.test_who_ended_it import PATIENCE

LATER = """
    from dataclasses import dataclass
    import actors

    @dataclass
    class Point:
        x: int

    def double(x):
        return 2 * x

    class Later(actors.Actor):
        async def point(self) -> Point:
            return Point(7)
"""


class Taker(Actor):
    """Takes anything, also from another node."""

    async def name_of(self, value: object) -> str:
        return type(value).__name__

    async def sends_to(self, other: Ref[Taker], value: object) -> str:
        return await other.ask(Taker.name_of, value)

    async def add_to_path(self, folder: str) -> None:
        sys.path.append(folder)

    async def path(self) -> list[str]:
        return sys.path


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, object]]:
    """One loop: where modules are found is not its business."""
    return "asyncio", {"use_uvloop": True}


@pytest.fixture
def later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Import a module by a path that is set now."""
    source = "\n".join(line[4:] for line in LATER.splitlines())

    def load() -> Any:
        (tmp_path / "later_module.py").write_text(source)
        monkeypatch.syspath_prepend(tmp_path)
        return __import__("later_module")

    yield load
    sys.modules.pop("later_module", None)


@pytest.mark.parametrize("env", [{}, {"LANG": "C"}], ids=["forked", "new"])
async def test_an_actor_class_of_a_folder_that_came_later_starts_on_a_node(
    env: dict[str, str], later: Any
) -> None:
    async with running_system(Topology(nodes=[nodes("web", env=env)])) as system:
        module = later()
        with anyio.fail_after(PATIENCE):
            actor = await system.spawn(module.Later, on="web")
            assert await actor.ask(module.Later.point) == module.Point(7)


async def test_a_value_whose_class_came_later_is_read_by_every_node(later: Any) -> None:
    async with running_system(Topology(nodes=[nodes("web", count=2)])) as system:
        one = await system.spawn(Taker, on="web/0")
        two = await system.spawn(Taker, on="web/1")
        module = later()
        with anyio.fail_after(PATIENCE):
            assert await one.ask(Taker.name_of, module.Point(1)) == "Point"
            assert await one.ask(Taker.sends_to, two, module.Point(1)) == "Point"


async def test_a_function_that_came_later_runs_in_a_pool(later: Any) -> None:
    async with running_system(Topology()) as system:
        with anyio.fail_after(PATIENCE):
            assert await system.offload(abs, -1) == 1
            assert await system.offload(later().double, 21) == 42


async def test_a_node_that_is_restarted_has_the_path_of_that_time(later: Any) -> None:
    async with running_system(Topology(nodes=[nodes("web")])) as system:
        module = later()
        node = next(node for node in system.nodes if node.name == "web/0")
        assert node.pid is not None
        os.kill(node.pid, signal.SIGKILL)
        with anyio.fail_after(PATIENCE):
            await eventually(lambda: node.restarts == 1 and node.ready, PATIENCE)
            actor = await system.spawn(module.Later, on="web")
            assert await actor.ask(module.Later.point) == module.Point(7)


async def test_what_a_node_has_added_itself_comes_behind_the_path_of_its_parent(
    later: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async with running_system(Topology(nodes=[nodes("web")])) as system:
        taker = await system.spawn(Taker, on="web")
        await taker.ask(Taker.add_to_path, "/of/its/own")
        monkeypatch.setattr(sys, "path", [*sys.path, Path("ignored by Python")])
        module = later()
        assert await taker.ask(Taker.name_of, module.Point(1)) == "Point"
        path = await taker.ask(Taker.path)
        assert (path[0], path[-1]) == (str(tmp_path), "/of/its/own")
