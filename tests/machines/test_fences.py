"""Fences grow over everything that a node and a machine can go through."""

from __future__ import annotations

import os
import signal
import time
from typing import Any

import anyio
import pytest

from actors import Actor, Backoff, Ref, Topology, child, current, keyed, nodes
from actors._base.fences import Fences
from actors.errors import ActorsError
from actors.testing import eventually, running_system
from tests.machines.places_of_a_test import place_of

pytestmark = [pytest.mark.usefixtures("no_leaks"), pytest.mark.within(120)]
AT_ONCE = Backoff(first=0)
GROUPS = {
    "process": nodes("box", count=2, backoff=AT_ONCE),
    "hosts": nodes("box", count=2, backoff=AT_ONCE, engine="hosts"),
}


class Holder(Actor):
    """Says its fence and that of the child that each of its incarnations spawns by the same name."""

    async def on_start(self) -> None:
        name = f"child of {self.context.name}"
        self.child = await self.context.spawn(Holding, name=name)

    async def fences(self) -> list[int]:
        return [self.context.fence, await self.child.ask(Holding.fence)]

    async def pid(self) -> int:
        return os.getpid()

    async def spawned(self) -> Ref[Holding]:
        return await current().spawn(Holding, on=current().node)


class Holding(Actor):
    async def fence(self) -> int:
        return self.context.fence

    async def where(self) -> str:
        return self.context.node


async def _again(holder: Ref[Holder], least: list[int]) -> list[int]:
    """Return the fences of the next incarnation, as soon as it says them."""
    with anyio.fail_after(60):
        while True:
            try:
                found = await holder.ask(Holder.fences)
            except ActorsError:
                await anyio.sleep(0.01)
                continue
            if found[0] != least[0]:
                return found


class Of(Holding):
    def __init__(self, key: str) -> None:
        self.key = key


@pytest.mark.parametrize("kind", GROUPS)
async def test_they_grow_over_kills_reloads_and_moves(kind: str) -> None:
    tree = [child(Holder, name="holder", on="box")]
    async with running_system(
        Topology(children=tree, nodes=[GROUPS[kind]], patience=60.0)
    ) as system:
        holder = await system.lookup("holder", Holder)
        assert holder is not None
        found = [await holder.ask(Holder.fences)]
        for _ in range(2):
            os.kill(await holder.ask(Holder.pid), signal.SIGKILL)
            found.append(await _again(holder, found[-1]))
        await system.reload()
        found.append(await _again(holder, found[-1]))
        await system.reload(surge=True)
        found.append(await _again(holder, found[-1]))
        if kind == "hosts":
            os.kill(place_of(system, "box/0").pid, signal.SIGKILL)
            found.append(await _again(holder, found[-1]))
        await _stop(holder)
        await eventually(
            lambda: all(node.state.value == "READY" for node in system.nodes), within=60
        )
        again = await system.spawn(Holder, name="holder", on="box/1")
        found.append(await again.ask(Holder.fences))
    for own in zip(*found, strict=True):
        assert list(own) == sorted(set(own))


@pytest.mark.parametrize("kind", GROUPS)
async def test_one_that_a_node_started_by_itself_has_a_greater_one_in_the_next_run(
    kind: str,
) -> None:
    async with running_system(Topology(nodes=[GROUPS[kind]], patience=60.0)) as system:
        holder = await system.spawn(Holder, on="box/0")
        made = [await holder.ask(Holder.spawned) for _ in range(20)]
        before = [await one.ask(Holding.fence) for one in made]
        old = await holder.ask(Holder.fences)
        os.kill(await holder.ask(Holder.pid), signal.SIGKILL)
        await _again(holder, old)
        after = [await one.ask(Holding.fence) for one in made]
    assert max(before) < min(after)


@pytest.mark.parametrize("kind", GROUPS)
async def test_they_grow_for_a_key_wherever_its_actor_runs(kind: str) -> None:
    async with running_system(Topology(nodes=[GROUPS[kind]], patience=60.0)) as system:
        one = (await system.start(keyed(Of, on="box")))["key"]
        found = [await one.ask(Holding.fence)]
        node = await one.ask(Holding.where)
        await next(found for found in system.nodes if found.name == node).stop()
        found.append(await one.ask(Holding.fence))
        assert await one.ask(Holding.where) != node
    assert found == sorted(set(found))


async def _stop(ref: Ref[Any]) -> None:
    await ref.stop()
    await ref.wait()


def test_a_system_that_is_started_again_goes_on_above_the_one_before() -> None:
    before = Fences()
    given = max(before.next() for _ in range(1000))
    while time.time_ns() // 1000 <= given:
        """A thousand starts take longer than a millisecond, but these were only numbers."""
    assert given < Fences().next()


def test_what_is_given_out_is_above_the_first() -> None:
    fences = Fences(41)
    assert (fences.first, fences.next(), fences.next()) == (41, 42, 43)
