"""Makes the running system what an application file describes: its changes are shown, then made in order.

Rule 1: what can be refused is refused before the first change; then nothing has been changed.
Rule 2: the first change that fails is the last one, and the system goes on with what has been done. Applied
again, the file continues from there.
Rule 3: one file at a time; it goes on when the command that asked for it has ended.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import suppress
from copy import copy
from typing import Any, Final

import anyio

from actors._base.errors import ActorsError, InvalidSpec, ReloadFailed
from actors._system.admin_spec import ADMIN_GROUP
from actors._system.application import BadField, build, on_inherited_sockets
from actors._system.application.plan import (
    Change,
    Running,
    described,
    plan,
    refuse_settings,
    tree_items,
    wanted_groups,
)
from actors._system.coordinator import Coordinator
from actors._system.listeners import ListenerController
from actors._system.pool_spec import PoolSpec
from actors._system.program_spec import ProgramSpec
from actors._system.supervision_tree import first_cause
from actors._system.supervisor_handle import SupervisorHandle
from actors._system.topology import Topology
from actors._system.tree_specs import ActorSpec, SupervisorSpec, TreeSpec
from actors.nodes import NodesSpec
from actors.routing import Inet, Listener, inherited_names, probe
from actors.supervisors import (
    ChildNotStarted,
    ChildState,
    Exit,
    ExitKind,
    NotFound,
    Restart,
    SupervisorError,
)

__all__ = ["apply", "running_now"]

_STOPPED: Final = (ChildState.STOPPED, ChildState.ABANDONED)
_BY: Final = "`actors apply`"
_OF_ALERTS: Final = tuple((action, "alerts") for action in ("start", "stop", "change"))


async def apply(
    core: Coordinator,
    tables: dict[str, Any],
    order: Sequence[Sequence[str | int]],
    *,
    expected: list[dict[str, Any]] | None = None,
    stop_serving: bool = False,
) -> AsyncIterator[Any]:
    """Yield the changes, then the number of each that is done, when it is.

    Args:
        core: of the running system.
        tables: of the application file, checked.
        order: of the parts of its tree.
        expected: the changes that were shown; None carries out none.
        stop_serving: whether listeners may be closed, and groups that serve them stopped.

    Raises:
        InvalidSpec: the file is wrong, or the changes are not those that were expected.
        ActorsError: a change cannot be made, or failed.
    """
    application = build(tables, [tuple(path) for path in order])
    wanted = on_inherited_sockets(application.topology, inherited_names())
    changes = _planned(core, wanted)
    shown = [_facts(change) for change in changes]
    yield {"changes": shown, "parts": _count(wanted)}
    if expected is None:
        return
    if expected != shown:
        raise InvalidSpec("the system has changed since the changes were shown: look at them again")
    _refuse_to_stop_serving(changes, allowed=stop_serving)
    _probe_ports(core, changes)
    if core.applying:
        raise ActorsError("another file is being applied")
    progress = _Progress(core, wanted, changes)
    core.applying = True
    core.loop.start(progress.run, name="apply", fresh=True)
    async for number in progress.done():
        yield {"done": number}
    if progress.error is not None:
        raise progress.error


def _planned(core: Coordinator, wanted: Topology) -> list[Change]:
    refuse_settings(core.declared, wanted)
    changes = plan(running_now(core), wanted)
    for change in changes:
        if change.action == "start" and isinstance(change.spec, ActorSpec) and not change.again:
            _check_name(core, change, changes)
    return changes


def _check_name(core: Coordinator, change: Change, changes: Sequence[Change]) -> None:
    """Refuse the name of an actor that somebody else has started."""
    name = change.spec.name
    stops = [one.spec for one in changes if one.action == "stop" and one.part != "alerts"]
    freed = any(spec.name == name or isinstance(spec, SupervisorSpec) for spec in stops)
    if core.registry.get(name) is not None and not freed:
        raise BadField(("children", name), "an actor that is not of a file has that name")


def _facts(change: Change) -> dict[str, Any]:
    """Return a change as plain data."""
    names = ("action", "part", "name", "why", "again", "serves")
    return {name: getattr(change, name) for name in names} | {"what": described(change.spec)}


def _count(wanted: Topology) -> int:
    """Return how many parts a system has."""
    tree = sum(1 for _ in tree_items(wanted.children))
    return tree + len(wanted_groups(wanted)) + len(wanted.listeners) + (wanted.alerts is not None)


# -- what is refused ---------------------------------------------------------------------------------


def _refuse_to_stop_serving(changes: Sequence[Change], *, allowed: bool) -> None:
    stopped = [f"{change.part} {change.name}" for change in changes if change.serves]
    if stopped and not allowed:
        raise InvalidSpec(
            f"this would stop what serves: {', '.join(stopped)}; nothing was changed. "
            "`actors apply --stop-serving` does it"
        )


def _probe_ports(core: Coordinator, changes: Sequence[Change]) -> None:
    """Refuse an address that another program has, before anything is changed.

    Raises:
        ListenFailed: it cannot be bound.
    """
    ours = [listening.spec.where for listening in core.listeners]
    for change in changes:
        if change.part == "listener" and change.action == "start":
            where = change.spec.where
            port = where.port if isinstance(where, Inet) else None
            if not any(
                where == one or (isinstance(one, Inet) and one.port == port) for one in ours
            ):
                probe(change.spec)


# -- what runs ---------------------------------------------------------------------------------------


def running_now(core: Coordinator) -> Running:
    """Return what runs of a system, for the plan."""
    members = {
        name: core.groups.members(name)
        for name in core.groups.specs
        if name not in core.pools.names and name != ADMIN_GROUP
    }
    places = {actor.ref.name: actor.ref.node for actor in core.supervised.values()}
    items = list(tree_items(core.declared.children))
    return Running(
        topology=core.declared,
        groups={
            name: _counted(core.groups.specs[name], len(nodes))
            for name, nodes in members.items()
            if nodes
        },
        down=frozenset(path for path, item in items if _is_down(core, path, item)),
        slots={name: [node.slot for node in nodes] for name, nodes in members.items()},
        places={
            path: frozenset(places[name] for name in _actors_of(item) if name in places)
            for path, item in items
        },
        instances={
            path: len(core.programs.facts(item.name))
            for path, item in items
            if isinstance(item, ProgramSpec) and item.name in core.programs.names
        },
    )


def _counted(spec: NodesSpec, count: int) -> NodesSpec:
    made = copy(spec)
    object.__setattr__(made, "count", count)  # one that was checked before
    return made


def _actors_of(item: TreeSpec) -> Iterator[str]:
    if isinstance(item, ActorSpec):
        yield item.name
    elif isinstance(item, PoolSpec) and item.on is not None:
        for slot in range(item.most):
            yield from (worker.name for worker in item.workers(slot))


def _is_down(core: Coordinator, path: str, item: TreeSpec) -> bool:
    """Whether a part of the tree should run, and does not."""
    handle = core.tree.handles.get(path.rpartition("/")[0])
    if handle is None or item.restart is Restart.TEMPORARY:
        return False
    rows = {row.name: row for row in handle.children()}
    row = rows.get(item.name)
    if row is None:
        return True
    last: Exit | None = row.last_exit
    finished = last is not None and last.kind is ExitKind.NORMAL
    return row.state in _STOPPED and not (finished and item.restart is Restart.TRANSIENT)


# -- what is done ------------------------------------------------------------------------------------


class _Progress:
    """Carries out the changes of one file.

    Attributes:
        error: what ended it early.
    """

    def __init__(self, core: Coordinator, wanted: Topology, changes: Sequence[Change]) -> None:
        self._core = core
        self._wanted = wanted
        self._changes = changes
        self._count = 0
        self._over = False
        self._news = anyio.Event()
        self.error: ActorsError | None = None
        self._steps: dict[tuple[str, str], Callable[[Change], Awaitable[object]]] = {
            ("start", "group"): lambda change: core.groups.start(change.spec),
            ("stop", "group"): self._remove,
            ("scale", "group"): self._scale,
            ("renew", "group"): self._renew,
            ("start", "listener"): self._open,
            ("stop", "listener"): self._close,
            ("start", "tree"): self._start,
            ("stop", "tree"): self._stop,
            ("revive", "tree"): self._revive,
            ("scale", "tree"): self._scale_program,
            **dict.fromkeys(_OF_ALERTS, self._watch),
        }

    async def run(self) -> None:
        """Carry out all of them."""
        core = self._core
        facts = {"changes": len(self._changes), "by": _BY}
        core.event("apply_started", facts)
        self._serve_also(self._wanted.listeners)
        try:
            for number, change in enumerate(self._changes):
                await self._do(change)
                self._tell(number + 1)
            self._finish()
            core.event("apply_done", facts)
        except ActorsError as error:
            self.error = error
            core.event("apply_failed", {**facts, "error": str(error)})
        finally:
            self._serve_also(core.declared.listeners)
            core.applying = False
            self._over = True
            self._tell(self._count)

    def _tell(self, count: int) -> None:
        self._count = count
        self._news.set()
        self._news = anyio.Event()

    async def done(self) -> AsyncIterator[int]:
        """Yield the number of each change when it is done, until there is none left or one has failed."""
        number = 0
        while number < self._count or not self._over:
            if number < self._count:
                yield number
                number += 1
            else:
                await self._news.wait()

    def _serve_also(self, listeners: Sequence[Listener]) -> None:
        """Let nodes that start know the listeners that they are to serve, beside those there are."""
        names = {listener.name for listener in listeners}
        kept = [one for one in self._core.declared.listeners if one.name not in names]
        self._core.topology = self._core.declared.with_parts(listeners=[*listeners, *kept])

    async def _do(self, change: Change) -> None:
        part = change.part if change.part in {"group", "listener", "alerts"} else "tree"
        try:
            await self._steps[change.action, part](change)
        except ChildNotStarted as error:
            raise self._failed(change, first_cause(error)) from error
        except (ActorsError, SupervisorError) as error:
            raise self._failed(change, error) from error
        self._core.declared = _with_change(self._core.declared, change, part)

    def _failed(self, change: Change, error: BaseException) -> ActorsError:
        number = self._changes.index(change)
        done = f"{number} of {len(self._changes)} changes were made before"
        what = f"{change.part} {change.name} was not {_PAST[change.action]}"
        return ActorsError(f"{what}: {error}; {done}")

    def _finish(self) -> None:
        """Have supervisors start what they are to have now, when they are started again."""
        for path, item in tree_items(self._wanted.children):
            if isinstance(item, SupervisorSpec) and not isinstance(item, PoolSpec):
                self._core.tree.redefine(path, item)
        self._core.declared = self._wanted

    async def _remove(self, change: Change) -> None:
        self._core.scaling.unwatch(change.name)
        await self._core.groups.remove(change.name)

    async def _scale(self, change: Change) -> None:
        core, spec = self._core, change.spec
        if (spec.min, spec.max) != (
            core.groups.specs[spec.name].min,
            core.groups.specs[spec.name].max,
        ):
            core.groups.respecify(spec)
            core.scaling.watch(spec)
        await self._core.groups.scale(change.name, change.spec.count)

    async def _scale_program(self, change: Change) -> None:
        await self._core.programs.scale(change.spec.name, change.spec.program.instances)

    async def _renew(self, change: Change) -> None:
        groups = self._core.groups
        old = groups.specs[change.name]
        groups.respecify(change.spec)
        try:
            await self._core.reloading.reload([change.name], by=_BY)
            self._core.scaling.watch(change.spec)
        except ReloadFailed:
            groups.respecify(old)  # a node that is restarted gets ready by this
            raise

    async def _open(self, change: Change) -> None:
        core = self._core
        controller = ListenerController(core, change.spec)
        core.listeners.append(controller)
        try:
            await core.tree.open_listener(controller)
        except BaseException:
            core.listeners.remove(controller)
            raise

    async def _close(self, change: Change) -> None:
        core = self._core
        for controller in [one for one in core.listeners if one.spec.name == change.name]:
            await core.tree.close_listener(controller)
            core.listeners.remove(controller)
            await controller.end_servers()

    async def _watch(self, change: Change) -> None:
        self._core.alerts.watch(None if change.action == "stop" else change.spec)

    def _above(self, change: Change) -> SupervisorHandle:
        return self._core.tree.find(change.name.rpartition("/")[0])

    async def _start(self, change: Change) -> None:
        await self._above(change).start_child(change.spec, again=True)

    async def _stop(self, change: Change) -> None:
        handle, name = self._above(change), change.spec.name
        with suppress(NotFound):  # it has ended by itself, and is not kept
            await handle.stop_child(name)
            handle.delete_child(name)
        for _, item in tree_items([change.spec]):
            if isinstance(item, PoolSpec):
                await self._core.pools.wait_for_nodes(item)

    async def _revive(self, change: Change) -> None:
        handle = self._above(change)
        rows = {row.name: row for row in handle.children()}
        if change.spec.name not in rows:
            await handle.start_child(change.spec, again=True)
        elif rows[change.spec.name].state in _STOPPED:
            await handle.restart_child(change.spec.name)
        elif isinstance(change.spec, PoolSpec):
            pool = self._core.tree.find(change.name)
            for row in pool.children():
                if row.state in _STOPPED:
                    await pool.restart_child(row.name)


_PAST: Final = {
    "start": "started",
    "stop": "stopped",
    "scale": "scaled",
    "renew": "renewed",
    "revive": "started again",
    "change": "changed",
}


def _with_change(topology: Topology, change: Change, part: str) -> Topology:
    """Return what a system is to be after a change; it is not checked, as others may belong to it."""
    if part == "group":
        groups = [spec for spec in topology.nodes if spec.name != change.name]
        return topology.with_parts(nodes=[*groups, *_kept(change)])
    if part == "listener":
        others = [one for one in topology.listeners if one.name != change.name]
        return topology.with_parts(listeners=[*others, *_kept(change)])
    if part == "alerts":
        return topology.with_parts(alerts=None if change.action == "stop" else change.spec)
    return topology.with_parts(
        children=_children(topology.children, change.name.split("/"), change)
    )


def _children(children: Sequence[TreeSpec], path: Sequence[str], change: Change) -> list[TreeSpec]:
    name, *rest = path
    if not rest:
        return [*(item for item in children if item.name != name), *_kept(change)]
    made: list[TreeSpec] = []
    for item in children:
        if item.name == name and isinstance(item, SupervisorSpec):
            outer = copy(item)
            object.__setattr__(outer, "children", tuple(_children(item.children, rest, change)))
            made.append(outer)
        else:
            made.append(item)
    return made


def _kept(change: Change) -> list[Any]:
    return [] if change.action == "stop" else [change.spec]
