"""The real supervisors and children that a program is about."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

import anyio
from anyio.abc import TaskGroup

from actors.supervisors import (
    AutoShutdown,
    Backoff,
    Budget,
    ChildSpec,
    DynamicSupervisor,
    Exit,
    ExitKind,
    Ignored,
    Restart,
    RestartBudgetExceeded,
    Strategy,
    Supervisor,
    SupervisorEnded,
    SupervisorError,
    SupervisorEvent,
)
from actors.supervisors.testing import FakeHost, Kit, Script, ScriptedChild
from tests.supervisors.plain import INF, Spec


@dataclass
class Real:
    """The real tree."""

    tasks: TaskGroup
    kit: Kit = field(default_factory=Kit)
    plans: dict[str, list[tuple[str, float]]] = field(default_factory=dict)
    hosts: dict[str, FakeHost] = field(default_factory=lambda: defaultdict(FakeHost))
    runs: dict[str, list[Any]] = field(default_factory=lambda: defaultdict(list))
    ends: dict[str, list[tuple[int, str]]] = field(default_factory=lambda: defaultdict(list))

    def __post_init__(self) -> None:
        self.kit = Kit(self.tasks)

    def spec(self, spec: Spec, parent: Spec) -> ChildSpec:
        """Return the real spec of a child."""
        backoff = spec.backoff and Backoff(
            first=spec.backoff[0], cap=8, jitter=0, give_up_after=spec.backoff[1]
        )
        fields: dict[str, Any] = {
            "restart": Restart(spec.restart),
            "shutdown": spec.grace,
            "significant": spec.significant,
            "backoff": backoff,
            "host": self.hosts[parent.name] if spec.hosted else None,
        }
        if spec.kind == 0:
            return self.kit.spec(spec.name, self._script(spec), **fields)
        gone = self.kit.gone.setdefault(spec.name, [])
        return ChildSpec(
            name=spec.name,
            start=lambda: self.make(spec),
            kind="supervisor",
            gone=gone.append,
            **fields,
        )

    def make(self, spec: Spec) -> Any:
        """Return a new run of a supervisor."""
        common: dict[str, Any] = {
            "tasks": self.tasks,
            "budget": Budget(*spec.budget),
            "report": self.report,
        }
        made: Supervisor | DynamicSupervisor
        if spec.kind == 2:
            made = DynamicSupervisor(
                spec.name, max_children=spec.room, shutdown_deadline=spec.deadline, **common
            )
        else:
            made = Supervisor(
                spec.name,
                [self.spec(child, spec) for child in spec.children],
                strategy=Strategy(spec.strategy),
                auto_shutdown=AutoShutdown(spec.auto),
                shutdown_deadline=spec.deadline,
                **common,
            )
        self.runs[spec.name].append(made)
        return made

    def _script(self, spec: Spec) -> Script:
        ignores = spec.stop_takes == INF
        return Script(
            start=self._start,
            on_stop=None if ignores else Exit.SHUTDOWN,
            stop_takes=0.0 if ignores else spec.stop_takes,
        )

    async def _start(self, child: ScriptedChild) -> None:
        plans = self.plans.get(child.name)
        plan, seconds = plans.pop(0) if plans else ("READY", 0.0)
        if seconds:
            await anyio.sleep(seconds)
        if plan == "FAILED":
            raise ValueError("as planned")
        if plan == "IGNORED":
            raise Ignored
        if plan == "DIES":
            child.crash()

    def report(self, event: SupervisorEvent) -> None:
        """Keep how supervisors ended."""
        if isinstance(event, SupervisorEnded):
            if event.exit.kind is ExitKind.CRASHED:
                assert isinstance(event.exit.error, RestartBudgetExceeded), event
            name = event.supervisor
            self.ends[name].append((len(self.runs[name]), event.exit.kind.value))

    async def call(self, verb: str, sup: Any, what: Any, answer: list[str]) -> None:
        """Call a supervisor and keep what it said."""
        try:
            said = getattr(sup, verb)(what)
            said = said if verb == "delete_child" else await said
        except SupervisorError as error:
            answer.append(type(error).__name__)
        else:
            answer.append(str(said and self.number(said)))

    def number(self, child: Any) -> int:
        """Return which run of its name a child is."""
        if isinstance(child, ScriptedChild):
            return child.number
        return self.runs[child.name].index(child) + 1
