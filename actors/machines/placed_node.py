"""A node on another machine, seen from the parent: started by an agent, linked over TCP.

Rule 1: that it has ended is said by its agent, or by the end of its place; the end of its link is a hint.
Rule 2: no run is started before the one before it has ended.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from anyio import CancelScope, fail_after

from actors._base.errors import ActorsError, BootFailed
from actors._base.log import iso_time, write_lines, write_records
from actors._remoting import operations as ops
from actors._remoting.link import Link
from actors.nodes import (
    IN_ORDER,
    LINK_LOST,
    NodeState,
    ProcessRun,
    RemoteNode,
    last_lines_of,
    process_settings,
)
from actors.supervisors import Exit
from actors.transport import RemoteTraceback

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors.machines.place import Place
    from actors.machines.places import Places
    from actors.nodes import NodesSpec, RemoteNodeHost
    from actors.transport.channels.tls_session import TlsSession

__all__ = ["PlacedNode", "PlacedRun"]

_NODE: Final = "node"
_LINK_LOST: Final = "replaced: the network has lost its link"
_LOOK_WITHIN: Final = 10.0
"""Seconds that an agent has to look into a node, beyond those that the look takes."""


class PlacedNode(RemoteNode):
    """A node that is a process of another machine.

    Args:
        home: the coordinator.
        spec: of its group.
        slot: its number there.
        places: of the system.
    """

    kind = "process"

    def __init__(self, home: RemoteNodeHost, spec: NodesSpec, slot: int, places: Places) -> None:
        super().__init__(home, spec, slot)
        self.places = places
        self.place: str = f"{self.group}@?"
        self.unsettled: list[PlacedRun] = []
        """Its runs that have not ended, as far as is known."""

    @property
    def current_place(self) -> Place | None:
        """The place of its current run."""
        return self.run.place if isinstance(self.run, PlacedRun) else None

    @property
    def waits_long(self) -> bool:
        """Whether it waits for a place as long as that takes."""
        return self.was_ready or self.places.is_patient(self.spec)

    @property
    def where(self) -> dict[str, Any]:
        """Its place, and since when that is silent, in seconds since the epoch; or for what it waits."""
        placed = self.current_place
        since = None if placed is None else placed.silent_since
        unreachable = {} if since is None else {"unreachable_since": since}
        waits = self.places.waits_since(self.spec, self.slot) if placed is None else {}
        return {"place": self.place, **unreachable, **waits}

    def make_run(self, *, successor: bool = False) -> PlacedRun:
        """Make a run of this node."""
        return PlacedRun(self, successor=successor)


class PlacedRun(ProcessRun):
    """One process there, from its start to its end."""

    node: PlacedNode

    def __init__(self, node: PlacedNode, *, successor: bool = False) -> None:
        super().__init__(node, successor=successor)
        self.place: Place | None = None
        self._waiting = CancelScope()
        self._came: Any = None
        self._begun = False
        self._settled = False
        self._code: int | None = None
        self._why = ""
        self._stack_of_failure = ""
        self._lines: list[str] = []

    # -- start ------------------------------------------------------------------------------

    async def start(self, ended: Callable[[Exit], None], within: float | None = None) -> None:
        """Start the node as `RemoteRun.start`, when it has a place, and no other run of it runs.

        A node that has been ready before waits for its place as long as that takes, and so does one whose
        agents come by themselves.
        """
        seconds = self.node.spec.boot_timeout if within is None else within
        patient = self.node.waits_long and not self.successor
        self.show_waiting()
        try:
            with fail_after(None if patient else seconds), self._waiting:
                self.place = await self._free_place(patient=patient)
                self.node.place = self.place.name
        except TimeoutError as error:
            doing = self.node.places.waits_for(self.node.spec, self.node.slot)
            why = f": {doing}" if doing else ""
            raise BootFailed(
                f"node {self.node.name} had no place after {seconds:g} s (its boot_timeout){why}"
            ) from error
        if self.place is None:
            raise BootFailed(f"node {self.node.name} was given up before it had a place")
        await super().start(ended, within)

    def kill(self) -> None:
        """Have its process killed; while it waits for a place, start none."""
        super().kill()
        self._waiting.cancel()

    def show_waiting(self) -> None:
        """Show that the node waits for a place, which may take a while."""
        if self.node.run is None and not self.successor:
            self.node.state = NodeState.WAITING
            self.node.changed()

    def _set_state(self, state: NodeState) -> None:
        super()._set_state(state)
        if self._begun and self.place is not None and not self._settled:
            self.place.tell_state(self.number, ready=state is NodeState.READY)

    async def _free_place(self, *, patient: bool) -> Place:
        node = self.node
        if not self.successor:
            for run in list(node.unsettled):
                await run.wait()
        return await node.places.place_for(node.spec, node.slot, patient=patient)

    async def _spawn(self) -> None:
        places, place = self.node.places, self.place
        assert place is not None
        if not place.usable:
            raise BootFailed(f"node {self.node.name}: place {place.name} is gone: {place.over}")
        self._came = self._loop.waiter()
        ticket = places.entrance.expect(_NODE, self._node_came)
        # From the moment that the configuration is written: what all nodes are told meanwhile is kept for it.
        launch = self._launch(ticket)
        link = Link(self._home.host, self.address, leaves_machine=True)
        self.link: Link | None = link
        self._begun = True
        self.node.unsettled.append(self)
        place.start_run(self.number, self, launch)
        try:
            session = await self._came
        finally:
            places.entrance.forget(ticket)
        if self.link is link:
            link.attach(session)
        else:
            session.close()  # it was killed meanwhile

    def _node_came(self, session: TlsSession, _hello: dict[str, Any]) -> None:
        if self._came.done():
            session.close()
        else:
            self._came.set_result(session)

    def _launch(self, ticket: str) -> dict[str, Any]:
        """Return what the agent is told to start."""
        node, home, places = self.node, self._home, self.node.places
        spec = node.spec
        host, port = places.entrance.address
        link = {
            "host": host,
            "port": port,
            "ticket": ticket,
            "material": places.material_for(f"{node.name} {self.number}"),
            "lease": places.lease,
        }
        settings = process_settings(spec, node.slot)
        config = self._config(
            process={**settings, "cpus": []},
            preload=list(spec.preload),
            max_rss=spec.max_rss,
            dumps=True,
            link=link,
            leave_within=IN_ORDER * spec.shutdown,
        )
        return {
            "name": node.name,
            "address": self.address,
            "module": home.node_module,
            "env": spec.shared_env,
            "own_env": spec.own_env(node.slot),
            "imports": home.imports(node.group),
            "within": spec.boot_timeout,
            "threadless": home.preloaded_apps(node.group),
            "each_cpu": spec.cpus == "each",
            "slot": node.slot,
            "shutdown": spec.shutdown,
            # The parent's path and main file stay at home: an engine ships the code.
            "config": {**config, "path": [], "main": {}},
        }

    # -- what its agent says ------------------------------------------------------------------

    def on_started(self, pid: int) -> None:
        """Its process is there."""
        self.pid: int | None = pid
        self.show_state()

    def on_records(self, records: list[dict[str, Any]]) -> None:
        """It has printed something."""
        write_records(self.node.name, records)

    def on_lines(self, lines: list[str]) -> None:
        """It has made records of the log."""
        write_lines(self.node.name, lines)

    def on_dropped(self, lines: int) -> None:
        """Some of its output was lost."""
        self._home.event("output_dropped", {"node": self.node.name, "lines": lines})

    def on_ended(self, code: int | None, why: str, stack: str, lines: list[str]) -> None:
        """Its process has ended: let its link be read to the end."""
        self._settled = True
        if code == LINK_LOST and self.end.asked is None:
            # It has seen that the network has lost its link, and has ended in order, as when it is replaced.
            self.end.replaced, code = _LINK_LOST, 0
        self._code, self._why, self._lines = code, why, lines
        self._stack_of_failure = stack
        if self._came is not None and not self._came.done():
            self._fail_start()
        if code is None:
            self._complete()
        else:
            self._read_to_end()

    def _fail_start(self) -> None:
        name, how = f"node {self.node.name}", self._how()
        said = how if how.startswith(name) else f"{name}: {how}"
        error = BootFailed(self._boot_error or f"{said}{self._last_lines()}")
        if self._stack_of_failure:
            error.__cause__ = RemoteTraceback(self._stack_of_failure)
        self._came.set_exception(error)

    def on_clock(self, ahead: float, error: float) -> None:
        """How its clock and this machine's differ was measured again."""
        if self.link is not None:
            self.link.note(ops.clock_offset, ahead, error)

    def on_place_silent(self) -> None:
        """Its place is not heard of: its silence means nothing until it is."""
        self.hang_detector.beat(watched=False)

    def on_place_leaving(self, why: str) -> None:
        """Its agent was told to end: end in order, and start elsewhere."""
        if not self.replace(why, charged=False) and self.end.asked is None:
            self._kill_because(why)

    def on_place_lost(self, why: str) -> None:
        """Its place is over, and with it this run, which is charged to the place."""
        self._settled = True
        self._why = f"its place was lost: {why}"
        self.end.place_lost = self._why
        if self._came is not None and not self._came.done():
            self._fail_start()
        self._complete()

    # -- its end ------------------------------------------------------------------------------

    @property
    def begun(self) -> bool:
        """Whether its agent was told to start it."""
        return self._begun

    @property
    def running(self) -> bool:
        """Whether it was started, and neither its agent nor the loss of its place has said that it ended."""
        return self._begun and not self._settled

    def _force_end(self) -> None:
        """Have its agent kill it; one that cannot be reached does so at the end of its lease."""
        if self.place is not None and not self._settled:
            self.place.kill(self.number)

    def _complete(self) -> None:
        if self._begun:
            clean = not self._why and not self._code
            self._finish(*self.end.decide(self._how(), clean=clean, last_lines=self._last_lines()))

    def _finish(self, why: str, end: Exit) -> None:
        if self in self.node.unsettled:
            self.node.unsettled.remove(self)
        super()._finish(why, end)

    def _how(self) -> str:
        return self._why or self._describe(self._code)

    def _last_lines(self) -> str:
        return last_lines_of(self._lines, self._code, hung=bool(self.end.hung))

    # -- looks into it --------------------------------------------------------------------------

    async def stacks(self) -> dict[str, Any]:
        """Return the stacks of its threads and tasks, which its agent asks for."""
        found: dict[str, Any] = await self._asked("stacks")
        return found

    async def profile(self, seconds: float) -> dict[str, Any]:
        """Return where it spends its CPU time; see `RemoteRun.profile`."""
        found: dict[str, Any] = await self._asked("profile", longer=seconds, seconds=seconds)
        return found

    async def _asked(self, op: str, *, longer: float = 0.0, **fields: Any) -> Any:
        place, name = self.place, self.node.name
        if place is None or not self._begun:
            raise ActorsError(f"node {name} is {self.state.value}: nothing to see yet")
        if place.silent_since is not None:
            since = iso_time(place.silent_since)
            raise ActorsError(f"node {name}: its place {place.name} is UNREACHABLE since {since}")
        try:
            with fail_after(_LOOK_WITHIN + longer):
                return await place.call(op, n=self.number, **fields)
        except TimeoutError as error:
            raise ActorsError(
                f"node {name}: the agent of its place {place.name} has not answered for "
                f"{_LOOK_WITHIN + longer:g} s"
            ) from error
