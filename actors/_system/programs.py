"""The programs of a running system: what each has, and what changes it while it runs.

Rule 1: a slot has at most one instance, which keeps its name and its port over all restarts and reloads.
Rule 2: one change of a program at a time; what would end in a port that two have is refused before it begins.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

from anyio import Lock

from actors._base.errors import ActorsError, InvalidSpec, ReloadFailed, ReloadRunning, SystemStopped
from actors._base.user_traceback import user_part
from actors._system.supervision_tree import first_cause
from actors.programs import (
    ProgramInstance,
    ProgramLimits,
    ProgramThreads,
    RunState,
    Sweep,
    refuse_clashes,
)
from actors.supervisors import ChildNotStarted, ChildSpec, NotFound

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from actors._base.loop import Loop
    from actors._system.concurrent_supervisor import ConcurrentSupervisor
    from actors._system.program_spec import ProgramSpec
    from actors._system.supervision_tree import SupervisionTree
    from actors._system.supervisor_handle import SupervisorHandle
    from actors._system.system_state import SystemState
    from actors.supervisors import ChildInfo, Exit

__all__ = ["ProgramControl", "Programs"]

_WITHOUT_GROUPS: Final = (
    "daemons that programs leave behind are found and ended with them, but survive if this process is "
    "killed by SIGKILL"
)


class ProgramControl:
    """One program that runs, or is being restarted as a whole.

    Attributes:
        spec: what it is.
        handle: of its supervisor.
        slots: those that have an instance, running or being restarted.
        instances: the last run of each slot.
        changing: held while it is scaled, reloaded, or one of its instances is stopped.
    """

    def __init__(self, spec: ProgramSpec, handle: SupervisorHandle) -> None:
        self.spec = spec
        self.handle = handle
        self.slots: set[int] = set(range(spec.program.instances))
        self.instances: dict[int, ProgramInstance] = {}
        self.changing: Lock = Lock()

    @property
    def name(self) -> str:
        """Its name."""
        return self.spec.name

    @property
    def supervisor(self) -> ConcurrentSupervisor:
        """The current run of its supervisor."""
        return self.handle.supervisor  # type: ignore[return-value] # `Programs` makes no other

    def name_of(self, slot: int) -> str:
        """Return the name of the instance in *slot*."""
        return self.spec.program.instance_name(slot)

    @property
    def ports(self) -> range:
        """From its first port to the last that an instance has."""
        return self.spec.program.ports(max(self.slots, default=-1) + 1)

    def rows(self) -> dict[str, ChildInfo]:
        """Return what its supervisor knows of each instance, by name."""
        return {row.name: row for row in self.handle.children()}


class Programs:
    """Starts, finds, changes and ends programs; the `ProgramHome` of their processes."""

    def __init__(self, state: SystemState, ours: Callable[[], set[int]]) -> None:
        self._state = state
        self._controls: dict[str, ProgramControl] = {}
        self._tree: SupervisionTree
        self.loop: Loop = state.loop
        self.threads: ProgramThreads = ProgramThreads(state.loop)
        self.sweep: Sweep = Sweep(state.loop, self.threads)
        self.limits: ProgramLimits = ProgramLimits(ours)
        self._told = False

    def connect(self, tree: SupervisionTree) -> None:
        """Give it what starts and ends programs."""
        self._tree = tree

    def event(self, kind: str, facts: dict[str, Any]) -> None:
        """Publish an event; with the first start, why there are no control groups, if there are none."""
        if self.limits.missing and not self._told:
            self._told = True
            self._state.event(
                "no_control_groups", {"why": self.limits.missing, "so": _WITHOUT_GROUPS}
            )
        self._state.event(kind, facts)

    # -- what the tree says -----------------------------------------------------------------------

    def check(self, specs: Sequence[ProgramSpec]) -> None:
        """Refuse programs that cannot be started beside those that run, and each other.

        Raises:
            InvalidSpec: one has the name of another, or a port of another or of a listener.
        """
        names = [*self._controls, *(spec.name for spec in specs)]
        for spec in specs:
            if names.count(spec.name) > 1:
                raise InvalidSpec(
                    f"program({spec.name!r}): there is a program of this name already"
                )
            if self._state.group(spec.name):
                raise InvalidSpec(f"program({spec.name!r}): there is a group of nodes of this name")
        claims = [
            (f"program {spec.name!r}", spec.program.ports(spec.program.instances)) for spec in specs
        ]
        where = ", ".join(f"program({spec.name!r})" for spec in specs)
        refuse_clashes(where, [*self._claims(), *claims])

    def begin(self, spec: ProgramSpec, handle: SupervisorHandle) -> None:
        """A program is about to start, for the first time or again.

        Raises:
            InvalidSpec: as `check`.
        """
        control = self._controls.get(spec.name)
        if control is None or control.spec is not spec:
            self.check([spec])
            self._controls[spec.name] = ProgramControl(spec, handle)

    def gone(self, spec: ProgramSpec) -> None:
        """The supervisor of a program has ended for good."""
        control = self._controls.get(spec.name)
        if control is not None and control.spec is spec:
            del self._controls[spec.name]

    def children(self, spec: ProgramSpec) -> list[ChildSpec]:
        """Return the instances of a program for the next run of its supervisor."""
        control = self._controls[spec.name]
        return [self._child(control, slot) for slot in sorted(control.slots)]

    def _child(self, control: ProgramControl, slot: int) -> ChildSpec:
        spec = control.spec
        return ChildSpec(
            name=control.name_of(slot),
            start=partial(self._new_instance, control, slot),
            restart=spec.each,
            backoff=spec.backoff,
            shutdown=spec.program.shutdown,
            gone=partial(self._instance_gone, control, slot),
        )

    def _instance_gone(self, control: ProgramControl, slot: int, _end: Exit) -> None:
        """Forget an instance that is not restarted, unless the whole program ends, and perhaps comes again."""
        if control.handle.supervisor.running:
            control.slots.discard(slot)
            control.instances.pop(slot, None)

    def _new_instance(self, control: ProgramControl, slot: int) -> ProgramInstance:
        made = control.instances[slot] = ProgramInstance(self, control.spec.program, slot)
        return made

    def _claims(self, *, without: str = "") -> Iterator[tuple[str, range]]:
        """Yield who has which ports now; a program that is not there is left out."""
        listeners = {one.spec.port: one.spec.name for one in self._state.listeners}
        for port, name in listeners.items():
            if port:
                yield f"listener {name}", range(port, port + 1)
        for control in self._controls.values():
            if control.name != without:
                yield f"program {control.name!r}", control.ports

    # -- finding ----------------------------------------------------------------------------------

    def find(self, name: str) -> tuple[ProgramControl, list[int]] | None:
        """Return the program and the slots that a name means: a program's, or an instance's; else None."""
        program, slash, text = name.partition("/")
        control = self._controls.get(program)
        if control is None:
            return None
        if not slash:
            return control, sorted(control.slots)
        slot = int(text) if text.isascii() and text.isdigit() else -1
        return (control, [slot]) if slot in control.slots else None

    def _found(self, name: str) -> tuple[ProgramControl, list[int]]:
        found = self.find(name)
        if found is None:
            known = ", ".join(map(repr, self._controls)) or "none"
            raise InvalidSpec(f"there is no program {name!r}; the programs are {known}")
        return found

    @property
    def names(self) -> list[str]:
        """The names of all programs and of their instances."""
        own = list(self._controls.values())
        return [*self._controls, *(one.name_of(slot) for one in own for slot in sorted(one.slots))]

    def pids(self) -> set[int]:
        """Return the numbers of the processes that the system has started for programs."""
        runs = [run for control in self._controls.values() for run in control.instances.values()]
        return {pid for run in runs for pid in run.pids}

    def facts(self, name: str = "") -> list[dict[str, Any]]:
        """Return what is known of each instance, or of those that *name* means, as plain data."""
        found = [self._found(name)] if name else map(self._found, self._controls)
        return [
            _facts(control, slot, control.rows().get(control.name_of(slot)))
            for control, slots in found
            for slot in slots
        ]

    def usage(self) -> dict[str, tuple[float, int]]:
        """Return the CPU seconds and the bytes of memory of each instance that runs, by name."""
        runs = [run for control in self._controls.values() for run in control.instances.values()]
        found = {run.name: run.main.usage() for run in runs}
        return {name: used for name, used in found.items() if used is not None}

    # -- changes ------------------------------------------------------------------------------------

    def check_scale(self, name: str, count: int) -> None:
        """Refuse a number of instances that a program cannot have.

        Raises:
            InvalidSpec: there is no such program, or naming the number or the port.
        """
        control, _ = self._found(name)
        control.spec.program.check_instances(f"program({name!r})", count)
        own = (f"program {name!r}", control.spec.program.ports(count))
        refuse_clashes(f"program({name!r})", [*self._claims(without=name), own])

    async def scale(self, name: str, count: int) -> None:
        """Have so many instances; return when the new ones are ready and the others have ended.

        Raises:
            InvalidSpec: as `check_scale`.
            StartFailed: a new one did not get ready; none of the new ones is left.
            SystemStopped: the system is stopping.
        """
        self.check_scale(name, count)
        control, _ = self._found(name)
        self._check_running()
        async with control.changing:
            have = sorted(control.slots)
            free = (slot for slot in range(len(have) + count) if slot not in control.slots)
            added = [slot for slot, _ in zip(free, range(count - len(have)), strict=False)]
            if added:
                await self._add(control, added)
            gone = have[count:]
            control.slots -= set(gone)
            await control.supervisor.end([(control.name_of(slot), None) for slot in gone])

    async def _add(self, control: ProgramControl, slots: list[int]) -> None:
        control.slots |= set(slots)
        try:
            await control.supervisor.add([self._child(control, slot) for slot in slots])
        except BaseException as error:
            control.slots -= set(slots)
            if isinstance(error, ChildNotStarted):
                cause = first_cause(error)
                raise cause from cause.__cause__
            raise

    async def stop(self, name: str) -> None:
        """Stop a program, or one instance of it, for good.

        Raises:
            InvalidSpec: there is none of that name.
        """
        control, slots = self._found(name)
        if name != control.name:
            async with control.changing:
                control.slots -= set(slots)
                await control.supervisor.end([(name, None)])
            return
        path, _, own = control.handle.path.rpartition("/")
        above = self._tree.find(path)
        await above.stop_child(own)
        try:
            above.delete_child(own)
        except NotFound:  # a dynamic one has forgotten it already
            return

    def kill(self, name: str, by: str) -> None:
        """Kill the processes of a program, or of one instance; they are restarted."""
        control, slots = self._found(name)
        for slot in slots:
            instance = control.instances.get(slot)
            if instance is not None:
                instance.main.crash(by)

    async def reload(
        self, names: Sequence[str], *, by: str, ready_timeout: float | None = None
    ) -> None:
        """Have each instance of programs replaced by another process, one after another.

        Args:
            names: of programs and instances.
            by: who asks, for the events.
            ready_timeout: seconds each has to get ready; None is its `start_timeout`.

        Raises:
            InvalidSpec: there is none of a name.
            ReloadFailed: a new process did not get ready; the instances after it stay as they are.
            ReloadRunning: one of them is being changed.
            SystemStopped: the system is stopping.
        """
        found = [self._found(name) for name in names]
        self._check_running()
        for control, _ in found:
            if control.changing.locked():
                raise ReloadRunning(f"program {control.name!r} is being changed")
        wanted = list(dict.fromkeys(_each(found)))
        shown = [control.name_of(slot) for control, slot in wanted]
        self.event("reload_started", {"programs": shown, "by": by})
        began, renewed = self.loop.now(), list[str]()
        for control, slot in wanted:
            async with control.changing:
                await self._replace(control, slot, renewed, by, ready_timeout)
        seconds = round(self.loop.now() - began, 3)
        self.event("reload_done", {"programs": shown, "by": by, "seconds": seconds})

    async def _replace(
        self,
        control: ProgramControl,
        slot: int,
        renewed: list[str],
        by: str,
        ready_timeout: float | None,
    ) -> None:
        name, instance = control.name_of(slot), control.instances.get(slot)
        try:
            await _running(name, instance).replace(ready_timeout)
        except Exception as error:
            restarting = instance is None or instance.main.state is not RunState.READY
            failed = ReloadFailed(
                name, str(error), renewed, user_part(error), restarting, "program"
            )
            self.event(
                "reload_failed",
                {"program": name, "renewed": renewed, "error": failed.why, "by": by},
            )
            raise failed from error
        renewed.append(name)

    def _check_running(self) -> None:
        if self._state.stopping:
            raise SystemStopped("the system is stopping: it changes no programs")

    # -- end ------------------------------------------------------------------------------------------

    def close(self) -> None:
        """End the thread; no program runs any more."""
        self.threads.close()
        self.sweep.close()
        self.limits.close()

    def abandon(self) -> None:
        """The loop is closed: kill what runs, which nobody waits for any more."""
        for control in self._controls.values():
            for instance in control.instances.values():
                instance.kill()


def _running(name: str, instance: ProgramInstance | None) -> ProgramInstance:
    if instance is None:
        raise ActorsError(f"{name} does not run")
    return instance


def _each(
    found: Sequence[tuple[ProgramControl, list[int]]],
) -> Iterator[tuple[ProgramControl, int]]:
    for control, slots in found:
        for slot in slots:
            yield control, slot


def _facts(control: ProgramControl, slot: int, row: ChildInfo | None) -> dict[str, Any]:
    instance = control.instances.get(slot)
    process = None if instance is None else instance.main
    running = process is not None and process.pid is not None
    state = "STOPPED" if row is None else row.state.value
    return {
        "name": control.name_of(slot),
        "kind": "program",
        "state": process.state.value if running and process is not None else state,
        "pid": None if process is None else process.pid,
        "port": control.spec.program.port_of(slot),
        "restarts": 0 if row is None else row.restarts,
        "health": "" if process is None else process.health,
    }
