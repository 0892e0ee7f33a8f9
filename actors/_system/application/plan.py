"""How a running system becomes the one that an application file describes: the changes, in order.

Pure: what runs and what is wanted go in, changes come out. What is the same in both is in no change, and so is
not restarted, unless what it runs on has to be.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import Any, Final, Literal, TypeAlias

from actors._base.errors import InvalidSpec
from actors._system.alerts_spec import ALERTS, Alerts
from actors._system.keyed_spec import KeyedSpec
from actors._system.pool_spec import PoolSpec
from actors._system.program_spec import ProgramSpec
from actors._system.topology import Topology
from actors._system.tree_specs import ActorSpec, DynamicSpec, SupervisorSpec, TreeSpec, path_of
from actors.nodes import NodesSpec, nodes
from actors.routing import Asgi, Listener
from actors.supervisors import Strategy

__all__ = [
    "Action",
    "Change",
    "Running",
    "described",
    "differences",
    "part_of",
    "plan",
    "refuse_settings",
    "shown",
    "tree_items",
    "wanted_groups",
]

Action: TypeAlias = Literal["start", "stop", "scale", "renew", "revive", "change"]
_MAIN: Final = "main"
_LONGEST: Final = 60
_BOUNDS: Final = ("min", "max")
"""Of a group that scales itself; its nodes go on when they change."""
_SETTINGS: Final = (
    "budget",
    "propagate",
    "trace",
    "largest",
    "lend_per_node",
    "patience",
    "ask_timeout",
    "admin",
    "lease",
    "reach",
    "join_secret",
    "tls",
)
"""What is fixed at the start of a system."""


@dataclass(frozen=True, slots=True)
class Running:
    """What runs of a system.

    Attributes:
        topology: what it is to be at present.
        groups: every group that has nodes, with their number as its `count`; without those of pools.
        down: the paths of declared parts of the tree that do not run.
        slots: the slots of the nodes of each group, in order.
        places: the nodes of the actors of each part of the tree, by its path.
        instances: how many instances a program has, by its path.
    """

    topology: Topology
    groups: Mapping[str, NodesSpec]
    down: frozenset[str] = frozenset()
    slots: Mapping[str, Sequence[int]] = field(default_factory=dict)
    places: Mapping[str, frozenset[str]] = field(default_factory=dict)
    instances: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One thing that is done.

    Attributes:
        action: ``start``, ``stop``; ``scale`` of a group or a program; ``renew`` of a group, whose nodes are
            replaced one by one; ``revive``: start again what ended with its node, or had been stopped;
            ``change`` of alerts, which go on with other thresholds.
        part: what it is: group, listener, child, pool, keyed, program, supervisor or alerts.
        name: of a part of the tree its path.
        why: what differs.
        spec: what it is to be; of a stop, what it was.
        again: whether it is also stopped, or started again, by another change.
        serves: whether it stops what serves.
    """

    action: Action
    part: str
    name: str
    why: str = ""
    spec: Any = None
    again: bool = False
    serves: bool = False


def tree_items(children: Sequence[TreeSpec], above: str = "") -> Iterator[tuple[str, TreeSpec]]:
    """Yield the parts of a tree with their paths, each supervisor before its children."""
    for item in children:
        path = f"{above}/{item.name}" if above else item.name
        yield path, item
        if _is_static(item):
            yield from tree_items(item.children, path)  # type: ignore[union-attr] # as it says


def _is_static(item: object) -> bool:
    return isinstance(item, SupervisorSpec) and not isinstance(item, PoolSpec)


def refuse_settings(old: Topology, new: Topology) -> None:
    """Refuse a difference that only a restart of the system makes.

    Raises:
        InvalidSpec: naming all of them.
    """
    found = [
        f"{'' if name == 'admin' else 'system.'}{name}: {shown(before)} → {shown(after)}"
        for name in _SETTINGS
        if (before := getattr(old, name)) != (after := getattr(new, name))
    ]
    if found:
        raise InvalidSpec(
            f"{', '.join(found)} can only be changed by a restart of the system; nothing was changed"
        )


# -- what differs ------------------------------------------------------------------------------------


def differences(
    old: object, new: object, without: Sequence[str] = ()
) -> dict[str, tuple[Any, Any]]:
    """Return the values that differ between two specs, by their names."""
    before, after = _facts(old), _facts(new)
    return {
        name: (before.get(name), after.get(name))
        for name in [*before, *(name for name in after if name not in before)]
        if before.get(name) != after.get(name) and name not in without
    }


_SAID_OTHERWISE: Final = frozenset(
    (
        "cls",
        "args",
        "kwargs",
        "sent",
        "path",
        "arguments",
        "options",
        "group",
        "children",
        "program",
    )
)
"""Fields whose values `_facts` says under other names, or which follow from the others."""


def _facts(spec: object) -> dict[str, Any]:
    """Return the values of a spec; a class as its path, whoever has described it."""
    if not is_dataclass(spec):
        return {}
    facts = {item.name: getattr(spec, item.name) for item in fields(spec)}
    found: dict[str, Any] = {}
    if isinstance(spec, ActorSpec):
        found = {"class": path_of(spec), "arguments": _arguments(spec)}
    elif isinstance(spec, PoolSpec):
        path = "" if spec.cls is None else path_of(spec.workers(0)[0])
        own = {f"nodes.{key}": value for key, value in _facts(spec.group).items()}
        found = {"class": path, "arguments": _arguments(spec), **own}
    elif isinstance(spec, KeyedSpec):
        found = {"class": spec.path, "arguments": spec.arguments}
    elif isinstance(spec, ProgramSpec):
        found = _facts(spec.program)
    elif isinstance(spec, Listener) and isinstance(spec.handler, Asgi):
        found = {"handler": None, **_facts(spec.handler)}
    return {key: value for key, value in facts.items() if key not in _SAID_OTHERWISE} | found


def _arguments(spec: ActorSpec[Any] | PoolSpec[Any]) -> object:
    return (spec.args, dict(spec.kwargs)) if spec.sent is None else spec.sent.arguments


def shown(value: object) -> str:
    """Return a value for people, shortened."""
    text = f"{value}"
    return text if len(text) <= _LONGEST else text[:_LONGEST] + "..."


_SECRET: Final = frozenset(("password", "webhook"))
"""Values that nobody is shown: what they were and are to be stays out of terminals and records of them."""


def _told(found: Mapping[str, tuple[Any, Any]]) -> str:
    return ", ".join(_difference(name, before, after) for name, (before, after) in found.items())


def _difference(name: str, before: Any, after: Any) -> str:
    own = name.rpartition(".")[2]
    if own in _SECRET:
        return f"{name} differs"
    if type(before) is type(after) and (parts := differences(before, after)):
        return _told({f"{name}.{part}": values for part, values in parts.items()})
    if own == "env":
        old, new = before or {}, after or {}
        changed = [key for key in {**old, **new} if old.get(key) != new.get(key)]
        return f"{name} differs in {', '.join(changed)}"
    return f"{name} {shown(before)} → {shown(after)}"


def part_of(item: object) -> str:
    """Return what a part of the tree is called."""
    kinds = (
        (PoolSpec, "pool"),
        (KeyedSpec, "keyed"),
        (ProgramSpec, "program"),
        (ActorSpec, "child"),
    )
    return next((name for kind, name in kinds if isinstance(item, kind)), "supervisor")


def described(spec: object) -> str:
    """Return what a part of a system is, in a few words."""
    match spec:
        case NodesSpec():
            said = f"{spec.count} {spec.kind} node{'s' * (spec.count != 1)}"
        case Listener():
            said = f"{spec.path} at {spec.address} on {spec.nodes}"
        case PoolSpec():
            said = f"{spec.size} worker{'s' * (spec.size != 1)}"
        case ProgramSpec():
            count, command = spec.program.instances, " ".join(spec.program.command)
            said = f"{command}{f', {count} instances' if count != 1 else ''}"
        case Alerts():
            limits = ((name, getattr(spec, name)) for name in ALERTS)
            said = ", ".join(f"{name} {limit}" for name, limit in limits if limit is not None)
        case KeyedSpec() | ActorSpec():
            path = spec.path if isinstance(spec, KeyedSpec) else path_of(spec)
            said = f"{path} on {spec.on or _MAIN}"
        case SupervisorSpec():
            said = f"{spec.strategy.name.lower()}, {len(spec.children)} children"
        case _:
            said = "dynamic"
    return said


# -- the plan ----------------------------------------------------------------------------------------


def plan(now: Running, wanted: Topology) -> list[Change]:
    """Return the changes that make *wanted* of what runs, in the order in which they are carried out.

    New nodes come first, then what is to end does, then the rest starts: what cannot start is known before
    anything has ended, as far as that can be.
    """
    groups = _Groups(now, wanted)
    tree = _Tree(now, wanted, groups)
    closed, opened = _listeners(now, wanted, groups)
    return [
        *groups.first,
        *groups.renewed,
        *closed,
        *tree.stops,
        *groups.stops,
        *groups.rest,
        *tree.starts,
        *opened,
        *_alerts(now.topology.alerts, wanted.alerts),
    ]


def wanted_groups(topology: Topology) -> dict[str, NodesSpec]:
    """Return the groups of a topology, with the one for actors that are placed nowhere."""
    groups = {spec.name: spec for spec in topology.nodes}
    if topology.has_unplaced and _MAIN not in groups:
        groups[_MAIN] = nodes(_MAIN)
    return groups


class _Groups:
    """What becomes of the groups.

    Attributes:
        ending: the groups whose nodes are stopped, even if others are started under the same name.
        leaving: the names of single nodes that go.
    """

    def __init__(self, now: Running, wanted: Topology) -> None:
        self._now = now
        self._served = {listener.nodes for listener in now.topology.listeners}
        self.first: list[Change] = []
        self.renewed: list[Change] = []
        self.stops: list[Change] = []
        self.rest: list[Change] = []
        self.ending: set[str] = set()
        self.leaving: set[str] = set()
        groups = wanted_groups(wanted)
        for spec in now.topology.nodes:
            if spec.name not in groups and spec.name in now.groups:
                self._stop(spec, "it is not in the file")
        taken = {
            pool.name for _, pool in tree_items(now.topology.children) if isinstance(pool, PoolSpec)
        }
        for name, spec in groups.items():
            if name in now.groups:
                self._compare(now.groups[name], spec)
            else:
                later = self.rest if name in taken else self.first
                later.append(Change(action="start", part="group", name=name, spec=spec))

    def _stop(self, spec: NodesSpec, why: str, *, again: bool = False) -> None:
        self.ending.add(spec.name)
        self.stops.append(
            Change(
                action="stop",
                part="group",
                name=spec.name,
                why=why,
                spec=spec,
                again=again,
                serves=spec.name in self._served,
            )
        )

    def _compare(self, old: NodesSpec, new: NodesSpec) -> None:
        found = differences(old, new, without=["count"])
        change = Change(action="start", part="group", name=new.name, spec=new, again=True)
        bounds = {name: found.pop(name) for name in _BOUNDS if name in found}
        if found and not old.kind == new.kind == "process":
            self._stop(old, _told(found), again=True)
            self.rest.append(change)
            return
        if found:
            self.renewed.append(replace(change, action="renew", why=_told(found), again=False))
        count = _count(old, new)
        if old.count != count or (bounds and not found):
            resized = {"count": (old.count, count)} if old.count != count else {}
            scale = replace(
                change,
                action="scale",
                why=_told(bounds | resized),
                again=False,
                spec=replace(new, count=count),
            )
            (self.first if count > old.count else self.rest).append(scale)
            slots = self._now.slots.get(new.name, range(old.count))
            self.leaving |= {f"{new.name}/{slot}" for slot in slots[count:]}


def _count(old: NodesSpec, new: NodesSpec) -> int:
    """Return how many nodes a group is to have; one that scales itself has as many as it has, in its bounds."""
    if new.min is None or new.max is None:
        return new.count
    return max(new.min, min(new.max, old.count))


class _Tree:
    """What becomes of the children."""

    def __init__(self, now: Running, wanted: Topology, groups: _Groups) -> None:
        self._now = now
        self._groups = groups
        self._old = dict(tree_items(now.topology.children))
        self._new = dict(tree_items(wanted.children))
        self.stops: list[Change] = []
        self.starts: list[Change] = []
        for path, item in self._old.items():
            if not self._inside(path, self.stops):
                self._compare(path, item)
        self.stops.reverse()
        for path, item in self._new.items():
            started = self._inside(path, self.starts)
            ended = any(path == stop.name for stop in self.stops)
            if not started and (path not in self._old or ended or self._inside(path, self.stops)):
                self._start("start", path, item, again=ended)
            elif not started and self._is_down(path, item):
                self._start("revive", path, item)
            elif not started and isinstance(item, ProgramSpec):
                self._scale(path, item)

    def _inside(self, path: str, changes: Sequence[Change]) -> bool:
        """Whether a supervisor above *path* is stopped or started, and so what is below it."""
        return any(path.startswith(f"{change.name}/") for change in changes)

    def _compare(self, path: str, old: TreeSpec) -> None:
        if path not in self._new:
            self._stop(path, old, "it is not in the file")
        elif why := self._why_again(path):
            self._stop(path, old, why, again=True)

    def _why_again(self, path: str) -> str:
        """Return why what runs at *path* has to be stopped and started again, or "" where it goes on."""
        old, new = self._old[path], self._new[path]
        group = _group_of(old)
        why = ""
        if part_of(old) != part_of(new) or isinstance(old, DynamicSpec) != isinstance(
            new, DynamicSpec
        ):
            why = f"it becomes a {part_of(new)}"
        elif found := differences(old, new, without=["instances"]):
            why = _told(found)
        elif group in self._groups.ending:
            why = f"the nodes of {group} are stopped"
        elif isinstance(new, SupervisorSpec) and _is_static(old):
            why = "" if self._keeps_order(path, new) else "the order of its children"
        return why

    def _keeps_order(self, path: str, new: SupervisorSpec) -> bool:
        """Whether children that are added at the end leave a supervisor with the order that it is to have."""
        if new.strategy is not Strategy.REST_FOR_ONE:
            return True
        order = [f"{path}/{item.name}" for item in new.children]
        kept = [one for one in order if one in self._old and not self._why_again(one)]
        running = [one for one in self._old if one in kept]
        return running == kept == order[: len(kept)]

    def _stop(self, path: str, item: TreeSpec, why: str, *, again: bool = False) -> None:
        self.stops.append(
            Change(action="stop", part=part_of(item), name=path, why=why, spec=item, again=again)
        )

    def _start(self, action: Action, path: str, item: TreeSpec, *, again: bool = False) -> None:
        why = "" if action == "start" else self._why_down(path)
        self.starts.append(
            Change(action=action, part=part_of(item), name=path, why=why, spec=item, again=again)
        )

    def _scale(self, path: str, item: ProgramSpec) -> None:
        old, wanted = self._old[path], item.program.instances
        assert isinstance(old, ProgramSpec)
        have = self._now.instances.get(path, old.program.instances)
        if have != wanted:
            why = f"instances {have} → {wanted}"
            self.starts.append(
                Change(action="scale", part="program", name=path, why=why, spec=item)
            )

    def _leaving_from(self, path: str) -> set[str]:
        return set(self._now.places.get(path, ())) & self._groups.leaving

    def _is_down(self, path: str, item: TreeSpec) -> bool:
        lost = not isinstance(item, KeyedSpec) and self._leaving_from(path)
        return path in self._now.down or bool(lost)

    def _why_down(self, path: str) -> str:
        leaving = self._leaving_from(path)
        return f"{', '.join(sorted(leaving))} goes" if leaving else "it does not run"


def _group_of(item: TreeSpec) -> str | None:
    """Return the group that a part of the tree runs on."""
    if isinstance(item, PoolSpec):
        on = item.per_node if item.on is None else item.on
        return None if on is None else on.partition("/")[0]
    if isinstance(item, ActorSpec | KeyedSpec):
        return (item.on or _MAIN).partition("/")[0]
    return None


def _listeners(
    now: Running, wanted: Topology, groups: _Groups
) -> tuple[list[Change], list[Change]]:
    """Return the listeners that are closed and those that are opened."""
    old = {listener.name: listener for listener in now.topology.listeners}
    new = {listener.name: listener for listener in wanted.listeners}
    closed: list[Change] = []
    for name, listener in old.items():
        if name not in new:
            why = "it is not in the file"
        elif found := differences(listener, new[name]):
            why = _told(found)
        elif listener.nodes in groups.ending:
            why = f"the nodes of {listener.nodes} are stopped"
        else:
            continue
        closed.append(
            Change(
                action="stop",
                part="listener",
                name=name,
                why=why,
                spec=listener,
                again=name in new,
                serves=True,
            )
        )
    ended = {change.name for change in closed}
    opened = [
        Change(action="start", part="listener", name=name, spec=listener, again=name in ended)
        for name, listener in new.items()
        if name not in old or name in ended
    ]
    return closed[::-1], opened


def _alerts(old: Alerts | None, new: Alerts | None) -> list[Change]:
    if old == new:
        return []
    found = differences(old, new) if old is not None and new is not None else {}
    action: Action = "stop" if new is None else "start" if old is None else "change"
    why = "it is not in the file" if new is None else _told(found)
    return [Change(action=action, part="alerts", name="thresholds", why=why, spec=new or old)]
