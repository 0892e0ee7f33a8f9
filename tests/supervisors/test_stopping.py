"""Stopping at every bad moment."""

from __future__ import annotations

import math

import anyio
import pytest

from actors.supervisors import (
    Backoff,
    ChildSpec,
    ChildState,
    DynamicSupervisor,
    Exit,
    ShutdownOverrun,
    Supervisor,
    SupervisorStopped,
)
from actors.supervisors.testing import Gate, Script, fail_after_first, gated, hanging, stuck, undead
from tests.supervisors.world import World, settle


@pytest.mark.parametrize("verb,end", [("stop", Exit.SHUTDOWN), ("kill", Exit.KILLED)])
async def test_a_stop_during_a_hanging_first_start_works_at_once(
    world: World, verb: str, end: Exit
) -> None:
    kit = world.kit
    sup = Supervisor("sup", [kit.spec("a"), kit.spec("b", hanging())], tasks=world.tasks)

    async def stop_soon() -> None:
        await settle()
        getattr(sup, verb)()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(stop_soon)
        with anyio.fail_after(1), pytest.raises(SupervisorStopped):
            await sup.start()

    assert await sup.wait() == end
    assert kit.alive() == []
    assert "kill b" in kit.story
    assert kit.gone["b"] == [Exit.SHUTDOWN]
    assert len(kit.gone["a"]) == 1


async def test_c67_cancelling_the_start_of_a_supervisor_leaves_nothing(world: World) -> None:
    kit = world.kit
    ends: list[Exit] = []
    sup = Supervisor("sup", [kit.spec("a"), kit.spec("b", hanging())], tasks=world.tasks)

    with anyio.move_on_after(1):
        await sup.start(ends.append)

    assert kit.alive() == []
    assert ends == []
    assert sup.wait is not None
    with anyio.fail_after(0.1):
        await sup.wait()


@pytest.mark.parametrize("dynamic", [False, True])
@pytest.mark.parametrize("verb", ["stop", "kill"])
async def test_a_stop_during_a_hanging_restart_works_at_once(
    world: World, dynamic: bool, verb: str
) -> None:
    kit = world.kit
    gate = Gate()
    gate.open()
    sup = await (world.dynamic() if dynamic else world.supervisor())
    await sup.start_child(kit.spec("a", gated(gate)))
    gate.close()
    kit.run("a").crash()
    await gate.waiting.wait()
    assert [info.state for info in sup.children()] == [ChildState.STARTING]

    getattr(sup, verb)()

    with anyio.fail_after(0.1):
        await sup.wait()
    assert kit.gone["a"] == [Exit.SHUTDOWN]
    assert kit.alive() == []


@pytest.mark.parametrize("dynamic", [False, True])
async def test_a_kill_while_start_child_hangs_works_at_once(world: World, dynamic: bool) -> None:
    kit = world.kit
    sup = await (world.dynamic() if dynamic else world.supervisor())

    async def kill_soon() -> None:
        await settle()
        sup.kill()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(kill_soon)
        with anyio.fail_after(1), pytest.raises(SupervisorStopped):
            await sup.start_child(kit.spec("a", hanging()))

    assert await sup.wait() == Exit.KILLED
    assert kit.gone["a"] == [Exit.SHUTDOWN]


async def test_a_start_that_survives_its_kill_does_not_keep_a_dynamic_supervisor(
    world: World,
) -> None:
    kit = world.kit
    dyn = await world.dynamic()
    script = Script(start=hanging().start, on_kill=None)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(dyn.start_child, kit.spec("a", script))
        await settle()
        dyn.stop()
        with anyio.fail_after(6):
            assert await dyn.wait() == Exit.SHUTDOWN
        tasks.cancel_scope.cancel()

    assert kit.gone["a"] == [Exit.ABANDONED]


@pytest.mark.parametrize("dynamic", [False, True])
async def test_a_stop_while_start_child_hangs_works_at_once(world: World, dynamic: bool) -> None:
    kit = world.kit
    sup = await (world.dynamic() if dynamic else world.supervisor())
    gate = Gate()

    class Killable:
        """Its start ends when it is killed, as the protocol says."""

        async def start(self, ended: object) -> None:
            assert callable(ended)
            await gate(kit.run("x"))

        def kill(self) -> None:
            gate.open(RuntimeError("killed"))

        def stop(self) -> None: ...

        async def wait(self) -> Exit:
            return Exit.KILLED

    await sup.start_child(kit.spec("x"))
    spec = ChildSpec(name="a", start=Killable, gone=kit.spec("a").gone)

    async def stop_soon() -> None:
        await gate.waiting.wait()
        sup.stop()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(stop_soon)
        with anyio.fail_after(1), pytest.raises(SupervisorStopped):
            await sup.start_child(spec)

    assert await sup.wait() == Exit.SHUTDOWN
    assert kit.gone["a"] == [Exit.SHUTDOWN]


@pytest.mark.parametrize("dynamic", [False, True])
async def test_a_stop_during_a_backoff_works_at_once(world: World, dynamic: bool) -> None:
    kit = world.kit
    sup = await (world.dynamic() if dynamic else world.supervisor())
    spec = kit.spec("a", fail_after_first(ValueError()), backoff=Backoff(first=30))
    await sup.start_child(spec)
    kit.run("a").crash()
    await anyio.sleep(1)
    (info,) = sup.children()
    assert info.state is ChildState.BACKING_OFF
    assert info.due == pytest.approx(anyio.current_time() + 29)

    sup.stop()

    with anyio.fail_after(0.1):
        assert await sup.wait() == Exit.SHUTDOWN
    assert kit.gone["a"] == [Exit.SHUTDOWN]


@pytest.mark.parametrize("dynamic", [False, True])
async def test_a_stop_during_an_endless_restart_loop_works_at_once(
    world: World, dynamic: bool
) -> None:
    kit = world.kit
    sup = await (world.dynamic() if dynamic else world.supervisor())
    await sup.start_child(kit.spec("a", fail_after_first(ValueError()), backoff=Backoff(first=0)))
    kit.run("a").crash()
    for _ in range(50):
        await anyio.lowlevel.checkpoint()
    assert len(kit.runs("a")) > 10

    sup.stop()

    with anyio.fail_after(0.1):
        assert await sup.wait() == Exit.SHUTDOWN
    assert kit.gone["a"] == [Exit.SHUTDOWN]


async def test_a_supervisor_stopped_before_its_start_never_starts(world: World) -> None:
    sup = Supervisor("sup", [world.kit.spec("a")], tasks=world.tasks, shutdown_deadline=1)
    sup.stop()

    with pytest.raises(SupervisorStopped):
        await sup.start()
    assert world.kit.story == []
    assert await sup.wait() == Exit.SHUTDOWN


async def test_c62_the_overall_deadline_kills_what_is_left(world: World) -> None:
    kit = world.kit
    sup = await world.supervisor(
        *(kit.spec(name, stuck(), shutdown=10) for name in "abc"), shutdown_deadline=12
    )
    began = anyio.current_time()

    sup.stop()

    assert await sup.wait() == Exit.SHUTDOWN
    assert anyio.current_time() - began == pytest.approx(12)
    assert [event.child for event in kit.log.of(ShutdownOverrun)] == ["c", "b", "a"]
    assert kit.gone == {name: [Exit.KILLED] for name in "abc"}


async def test_a_kill_does_not_wait_for_an_endless_grace(world: World) -> None:
    kit = world.kit
    sup = await world.supervisor(*(kit.spec(name, stuck(), shutdown=math.inf) for name in "abc"))
    sup.stop()
    await anyio.sleep(1)

    sup.kill()

    with anyio.fail_after(0.1):
        assert await sup.wait() == Exit.KILLED
    assert kit.told("kill") == ["kill c", "kill b", "kill a"]
    assert kit.log.of(ShutdownOverrun) == []


async def test_killing_undead_children_takes_one_bounded_time_for_all(world: World) -> None:
    kit = world.kit
    sup = await world.supervisor(*(kit.spec(name, undead()) for name in "abc"))
    began = anyio.current_time()

    sup.kill()
    await sup.wait()

    assert anyio.current_time() - began == pytest.approx(5)
    assert kit.gone == {name: [Exit.ABANDONED] for name in "abc"}


@pytest.mark.parametrize("dynamic", [False, True])
async def test_c67_a_cancelled_host_kills_the_children(world: World, dynamic: bool) -> None:
    kit = world.kit
    ends: list[Exit] = []
    async with anyio.create_task_group() as tasks:
        sup = (DynamicSupervisor if dynamic else Supervisor)("sup", tasks=tasks)
        await sup.start(ends.append)
        await sup.start_child(kit.spec("a", stuck()))
        await sup.start_child(kit.spec("b", stuck()))
        tasks.cancel_scope.cancel()

    assert ends == [Exit.KILLED]
    assert kit.alive() == []
    assert kit.gone == {"a": [Exit.KILLED], "b": [Exit.KILLED]}


async def test_whoever_calls_a_supervisor_whose_task_is_cancelled_is_told(world: World) -> None:
    refused: list[str] = []

    async def add(sup: Supervisor, spec: ChildSpec) -> None:
        with pytest.raises(SupervisorStopped):
            await sup.start_child(spec)
        refused.append(spec.name)

    with anyio.fail_after(1):
        async with anyio.create_task_group() as callers, anyio.create_task_group() as tasks:
            inner = World(tasks)
            sup = await inner.supervisor()
            callers.start_soon(add, sup, inner.kit.spec("performed", hanging()))
            await settle()
            callers.start_soon(add, sup, inner.kit.spec("queued"))
            await settle()
            tasks.cancel_scope.cancel()
    assert sorted(refused) == ["performed", "queued"]
    assert inner.kit.alive() == []
    assert world.kit.alive() == []
