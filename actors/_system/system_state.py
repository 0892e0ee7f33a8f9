"""What the parts of one running system share, in the process that made it."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

from actors._base.event_log import LogSubscriber
from actors._base.events import DelayedDelivery, Event, EventBus, event_of
from actors._base.fences import Fences
from actors._base.often import Often
from actors._messaging.context_propagation import Propagation
from actors._messaging.registry import Registry
from actors._remoting import operations as ops
from actors._system.admin_spec import ADMIN_GROUP
from actors._system.extras import EXTRAS
from actors.nodes import (
    ActorHost,
    Launchers,
    LocalNode,
    NodeState,
    RemoteNode,
    RemoteRun,
    SupervisedActor,
    main_problem,
)
from actors.supervisors import RestartsGivenUp, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from anyio.abc import TaskGroup

    from actors._base.loop import Loop
    from actors._messaging.ref import Ref
    from actors._system.listeners import ListenerController
    from actors._system.topology import Topology

__all__ = ["SystemState"]

_HANDED: Final = 100
"""Records of the log that a node is handed in a second."""
_STARTS: Final = 20
_STARTS_WITHIN: Final = 60.0
"""So many starts of pools, or of groups of nodes, in so many seconds are worth a line."""


def _plain(value: object) -> Any:
    return value if isinstance(value, str | int | float | bool | None) else str(value)


class SystemState:
    """The tables of a system, and its events; the `Coordinator` adds what is done with them.

    Attributes:
        end: begins to stop the whole system.
        local: the node of this process, if it runs actors itself.
        supervised: every actor that is supervised here, by its number.
        nodes: every node, by its name.
        pool_sizes: how many workers each pool has, by its name, as far as they count for the CPU budget.
        runs: every run of a node that has not ended, by its address.
    """

    def __init__(
        self,
        topology: Topology,
        loop: Loop,
        tasks: TaskGroup,
        *,
        end: Callable[[], None],
        local: bool,
    ) -> None:
        self.topology = topology
        self.declared: Topology = topology
        """What the system is to be, as far as an application file has been applied."""
        self.loop = loop
        self.tasks = tasks
        self.end = end
        self.stopping = False
        self.propagation: Propagation | None = Propagation.of(topology.propagate)
        self.host: ActorHost = ActorHost(
            "local" if local else "system",
            0,
            loop,
            may_import=local,
            propagation=self.propagation,
            trace=topology.trace,
            largest=topology.largest,
            lend=topology.lend_per_node,
            ask_timeout=topology.ask_timeout,
            system_id=uuid4().hex,
            extras=EXTRAS,
        )
        self.host.main_problem = main_problem
        self.host.fences = Fences()
        self.host.has_rings = True
        self.launcher: Launchers = Launchers(loop, self.event)
        self.bus: EventBus = EventBus(loop)
        self._log = DelayedDelivery(LogSubscriber(loop.now, self._hand_on), loop.call_later)
        self._handed: tuple[float, int] = (0.0, 0)
        self.bus.subscribe(self._log)
        self.registry: Registry = Registry(loop.waiter)
        self.local: LocalNode | None = LocalNode(self.host) if local else None
        self.supervised: dict[int, SupervisedActor] = self.host.supervised
        self.nodes: dict[str, RemoteNode] = {}
        self.runs: dict[str, RemoteRun] = {}
        self.pool_sizes: dict[str, int] = {}
        self.listeners: list[ListenerController] = []
        self._starts = Often(_STARTS, _STARTS_WITHIN, loop.now)
        self.ends_process = False
        """Whether its process ends with it: it was started by a command."""

    def group(self, name: str) -> list[RemoteNode]:
        """Return the nodes of a group by slot, including those that are about to end."""
        found = (node for node in self.nodes.values() if node.group == name)
        return sorted(found, key=lambda node: node.slot)

    @property
    def process_nodes(self) -> int:
        """How many nodes compute in processes of their own on this machine: pools' workers too, not `admin`."""
        nodes = [node for node in self.nodes.values() if node.kind == "process"]
        return sum(node.spec.engine is None and node.group != ADMIN_GROUP for node in nodes)

    def count_start(self, what: str) -> None:
        """Count a start of what has processes of its own; many within a minute are one event."""
        often = self._starts.count(what)
        if often is not None:
            self._starts.told(what)
            count, seconds = often
            facts = {"node": self.host.name, "what": what, "count": count}
            advice = "each start takes processes and their imports: start it once, and use it for all the work"
            self.event("spawned_often", {**facts, "seconds": round(seconds, 3), "advice": advice})

    async def claim(self, ref: Ref[Any]) -> None:
        """Take the name of *ref* for it; the actor is supervised elsewhere.

        Raises:
            NameTaken: another living actor has the name.
        """
        self.registry.claim(ref.name)
        self.registry.settle(ref.name, ref)

    async def new_fence(self) -> int:
        """Return a number greater than those of all starts before, on every node."""
        return self.host.fences.next()

    # -- events --------------------------------------------------------------------------------

    def report(self, record: Any) -> None:
        """Publish what a lower layer reports as an event."""
        if isinstance(record, RestartsGivenUp) and (node := self._ended_with(record.child)):
            facts = {"supervisor": record.supervisor, "child": record.child, "node": node}
            self.event("ended_with_node", facts)
        else:
            self.bus.report(event_of(record, self.loop.now()))

    def _ended_with(self, child: str) -> str:
        """Return the name of an actor's node if that was stopped on purpose, else ""."""
        ref = self.registry.get(child)
        actor = None if ref is None else self.supervised.get(ref.uid)
        place = None if actor is None else actor.place
        stopped = isinstance(place, RemoteNode) and place.lost and (place.leaving or self.stopping)
        return place.name if stopped and place is not None else ""

    def event(self, kind: str, facts: dict[str, Any]) -> None:
        """Publish an event that no lower layer has a record for."""
        self.bus.report(Event(kind, facts, self.loop.now()))

    def carry_out(self, what: str, by: str, act: Callable[[], Coroutine[Any, Any, Any]]) -> None:
        """Begin what was asked for by *by*, who has its answer already; a failure is an event."""

        async def run() -> None:
            try:
                await act()
            except Exception as error:  # noqa: BLE001 - nobody waits for it
                if not self.stopping:
                    why = f"{type(error).__name__}: {shown(error)}"
                    self.event("request_failed", {"request": what, "by": by, "error": why})

        self.loop.start(run, name=f"{what}, for {by}", fresh=True)

    def _hand_on(self, facts: dict[str, Any]) -> None:
        """Have a node hand a record of the log to the handlers that the user has added there."""
        now = self.loop.now()
        since, count = self._handed
        self._handed = (since, count + 1) if now - since < 1.0 else (now, 1)
        if self._handed[1] > _HANDED:
            return  # a node that does not turn would be sent more and more
        for run in self.runs.values():
            takes = run.node.kind == "process" and run.node.group != ADMIN_GROUP
            if takes and run.state is NodeState.READY and run.link is not None:
                run.link.note(ops.log_record, {key: _plain(facts[key]) for key in facts})
                return

    def close(self) -> None:
        """Publish the last event, and release everything."""
        with (
            ExitStack() as steps
        ):  # the last comes first, and one that raises keeps none from its turn
            steps.callback(self._log.flush)
            steps.callback(self.bus.close)
            steps.callback(self.event, "system_stopped", {})
            steps.callback(self.host.memory.close)
            steps.callback(self.launcher.close)
