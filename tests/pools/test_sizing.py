"""How many workers a pool should have: the arithmetic of a resizer (C60)."""

from __future__ import annotations

import pytest

from actors._pools import clamped, grown, shrunk


@pytest.mark.parametrize("size, busy, more", [(10, 9, 0), (5, 5, 1), (6, 6, 2)])
def test_c60_a_pool_of_which_all_workers_are_busy_grows_by_a_fifth(
    size: int, busy: int, more: int
) -> None:
    assert grown(size, busy, queued=1, least=2, most=20) == size + more


@pytest.mark.parametrize("size, idle, fewer", [(10, 8, 1), (9, 9, 1), (11, 11, 2), (10, 0, 0)])
def test_c60_of_the_workers_that_were_idle_long_enough_a_tenth_ends_at_a_time(
    size: int, idle: int, fewer: int
) -> None:
    assert shrunk(size, idle, least=2) == size - fewer


def test_c60_an_empty_pool_gets_its_fewest_workers() -> None:
    assert grown(0, 0, queued=0, least=2, most=10) == 2


def test_a_pool_in_which_nothing_waits_does_not_grow() -> None:
    assert grown(5, 5, queued=0, least=2, most=10) == 5


def test_c60_under_load_a_pool_grows_to_its_most() -> None:
    sizes, size = [], 2
    while size not in sizes:
        sizes.append(size)
        size = grown(size, size, queued=1, least=2, most=10)

    assert sizes == [2, 3, 4, 5, 6, 8, 10]


def test_an_idle_pool_shrinks_to_its_fewest() -> None:
    size = 12
    for _ in range(20):
        size = shrunk(size, idle=size, least=2)

    assert size == 2


def test_c60_an_explicit_size_is_clamped() -> None:
    assert [clamped(size, 2, 10) for size in (1, 2, 7, 10, 11)] == [2, 2, 7, 10, 10]
