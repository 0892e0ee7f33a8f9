"""The garbage collector of process nodes looks for cycles less often, unless the user has set it."""

from __future__ import annotations

import gc

import pytest

from actors import Actor, Topology, nodes
from actors._base.collector import collect_less_often
from actors.testing import running_system


class Thresholds(Actor):
    """Says how its process collects garbage."""

    async def read(self) -> tuple[int, int, int]:
        return gc.get_threshold()


async def test_a_process_node_collects_less_often_and_the_users_own_process_as_before() -> None:
    before = gc.get_threshold()
    async with running_system(Topology(nodes=[nodes("a")])) as system:
        there = await system.spawn(Thresholds, on="a")
        assert await there.ask(Thresholds.read) == (5000, *before[1:])
    assert gc.get_threshold() == before


@pytest.mark.parametrize("own", [(100, 10, 10), (50_000, 10, 10), (0, 10, 10)])
def test_a_threshold_that_the_user_has_set_stays(own: tuple[int, int, int]) -> None:
    before = gc.get_threshold()
    gc.set_threshold(*own)
    try:
        collect_less_often()
        assert gc.get_threshold() == own
    finally:
        gc.set_threshold(*before)
