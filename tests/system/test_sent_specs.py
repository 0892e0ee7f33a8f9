"""What a node describes is checked again where it is started, and costs little whatever it is."""

from __future__ import annotations

from typing import Any

import pytest

from actors._system.sent_specs import nodes_from, tree_item_from
from actors.errors import ActorsError

CLASS = {"path": "a:B", "arguments": []}
POOL = {"kind": "pool", **CLASS, "functions": False}


def nested(depth: int) -> dict[str, Any]:
    item: dict[str, Any] = {"kind": "dynamic", "name": "x"}
    for _ in range(depth):
        item = {"kind": "supervisor", "name": "x", "children": [item]}
    return item


@pytest.mark.parametrize(
    "sent, why",
    [
        (None, "a node describes a part of a tree, got 'None'"),
        ({"kind": ["child"]}, "a node describes a part of a tree"),
        ({"kind": "child"}, "what a node describes cannot be started: 'path'"),
        ({"kind": "child", "path": "a:b c", "arguments": []}, "a class is named by 'module:Class'"),
        ({"kind": "child", "path": "x" * 2000, "arguments": []}, "a class is named by"),
        (
            {"kind": "child", **CLASS, "evil": 1},
            "cannot be started: new_child\\(\\) got an unexpected",
        ),
        ({"kind": "supervisor", "name": "x", "children": 5}, "not iterable"),
        ({"kind": "dynamic", "name": "x", "budget": 7}, "budget must be a Budget, got 7"),
        ({**POOL, "options": 5}, "describes the options of a pool, got '5'"),
        ({**POOL, "options": {"evil": 1}}, "pool\\(\\) has no option 'evil'"),
        (
            {**POOL, "options": {"name": "x", "on": "a", "size": 10**9}},
            "1024 workers, not more; got size=",
        ),
        (
            {**POOL, "options": {"name": "x", "env": {"A": "b"}}},
            "is for the program that made the system",
        ),
        (nested(5000), "32 supervisors inside each other, not more"),
    ],
)
def test_a_part_of_a_tree(sent: Any, why: str) -> None:
    with pytest.raises(ActorsError, match=why):
        tree_item_from(sent)


@pytest.mark.parametrize(
    "sent, why",
    [
        (5, "a node describes a group of nodes, got '5'"),
        ({"name": 5}, "a node describes a group of nodes"),
        ({"name": "x", "evil": 1}, "has no option 'evil'"),
        ({"name": "x", "count": 10**9}, "count must be 1 to 1024, got 1000000000"),
        ({"name": "x", "env": {"LD_PRELOAD": "b"}}, "is for the program that made the system"),
    ],
)
def test_a_group_of_nodes(sent: Any, why: str) -> None:
    with pytest.raises(ActorsError, match=why):
        nodes_from(sent)
