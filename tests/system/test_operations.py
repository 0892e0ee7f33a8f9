"""Every operation between the parent and its nodes is served by the side that its declaration names."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import actors
from actors import System, _remoting
from actors._remoting.operation import Handlers, Operation, Side
from actors._system.system import coordinator_of

if TYPE_CHECKING:
    from actors._remoting.link import Link

DECLARED = {
    name: op
    for path in Path(_remoting.__file__).parent.glob("*operations.py")
    for name, op in vars(import_module(f"actors._remoting.{path.stem}")).items()
    if isinstance(op, Operation)
}


ELSEWHERE = {"await_link", "clock_offset", "fetch_link", "link_end", "link_failed"}
"""What only nodes of other machines serve."""


def declared_for(side: Side) -> set[str]:
    return {op.name for op in DECLARED.values() if op.side in (side, Side.BOTH)}


def served_by(handlers: Handlers[Link]) -> set[str]:
    return {*handlers.calls, *handlers.notes, *handlers.fd_notes}


class Inspector(actors.Actor):
    async def served(self) -> list[str]:
        host: Any = self.context.ref.host
        return sorted(served_by(host.handlers))


def test_an_operation_has_the_name_that_it_is_declared_under() -> None:
    assert [name for name, op in DECLARED.items() if op.name != name] == []


async def test_the_parent_serves_exactly_its_operations() -> None:
    async with System() as system:
        assert served_by(coordinator_of(system).host.handlers) == declared_for(Side.PARENT)


async def test_a_node_serves_exactly_its_operations() -> None:
    topology = actors.Topology(nodes=[actors.nodes("work", kind="thread")])
    async with System(topology) as system:
        ref = await system.spawn(Inspector, on="work")
        assert await ref.ask(Inspector.served) == sorted(declared_for(Side.NODE) - ELSEWHERE)


async def test_a_node_of_another_machine_serves_some_more() -> None:
    topology = actors.Topology(nodes=[actors.nodes("far", engine="hosts")])
    async with System(topology) as system:
        ref = await system.spawn(Inspector, on="far")
        served = set(await ref.ask(Inspector.served))
    assert served >= ELSEWHERE
    assert served <= declared_for(Side.NODE)
