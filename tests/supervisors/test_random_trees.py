"""Random lives of supervisors, and what must be true after each step, whatever happened."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anyio
import pytest
import trio.testing
from hypothesis import HealthCheck, given, settings, strategies as st

from actors.supervisors import (
    Backoff,
    Budget,
    ChildSpec,
    ChildState,
    DynamicSupervisor,
    Exit,
    Restart,
    Strategy,
    Supervisor,
    SupervisorError,
)
from actors.supervisors.testing import (
    FakeHost,
    Kit,
    Script,
    dies_at_once,
    failing,
    hanging,
    ignore_once,
    slow_stop,
    stuck,
    undead,
    well,
)
from actors.testing import VirtualTimeLoop
from tests.supervisors.world import settle

NAMES = ("a", "b", "c", "d")
SCRIPTS: list[Callable[[], Script]] = [
    well,
    well,
    stuck,
    undead,
    ignore_once,
    lambda: slow_stop(2),
    lambda: failing(ValueError("third"), runs=lambda number: number % 3 == 0),
    lambda: dies_at_once(ValueError("second"), runs=lambda number: number % 2 == 0),
]
ENDS = [Exit.NORMAL, Exit.SHUTDOWN, Exit.KILLED, Exit.CRASHED(ValueError("bad"))]
ALIVE = {ChildState.RUNNING, ChildState.STOPPING}

SPECS = st.fixed_dictionaries(
    {
        "script": st.sampled_from(SCRIPTS),
        "restart": st.sampled_from(Restart),
        "backoff": st.sampled_from([None, Backoff(first=1, give_up_after=4)]),
        "shutdown": st.sampled_from([0, 1, 3]),
        "hosted": st.booleans(),
    }
)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("end"), st.sampled_from(NAMES), st.sampled_from(ENDS)),
        st.tuples(st.sampled_from(["stop", "start", "restart", "delete"]), st.sampled_from(NAMES)),
        st.tuples(st.just("cancelled start"), st.sampled_from(NAMES)),
        st.tuples(st.just("sleep"), st.sampled_from([0.5, 1.5, 10])),
        st.tuples(st.just("host"), st.sampled_from(["away", "back"])),
    ),
    max_size=15,
)


class Life:
    """One supervisor that is done things to at random."""

    def __init__(self, tasks: anyio.abc.TaskGroup, specs: list[dict[str, Any]]) -> None:
        self.kit = Kit(tasks)
        self.host = FakeHost()
        self.specs = {
            name: self._spec(name, dict(fields)) for name, fields in zip(NAMES, specs, strict=True)
        }
        self.ends: list[Exit] = []

    def _spec(self, name: str, fields: dict[str, Any]) -> ChildSpec:
        host = self.host if fields.pop("hosted") else None
        return self.kit.spec(name, fields.pop("script")(), host=host, **fields)

    async def step(self, sup: Supervisor | DynamicSupervisor, what: str, *args: Any) -> None:
        if what == "sleep":
            await anyio.sleep(args[0])
        elif what == "host":
            self._host_changes(args[0])
        elif what == "end":
            if self.kit.runs(args[0]) and self.kit.run(args[0]).started:
                self.kit.run(args[0]).end(args[1])
        elif what == "delete":
            sup.delete_child(args[0])
        elif what == "cancelled start":
            with anyio.move_on_after(1):
                await sup.start_child(self.kit.spec(f"{args[0]}-hangs", hanging()))
        else:
            await self._call(sup, what, args[0])

    async def _call(self, sup: Supervisor | DynamicSupervisor, what: str, name: str) -> None:
        if what == "stop":
            await sup.stop_child(name)
        elif what == "start":
            await sup.start_child(self.specs[name])
        else:
            await sup.restart_child(name)

    def _host_changes(self, how: str) -> None:
        self.host.change(ready=how == "back")
        if how == "away":
            for name, spec in self.specs.items():
                if spec.host is not None and self.kit.runs(name) and self.kit.run(name).started:
                    self.kit.run(name).end(Exit.NODE_DOWN("node/0: gone"))

    def check(self, sup: Supervisor | DynamicSupervisor) -> None:
        """Whoever is listed as running is, or has just ended; nobody else is."""
        listed = {info.name for info in sup.children() if info.state in ALIVE}
        running = {run.name for name in NAMES for run in self.kit.runs(name) if self._runs(run)}
        ended = {name for name in listed - running if self.kit.run(name).exit is not None}
        assert running == listed - ended
        assert sup.count().active == len(listed)

    def check_end(self) -> None:
        """Every life that began has ended once, and nothing is left."""
        assert not [run for name in NAMES for run in self.kit.runs(name) if self._runs(run)]
        assert self.host.watchers == 0
        assert len(self.ends) == 1

    @staticmethod
    def _runs(run: Any) -> bool:
        survivor = run.script.on_kill is None
        return run.started and run.exit is None and not survivor


async def _live(
    specs: list[dict[str, Any]], steps: list[tuple[Any, ...]], strategy: Strategy | None
) -> None:
    with anyio.fail_after(10_000):
        async with anyio.create_task_group() as tasks:
            life = Life(tasks, specs)
            sup: Supervisor | DynamicSupervisor
            if strategy is None:
                sup = DynamicSupervisor("dyn", tasks=tasks, budget=Budget(8, 10))
            else:
                sup = Supervisor("sup", tasks=tasks, budget=Budget(8, 10), strategy=strategy)
            await sup.start(life.ends.append)
            for name in NAMES:
                await _try(life, sup, ("start", name))
            for step in steps:
                await _try(life, sup, step)
            sup.stop()
            end = await sup.wait()

            assert end == Exit.SHUTDOWN or "RestartBudgetExceeded" in str(end)
            life.check_end()
            assert all(
                len(life.kit.gone.get(name, [])) <= len(life.kit.runs(name)) for name in NAMES
            )
            tasks.cancel_scope.cancel()


async def _try(life: Life, sup: Supervisor | DynamicSupervisor, step: tuple[Any, ...]) -> None:
    try:
        await life.step(sup, *step)
        await settle()
        if not life.ends and "undead" not in step:
            survivors = [n for n in NAMES for r in life.kit.runs(n) if r.script.on_kill is None]
            if not survivors:
                life.check(sup)
    except SupervisorError:
        await settle()


@pytest.mark.parametrize("strategy", [*Strategy, None])
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(specs=st.lists(SPECS, min_size=4, max_size=4), steps=STEPS)
def test_whatever_happens_nothing_is_lost_and_nothing_is_left(
    strategy: Strategy | None, specs: list[dict[str, Any]], steps: list[tuple[Any, ...]]
) -> None:
    anyio.run(_live, specs, steps, strategy, backend_options={"loop_factory": VirtualTimeLoop})


@pytest.mark.parametrize("strategy", [*Strategy, None])
@settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
@given(specs=st.lists(SPECS, min_size=4, max_size=4), steps=STEPS)
def test_whatever_happens_on_trio_nothing_is_left(
    strategy: Strategy | None, specs: list[dict[str, Any]], steps: list[tuple[Any, ...]]
) -> None:
    clock = trio.testing.MockClock(autojump_threshold=0)
    anyio.run(_live, specs, steps, strategy, backend="trio", backend_options={"clock": clock})
