"""The changes from one application to another: for any two, on a model of a system that is strict."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings

import actors
from actors._base.errors import InvalidSpec
from actors._system.alerts_spec import Alerts
from actors._system.application import build
from actors._system.application.plan import (
    Change,
    Running,
    differences,
    plan,
    refuse_settings,
    tree_items,
    wanted_groups,
)
from actors._system.keyed_spec import KeyedSpec
from actors._system.pool_spec import PoolSpec
from actors._system.topology import Topology
from actors._system.tree_specs import ActorSpec, SupervisorSpec, TreeSpec
from actors.nodes import NodesSpec
from actors.routing import Listener
from tests.application.files import pairs
from tests.application.parts import Counter
from tests.routing.certificates import Certified


@dataclass
class Model:
    """A system without processes: each thing that runs has a number, which it gets when it starts."""

    groups: dict[str, NodesSpec] = field(default_factory=dict)
    nodes: dict[str, int] = field(default_factory=dict)
    listeners: dict[str, tuple[Listener, int]] = field(default_factory=dict)
    tree: dict[str, tuple[TreeSpec, int]] = field(default_factory=dict)
    lost: set[str] = field(default_factory=set)
    places: dict[str, str] = field(default_factory=dict)
    renewed: set[str] = field(default_factory=set)
    alerts: Alerts | None = None
    numbers: Any = field(default_factory=lambda: itertools.count(1))

    def start(self, topology: Topology) -> None:
        for change in plan(Running(topology=Topology(), groups={}), topology):
            self.do(change)

    def running(self, topology: Topology) -> Running:
        return Running(
            topology=topology,
            groups=self.groups,
            places={path: frozenset([node]) for path, node in self.places.items()},
        )

    def do(self, change: Change) -> None:
        part = change.part if change.part in {"group", "listener", "alerts"} else "tree"
        getattr(self, f"{change.action}_{part}")(change)

    # -- groups

    def start_group(self, change: Change) -> None:
        assert change.name not in self.groups
        pools = [item.name for item, _ in self.tree.values() if isinstance(item, PoolSpec)]
        assert change.name not in pools
        self._size(change.spec)

    def scale_group(self, change: Change) -> None:
        assert change.name in self.groups
        self._size(replace(self.groups[change.name], count=change.spec.count))

    def _size(self, spec: NodesSpec) -> None:
        self.groups[spec.name] = spec
        names = {f"{spec.name}/{slot}" for slot in range(spec.count)}
        for node in [node for node in self.nodes if node.partition("/")[0] == spec.name]:
            if node not in names:
                del self.nodes[node]
                self.lost |= {path for path, place in self.places.items() if place == node}
        for name in names:
            self.nodes.setdefault(name, next(self.numbers))

    def renew_group(self, change: Change) -> None:
        old = self.groups[change.name]
        assert old.kind == change.spec.kind == "process"
        self.groups[change.name] = replace(change.spec, count=old.count)
        self.renewed.add(change.name)

    def stop_group(self, change: Change) -> None:
        assert not [one for one, _ in self.listeners.values() if one.nodes == change.name]
        on = {path for path, place in self.places.items() if place.partition("/")[0] == change.name}
        assert not on, "what runs on a group is stopped before it"
        self._size(replace(self.groups[change.name], count=1))
        del self.groups[change.name], self.nodes[f"{change.name}/0"]

    # -- listeners

    def start_listener(self, change: Change) -> None:
        assert change.name not in self.listeners
        assert change.spec.nodes in self.groups
        self.listeners[change.name] = change.spec, next(self.numbers)

    def stop_listener(self, change: Change) -> None:
        assert change.serves
        del self.listeners[change.name]

    # -- alerts

    def start_alerts(self, change: Change) -> None:
        assert self.alerts is None
        self.alerts = change.spec

    def change_alerts(self, change: Change) -> None:
        assert self.alerts not in {None, change.spec}
        self.alerts = change.spec

    def stop_alerts(self, change: Change) -> None:
        assert self.alerts == change.spec
        self.alerts = None

    # -- the tree

    def start_tree(self, change: Change) -> None:
        for path, item in tree_items([change.spec], change.name.rpartition("/")[0]):
            assert path not in self.tree
            names = [one.name for one, _ in self.tree.values()]
            assert item.name not in names, "names are unique while both run"
            above = path.rpartition("/")[0]
            assert not above or above in self.tree
            self._place(path, item)
            self.tree[path] = item, next(self.numbers)

    def _place(self, path: str, item: TreeSpec) -> None:
        on = getattr(item, "on", None)
        if isinstance(item, ActorSpec | KeyedSpec):
            on = on or "main"
        if isinstance(item, SupervisorSpec) and not isinstance(item, PoolSpec):
            on = None
        if on is not None:
            count = self.groups[on].count
            self.places[path] = f"{on}/{sum(item.name.encode()) % count}"

    def stop_tree(self, change: Change) -> None:
        for path in [
            path for path in self.tree if path == change.name or path.startswith(f"{change.name}/")
        ]:
            del self.tree[path]
            self.places.pop(path, None)
            self.lost.discard(path)

    def revive_tree(self, change: Change) -> None:
        self.lost.remove(change.name)
        self._place(change.name, change.spec)
        self.tree[change.name] = change.spec, next(self.numbers)


def _bare(item: TreeSpec) -> TreeSpec:
    if isinstance(item, SupervisorSpec) and not isinstance(item, PoolSpec):
        return replace(item, children=())
    return item


@settings(max_examples=200)
@given(pairs())
def test_any_file_becomes_any_other_and_what_is_in_both_goes_on(
    files: tuple[dict[str, Any], dict[str, Any]],
) -> None:
    first, second = files
    old, new = build(first).topology, build(second).topology
    model = Model()
    model.start(old)
    before = (dict(model.nodes), dict(model.listeners), dict(model.tree), dict(model.places))

    changes = plan(model.running(old), new)
    for change in changes:
        model.do(change)

    wanted = dict(tree_items(new.children))
    assert {name: spec for name, spec in model.groups.items() if name in wanted_groups(new)} == (
        wanted_groups(new)
    )
    assert {one.name: one for one in new.listeners} == {
        name: spec for name, (spec, _) in model.listeners.items()
    }
    assert {path: _bare(item) for path, item in wanted.items()} == {
        path: _bare(item) for path, (item, _) in model.tree.items()
    }
    assert model.alerts == new.alerts
    assert not model.lost
    _check_order(model, new)
    _check_kept(model, before, wanted, changes)
    assert plan(model.running(new), new) == []


def _check_order(model: Model, new: Topology) -> None:
    """The children of a supervisor that restarts those behind another one run in the order of the file."""
    for path, item in tree_items(new.children):
        if isinstance(item, SupervisorSpec) and item.strategy.name == "REST_FOR_ONE":
            inside = [f"{path}/{one.name}" for one in item.children]
            assert [one for one in model.tree if one in inside] == inside


def _check_kept(
    model: Model, before: Any, wanted: dict[str, TreeSpec], changes: list[Change]
) -> None:
    nodes, listeners, tree, places = before
    ended = {change.name for change in changes if (change.action, change.part) == ("stop", "group")}
    for node, number in nodes.items():
        if node in model.nodes and node.partition("/")[0] not in ended:
            assert model.nodes[node] == number
    for name, (listener, number) in listeners.items():
        if name in model.listeners and model.listeners[name][0] == listener:
            kept = model.listeners[name][1] == number
            assert kept or listener.nodes in ended
    restarted = {change.name for change in changes if change.part == "supervisor" and change.again}
    for path, (item, number) in tree.items():
        if path not in model.tree or _bare(item) != _bare(wanted[path]) or path in restarted:
            continue
        above = any(path.startswith(f"{one}/") for one in restarted)
        moved = places.get(path, "") not in {"", *model.nodes} or (
            places.get(path, "").partition("/")[0] in ended
        )
        # What a shared pool lost is started again in it.
        assert model.tree[path][1] == number or above or moved


def _two(first: dict[str, Any], second: dict[str, Any]) -> list[Change]:
    old = build(first).topology
    return plan(Running(topology=old, groups=wanted_groups(old)), build(second).topology)


def test_a_value_of_a_group_of_processes_renews_its_nodes_and_one_of_threads_replaces_them() -> (
    None
):
    (renew,) = _two({"nodes": {"a": {}}}, {"nodes": {"a": {"shutdown": 3}}})
    assert (renew.action, renew.why) == ("renew", "shutdown 5.0 → 3")

    threads = {"nodes": {"a": {"kind": "thread"}}}
    stop, start = _two(threads, {"nodes": {"a": {"kind": "thread", "shutdown": 3}}})
    assert (stop.action, start.action, stop.again) == ("stop", "start", True)


def _program(**options: Any) -> dict[str, Any]:
    return {"programs": {"a": {"command": ["true"], **options}}}


@pytest.mark.parametrize(
    "first, second, why",
    [
        (
            _program(env={"KEY": "secret-1", "OLD": "secret-2", "SAME": "x"}),
            _program(env={"KEY": "secret-3", "NEW": "secret-4", "SAME": "x"}),
            "env differs in KEY, OLD, NEW",
        ),
        (
            {"nodes": {"a": {}}},
            {"nodes": {"a": {"env": {"KEY": "secret-1"}}}},
            "env differs in KEY",
        ),
        (
            {"pools": {"a": {"env": {"KEY": "secret-1"}}}},
            {"pools": {"a": {"env": {"KEY": "secret-2"}}}},
            "nodes.env differs in KEY",
        ),
        (
            {"alerts": {"lag": 1, "webhook": "https://chat.example/secret-1"}},
            {"alerts": {"lag": 1, "webhook": "https://chat.example/secret-2"}},
            "webhook differs",
        ),
    ],
)
def test_variables_and_a_webhook_that_differ_are_named_and_not_shown(
    first: dict[str, Any], second: dict[str, Any], why: str
) -> None:
    changes = _two(first, second)
    assert why in [change.why for change in changes]
    assert "secret" not in "".join(change.why for change in changes)


def test_what_has_parts_is_shown_by_those_that_differ() -> None:
    first = _program(health="tcp://127.0.0.1:1", health_timeout=1)
    second = _program(health="tcp://127.0.0.1:2", health_timeout=1)
    whys = [change.why for change in _two(first, second)]
    assert whys == ["health.check tcp://127.0.0.1:1 → tcp://127.0.0.1:2", ""]


def test_a_password_that_differs_is_not_shown(tmp_path: Path) -> None:
    files = Certified(tmp_path).files

    def served(password: str) -> dict[str, Any]:
        listener = {"handler": "a:b", "nodes": "a", "keyfile_password": password, **files}
        return {"nodes": {"a": {}}, "listeners": {"web": listener}}

    why = [change.why for change in _two(served("secret-1"), served("secret-2"))]
    assert why == ["tls.password differs", ""]


def _ordered(strategy: str, *children: str) -> dict[str, Any]:
    inside = {"class": "m:X", "on": "a", "under": "s"}
    return {
        "nodes": {"a": {}},
        "supervisors": {"s": {"strategy": strategy}},
        "children": dict.fromkeys(children, inside),
    }


@pytest.mark.parametrize("order", ["yx", "zxy", "xzy"])
def test_another_order_of_children_restarts_a_supervisor_to_whose_restarts_it_matters(
    order: str,
) -> None:
    changes = _two(_ordered("rest_for_one", *"xy"), _ordered("rest_for_one", *order))
    assert [(one.action, one.name) for one in changes] == [("stop", "s"), ("start", "s")]
    assert changes[0].why == "the order of its children"

    added = [("start", f"s/{name}") for name in order if name == "z"]
    changes = _two(_ordered("one_for_one", *"xy"), _ordered("one_for_one", *order))
    assert [(one.action, one.name) for one in changes] == added


def test_a_child_that_its_nodes_take_with_them_keeps_its_place_among_its_supervisors_children() -> (
    None
):
    """It would be started again behind those that went on, and so in another order than the file's."""
    first = _ordered("rest_for_one", *"xy")
    first["nodes"]["b"] = {}
    first["children"]["y"] = first["children"]["y"] | {"on": "b"}
    second = first | {"nodes": {"a": {"kind": "thread"}, "b": {}}}

    changes = _two(first, second)

    tree = [(one.action, one.name) for one in changes if one.part != "group"]
    assert tree == [("stop", "s"), ("start", "s")]
    assert next(one.why for one in changes if one.name == "s") == "the order of its children"


def test_a_supervisor_that_starts_again_keeps_its_place_among_its_supervisors_children() -> None:
    def tables(order: str) -> dict[str, Any]:
        inside = {"class": "m:X", "on": "a", "under": "s/t"}
        return {
            "nodes": {"a": {}},
            "supervisors": {
                "s": {"strategy": "rest_for_one"},
                "t": {"strategy": "rest_for_one", "under": "s"},
            },
            "children": dict.fromkeys(order, inside) | {"z": inside | {"under": "s"}},
        }

    changes = _two(tables("xy"), tables("yx"))

    assert [one.name for one in changes if one.part == "supervisor"] == ["s", "s"]


def test_a_child_at_the_end_is_added_to_its_supervisor() -> None:
    (change,) = _two(_ordered("rest_for_one", *"xy"), _ordered("rest_for_one", *"xyz"))
    assert (change.action, change.name) == ("start", "s/z")


def test_what_ran_on_a_node_that_goes_is_started_again() -> None:
    tables = {"nodes": {"a": {"count": 2}}, "children": {"x": {"class": "m:X", "on": "a"}}}
    old = build(tables).topology
    new = build(tables | {"nodes": {"a": {}}}).topology
    places = {"x": frozenset(["a/1"])}

    scale, revive = plan(Running(topology=old, groups=wanted_groups(old), places=places), new)

    assert (scale.action, revive.action, revive.name) == ("scale", "revive", "x")
    assert revive.why == "a/1 goes"


def test_a_child_that_does_not_run_is_started_again() -> None:
    tables = {"nodes": {"a": {}}, "children": {"x": {"class": "m:X", "on": "a"}}}
    topology = build(tables).topology
    groups = wanted_groups(topology)
    now = Running(topology=topology, groups=groups, down=frozenset(["x"]))

    (change,) = plan(now, topology)

    assert (change.action, change.name, change.why) == ("revive", "x", "it does not run")


def test_a_group_that_somebody_has_scaled_has_its_count_again() -> None:
    topology = build({"nodes": {"a": {"count": 2}}}).topology
    now = Running(topology=topology, groups={"a": replace(topology.nodes[0], count=3)})

    (change,) = plan(now, topology)

    assert (change.action, change.why) == ("scale", "count 3 → 2")


def test_a_group_that_scales_itself_keeps_its_nodes_within_its_bounds() -> None:
    old = build({"nodes": {"a": {"min": 1, "max": 4}}}).topology
    now = Running(topology=old, groups={"a": replace(old.nodes[0], count=3)})
    assert plan(now, old) == []

    (change,) = plan(now, build({"nodes": {"a": {"min": 1, "max": 2}}}).topology)
    assert (change.action, change.why, change.spec.count) == ("scale", "max 4 → 2, count 3 → 2", 2)
    (change,) = plan(now, build({"nodes": {"a": {"min": 1, "max": 5}}}).topology)
    assert (change.action, change.why) == ("scale", "max 4 → 5")


def test_a_class_and_its_path_are_the_same_actor() -> None:
    keys = {"class": "tests.application.parts:Counter", "args": [1]}
    described = build({"children": {"x": keys}})

    assert not differences(described.topology.children[0], actors.child(Counter, 1, name="x"))
    assert differences(described.topology.children[0], actors.child(Counter, 2, name="x"))


@pytest.mark.parametrize(
    "table, told",
    [
        ({"system": {"patience": 2}}, "system.patience: 1.0 → 2"),
        ({"admin": {"address": "127.0.0.1:9"}}, "admin: None → "),
    ],
)
def test_what_only_a_restart_changes_is_refused_by_name(table: dict[str, Any], told: str) -> None:
    with pytest.raises(InvalidSpec) as caught:
        refuse_settings(Topology(), build(table).topology)
    assert told in str(caught.value)
    assert "can only be changed by a restart of the system; nothing was changed" in str(
        caught.value
    )
