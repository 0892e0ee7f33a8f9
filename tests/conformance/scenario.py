"""Starts supervision trees on one kind of node, waits for their events, and stops them after the test."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anyio

import actors
from actors import Actor, Ref, System
from actors._base.events import Event
from actors._system.supervisor_handle import SupervisorHandle
from actors._system.system import coordinator_of
from actors._system.tree_specs import ActorSpec, TreeSpec
from actors.supervisors import NotFound
from actors.testing import Probe
from tests.conformance.case_actors import ReportingActor, StartScript


class Scenario:
    """Builds trees in a running system and takes them down again.

    Attributes:
        unread: Events that were passed over by `until`, oldest first.
    """

    def __init__(self, system: System, on: str, probe: Probe, director: Ref[StartScript]) -> None:
        self.system = system
        self.on = on
        self.probe = probe
        self.director = director
        self._events = system.events()
        self.unread: list[Event] = []
        self._trees: list[str] = []
        self._refs: list[Ref[Any]] = [director, probe.ref]

    @property
    def local(self) -> bool:
        """Whether actors run on the loop of the test."""
        return self.on == self.system.node.name

    @property
    def top(self) -> SupervisorHandle:
        """The top of the tree."""
        return coordinator_of(self.system).tree.find("")

    def child(
        self, name: str, cls: Callable[..., Actor] = ReportingActor, /, *args: Any, **options: Any
    ) -> ActorSpec[Any]:
        """Describe an actor that tells the probe of its life."""
        return actors.child(cls, self.probe.ref, *args, name=name, on=self.on, **options)

    async def tree(self, item: TreeSpec) -> SupervisorHandle:
        """Start a tree at the top; it is taken down after the test."""
        self._trees.append(item.name)
        await self.system.start(item)
        return coordinator_of(self.system).tree.find(item.name)

    async def spawn(self, cls: Callable[..., Actor], *args: Any, **options: Any) -> Ref[Any]:
        """Start an actor beside the trees; it is ended after the test."""
        ref: Ref[Any] = await self.system.spawn(cls, *args, **{"on": self.on, **options})
        self._refs.append(ref)
        return ref

    async def ref(self, name: str) -> Ref[Any]:
        """Return the address of a living actor."""
        ref = await self.system.lookup(name)
        assert ref is not None, f"nobody is called {name!r}"
        return ref

    async def gone(self, *names: str) -> bool:
        """Whether nobody has any of these names."""
        return [name for name in names if await self.system.lookup(name)] == []

    async def until(self, kind: str, **facts: Any) -> Event:
        """Wait for an event that has these facts, and take it out of those not read yet."""
        for event in self.unread:
            if _fits(event, kind, facts):
                self.unread.remove(event)
                return event
        async for event in self._events:
            if _fits(event, kind, facts):
                return event
            self.unread.append(event)
        raise AssertionError(f"the system ended before {kind} {facts}")

    async def restarted(self, name: str, times: int = 1) -> None:
        """Wait until a child has been brought back so often."""
        await self.until("child_started", child=name, restarts=times)

    async def crash(self, name: str, times: int = 1) -> None:
        """Crash a child and wait until it has been brought back for the n-th time."""
        await (await self.ref(name)).tell(ReportingActor.crash)
        await self.restarted(name, times)

    async def ended(self, path: str) -> str:
        """Wait for the end of a supervisor and return how it ended."""
        return str((await self.until("supervisor_ended", supervisor=path)).facts["exit"])

    def story(self, *words: str) -> list[Any]:
        """Return what the probe heard, only what begins with these words if there are any."""
        return [line for line in self.probe.heard if not words or line[0] in words]

    async def heard(self, line: Any) -> None:
        """Wait until the probe is told this."""
        while await self.probe.next() != line:
            pass

    async def close(self) -> None:
        """Take everything down."""
        self._events.close()
        for name in reversed(self._trees):
            try:
                await self.top.stop_child(name)
                self.top.delete_child(name)
            except NotFound:
                continue  # it was temporary
        for ref in reversed(self._refs):
            await ref.stop(grace=0.1)
            await ref.wait()


def _fits(event: Event, kind: str, facts: dict[str, Any]) -> bool:
    return event.kind == kind and all(event.facts.get(key) == facts[key] for key in facts)


async def incarnations(scenario: Scenario, *names: str) -> list[int]:
    """Return which incarnation each of these actors is in."""
    found: list[int] = []
    with anyio.fail_after(5):
        for name in names:
            found.append(await (await scenario.ref(name)).ask(ReportingActor.incarnation))  # noqa: PERF401 - one after the other
    return found
