"""Application files for tests: any of a small world with few names, so that two have much in common."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from actors._system.application import BadField, build

CLASSES = ("tests.application.parts:Counter", "tests.application.parts:Room")
GROUPS = ("a", "b", "main")
SUPERVISORS = ("s", "t")
CHILDREN = ("x", "y", "z")


@st.composite
def applications(draw: st.DrawFn, kinds: tuple[str, ...] = ("process", "thread")) -> dict[str, Any]:
    """Draw the tables of an application that is right."""
    tables: dict[str, Any] = {"nodes": {}, "supervisors": {}, "children": {}, "pools": {}}
    for name in draw(st.sets(st.sampled_from(GROUPS), min_size=1)):
        kind = draw(st.sampled_from(kinds))
        tables["nodes"][name] = {
            "count": draw(st.integers(1, 3)),
            "kind": kind,
            "boot_timeout": draw(st.sampled_from([30.0, 31.0])),
        }
    groups = list(tables["nodes"])
    for name in draw(st.lists(st.sampled_from(SUPERVISORS), unique=True)):
        above = [one for one, keys in tables["supervisors"].items() if "under" not in keys]
        tables["supervisors"][name] = _supervisor(draw, above)
    above = [_path(tables, name) for name in tables["supervisors"]]
    for name in draw(st.lists(st.sampled_from(CHILDREN), unique=True)):
        keys: dict[str, Any] = {
            "class": draw(st.sampled_from(CLASSES)),
            "args": [draw(st.integers(0, 1))],
        }
        if "process" not in kinds or draw(st.booleans()):
            keys["on"] = draw(st.sampled_from(groups))
        if draw(st.booleans()) and above:
            keys["under"] = draw(st.sampled_from(above))
        tables["children"][name] = keys
    if draw(st.booleans()):
        shared = draw(st.booleans())
        where = {"on": draw(st.sampled_from(groups))} if shared else {"kind": kinds[-1]}
        tables["pools"]["p"] = {"size": draw(st.integers(1, 2)), **where}
    tables["listeners"] = {
        name: {
            "handler": "tests.application.parts:echo",
            "address": "127.0.0.1:0",
            "backlog": draw(st.integers(100, 101)),
            "nodes": draw(st.sampled_from(groups)),
        }
        for name in draw(st.sets(st.sampled_from(["l", "m"])))
    }
    if draw(st.booleans()):
        tables["alerts"] = {"lag": draw(st.sampled_from([5.0, 6.0])), "every": 60.0}
    return {table: keys for table, keys in tables.items() if keys}


def _supervisor(draw: st.DrawFn, above: list[str]) -> dict[str, Any]:
    keys: dict[str, Any] = {"strategy": draw(st.sampled_from(["one_for_one", "rest_for_one"]))}
    if draw(st.booleans()) and above:
        keys["under"] = draw(st.sampled_from(above))
    return keys


def _path(tables: dict[str, Any], name: str) -> str:
    above = tables["supervisors"][name].get("under")
    return name if above is None else f"{above}/{name}"


@st.composite
def pairs(
    draw: st.DrawFn, kinds: tuple[str, ...] = ("process", "thread")
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Draw two applications; mostly the second is the first with some of its tables otherwise."""
    first, other = draw(applications(kinds)), draw(applications(kinds))
    chosen = {table: first if draw(st.booleans()) else other for table in {**first, **other}}
    second = {table: file[table] for table, file in chosen.items() if table in file}
    for name, keys in second.get("nodes", {}).items():
        second["nodes"] = {**second["nodes"], name: {**keys, "count": draw(st.integers(1, 3))}}
    if draw(st.booleans()) and "children" in second:
        second["children"] = dict(draw(st.permutations(list(second["children"].items()))))
    try:
        build(second)
    except BadField:  # what it has of one names what it has not of the other
        return first, other
    return first, second
