"""Faults of reporters, callbacks and verbs, and supervisors in supervisors."""

from __future__ import annotations

import anyio
import pytest

from actors.supervisors import (
    Budget,
    ChildCallFailed,
    ChildEnded,
    ChildSpec,
    ChildState,
    Exit,
    ExitKind,
    Supervisor,
    SupervisorStopped,
)
from actors.supervisors.testing import slow_stop
from tests.supervisors.world import World, settle


async def test_c63_a_failing_reporter_is_the_end_of_the_supervisor(world: World) -> None:
    kit = world.kit
    bug = ValueError("bug")

    def report(event: object) -> None:
        if isinstance(event, ChildEnded):
            raise bug

    sup = await world.supervisor(kit.spec("a"), kit.spec("b"), report=report)

    kit.run("a").crash()

    assert await sup.wait() == Exit.CRASHED(bug)
    assert kit.alive() == []


async def test_a_failing_gone_is_the_end_of_the_supervisor_and_not_of_its_siblings(
    world: World,
) -> None:
    kit = world.kit
    bug = ValueError("bug")

    def gone(_: Exit) -> None:
        raise bug

    sup = await world.supervisor(kit.spec("a"), kit.spec("b", gone=gone), kit.spec("c"))

    await sup.stop_child("b")

    assert await sup.wait() == Exit.CRASHED(bug)
    assert kit.gone == {"c": [Exit.SHUTDOWN], "a": [Exit.SHUTDOWN]}


async def test_broken_verbs_are_reported_and_stop_nobody_else_from_being_stopped(
    world: World,
) -> None:
    class Broken:
        async def start(self, ended: object) -> None: ...

        async def wait(self) -> Exit:
            raise ValueError("wait")

        def stop(self) -> None:
            raise ValueError("stop")

        def kill(self) -> None:
            raise ValueError("kill")

    kit = world.kit
    sup = await world.supervisor(kit.spec("a"), ChildSpec(name="b", start=Broken), kit.spec("c"))

    sup.stop()

    assert await sup.wait() == Exit.SHUTDOWN
    assert [event.verb for event in kit.log.of(ChildCallFailed)] == ["stop", "wait", "kill", "wait"]
    assert kit.alive() == []
    ended = {event.child: event.exit.kind for event in kit.log.of(ChildEnded)}
    assert ended["b"] is ExitKind.ABANDONED


async def test_a_supervisor_nests(world: World) -> None:
    kit = world.kit
    inner: list[Supervisor] = []

    def make() -> Supervisor:
        inner.append(
            Supervisor("root/in", [kit.spec("leaf")], tasks=world.tasks, budget=Budget(0, 1))
        )
        return inner[-1]

    root = await world.supervisor(ChildSpec(name="in", start=make, kind="supervisor"))

    kit.run("leaf").crash()
    await settle()

    assert len(inner) == 2
    (info,) = root.children()
    assert info.last_exit is not None
    assert "RestartBudgetExceeded" in str(info.last_exit)
    root.stop()
    assert await root.wait() == Exit.SHUTDOWN
    assert inner[1].wait is not None
    assert kit.alive() == []


# Cancelling is quadratic in anyio's task groups on asyncio, so that chain is shorter.
@pytest.mark.parametrize("verb,depth", [("stop", 2048), ("kill", 2048), ("cancel", 256)])
async def test_c64_a_chain_of_2048_supervisors_stops_without_recursion(
    world: World, verb: str, depth: int
) -> None:
    kit = world.kit

    async with anyio.create_task_group() as tasks:

        def nest(below: int) -> ChildSpec:
            if below == 0:
                return kit.spec("leaf")
            return ChildSpec(
                name=f"s{below}",
                start=lambda: Supervisor(f"s{below}", [nest(below - 1)], tasks=tasks),
                kind="supervisor",
            )

        root = Supervisor("root", [nest(depth)], tasks=tasks)
        await root.start()
        if verb == "cancel":
            tasks.cancel_scope.cancel()
        else:
            getattr(root, verb)()

    assert await root.wait() == (Exit.SHUTDOWN if verb == "stop" else Exit.KILLED)
    assert kit.alive() == []


async def test_c65_calls_to_a_stopping_supervisor_are_refused_at_once(world: World) -> None:
    kit = world.kit
    sup = await world.supervisor(kit.spec("a", slow_stop(3)))
    sup.stop()
    await settle()

    for call in (
        sup.start_child(kit.spec("b")),
        sup.stop_child("a"),
        sup.restart_child("a"),
    ):
        with anyio.fail_after(0.1), pytest.raises(SupervisorStopped):
            await call
    with pytest.raises(SupervisorStopped):
        sup.delete_child("a")
    assert [info.state for info in sup.children()] == [ChildState.STOPPING]


async def test_a_supervisor_runs_once(world: World) -> None:
    sup = await world.supervisor()

    with pytest.raises(Exception, match="already started"):
        await sup.start()
