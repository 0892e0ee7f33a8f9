"""The same on uvloop, which has no virtual time: a whole life that needs none."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from actors.supervisors import ExitKind, RestartBudgetExceeded
from tests.supervisors.world import World


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return "asyncio", {"use_uvloop": True}


@pytest.mark.parametrize("dynamic", [False, True])
async def test_a_whole_life_on_uvloop(world: World, dynamic: bool) -> None:
    kit = world.kit
    sup = await (world.dynamic() if dynamic else world.supervisor())

    with anyio.fail_after(5):
        await sup.start_child(kit.spec("a"))
        await sup.start_child(kit.spec("b"))
        for number in (2, 3):
            kit.run("a").crash()
            while len(kit.runs("a")) < number or not kit.run("a").started:
                await anyio.lowlevel.checkpoint()
        await sup.stop_child("b")
        kit.run("a").crash()
        end = await sup.wait()

    assert end.kind is ExitKind.CRASHED
    assert isinstance(end.error, RestartBudgetExceeded)
    assert kit.alive() == []
