"""Supervisors that end when their significant children have: section D of the cases."""

from __future__ import annotations

import anyio
import pytest

from actors.supervisors import AutoShutdown, Budget, Exit, Restart, Strategy, Supervisor
from tests.supervisors.world import World, settle

ENDS = [Exit.NORMAL, Exit.KILLED, Exit.CRASHED(ValueError("bad"))]
ANY, ALL = AutoShutdown.ANY_SIGNIFICANT, AutoShutdown.ALL_SIGNIFICANT


async def _three(world: World, auto: AutoShutdown, restart: Restart) -> Supervisor:
    """Two significant children, 1 and 2, and a third that is not."""
    significant = auto is not AutoShutdown.NEVER
    return await world.supervisor(
        world.kit.spec("1", restart=restart, significant=significant),
        world.kit.spec("2", restart=restart, significant=significant),
        world.kit.spec("3", restart=restart),
        auto_shutdown=auto,
        budget=Budget(10, 3600),
    )


@pytest.mark.parametrize("exit_", ENDS, ids=str)
async def test_c27_any_significant_end_is_the_end(world: World, exit_: Exit) -> None:
    sup = await _three(world, ANY, Restart.TEMPORARY)

    await sup.stop_child("1")
    await anyio.sleep(1)
    assert sup.count().active == 2
    world.kit.run("2").end(exit_)

    assert await sup.wait() == Exit.SHUTDOWN
    assert world.kit.alive() == []
    assert {name: len(ends) for name, ends in world.kit.gone.items()} == {"1": 1, "2": 1, "3": 1}


@pytest.mark.parametrize("exit_", ENDS, ids=str)
async def test_c27_all_significant_ends_are_the_end(world: World, exit_: Exit) -> None:
    sup = await _three(world, ALL, Restart.TEMPORARY)

    world.kit.run("1").end(exit_)
    await anyio.sleep(1)
    assert sup.count().active == 2
    world.kit.run("2").end(exit_)

    assert await sup.wait() == Exit.SHUTDOWN
    assert world.kit.alive() == []


@pytest.mark.parametrize("auto", [ANY, ALL])
async def test_c28_a_transient_child_that_is_restarted_does_not_count(
    world: World, auto: AutoShutdown
) -> None:
    sup = await _three(world, auto, Restart.TRANSIENT)

    for exit_ in ENDS[1:]:
        for name in "12":
            world.kit.run(name).end(exit_)
            await settle()
    assert sup.count().active == 3
    for name in "12":
        world.kit.run(name).end(Exit.NORMAL)

    assert await sup.wait() == Exit.SHUTDOWN


@pytest.mark.parametrize("exit_", ENDS, ids=str)
@pytest.mark.parametrize("auto", list(AutoShutdown))
async def test_c28_children_that_are_not_significant_never_count(
    world: World, auto: AutoShutdown, exit_: Exit
) -> None:
    sup = await _three(world, auto, Restart.TEMPORARY)

    world.kit.run("3").end(exit_)
    await anyio.sleep(1)

    assert sup.count().active == 2


@pytest.mark.parametrize("auto", [ANY, ALL])
@pytest.mark.parametrize("strategy", list(Strategy))
async def test_c29_children_stopped_with_a_sibling_do_not_count(
    world: World, strategy: Strategy, auto: AutoShutdown
) -> None:
    kit = world.kit
    sup = await world.supervisor(
        kit.spec("1"),
        kit.spec("2", restart=Restart.TEMPORARY, significant=True),
        strategy=strategy,
        auto_shutdown=auto,
    )

    kit.run("1").crash()
    await anyio.sleep(1)

    assert sup.count().active == (2 if strategy is Strategy.ONE_FOR_ONE else 1)
