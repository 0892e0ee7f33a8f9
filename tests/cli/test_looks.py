"""A look at a system goes on where one node cannot say what it does."""

from __future__ import annotations

from typing import Any

import pytest

from actors import System, Topology, nodes
from actors._system.control.top import top
from actors._system.system import coordinator_of
from actors.nodes import RemoteNode

pytestmark = pytest.mark.within(20)


async def test_a_node_that_fails_to_answer_is_an_event_and_the_others_are_shown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with System(Topology(nodes=[nodes("web", count=2, kind="thread")])) as system:
        events, sample = system.events(), RemoteNode.sample

        async def fails(node: RemoteNode, *request: Any) -> dict[str, Any]:
            if node.name == "web/0":
                raise LookupError("no such figure")
            return await sample(node, *request)

        monkeypatch.setattr(RemoteNode, "sample", fails)
        seen = await top(coordinator_of(system), 0.05)
        monkeypatch.undo()
        assert {node["name"]: node["answering"] for node in seen["nodes"]} == {
            "web/0": False,
            "web/1": True,
        }
        async for event in events:
            if event.kind == "look_failed":
                assert event.facts["node"] == "web/0"
                assert event.facts["error"] == "LookupError: no such figure"
                break
