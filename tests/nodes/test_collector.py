"""The garbage collector of nodes and of `actors.run` looks less often, unless the user has set it."""

from __future__ import annotations

import gc

import pytest

from actors import Actor, Topology, nodes, run
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


def test_it_collects_less_often_while_a_program_is_run_and_then_as_before() -> None:
    async def main() -> tuple[int, int, int]:
        return gc.get_threshold()

    before = gc.get_threshold()
    assert run(main) == (5000, *before[1:])
    assert gc.get_threshold() == before


def test_a_threshold_that_is_set_while_a_program_is_run_stays() -> None:
    async def main() -> None:
        gc.set_threshold(100, 10, 10)

    before = gc.get_threshold()
    try:
        run(main)
        assert gc.get_threshold() == (100, 10, 10)
    finally:
        gc.set_threshold(*before)


@pytest.mark.parametrize("own", [(100, 10, 10), (50_000, 10, 10), (0, 10, 10)])
def test_a_threshold_that_the_user_has_set_stays(own: tuple[int, int, int]) -> None:
    before = gc.get_threshold()
    gc.set_threshold(*own)
    try:
        collect_less_often()
        assert gc.get_threshold() == own
    finally:
        gc.set_threshold(*before)
