"""The pauses between tries: how long they are, and what begins them anew."""

from __future__ import annotations

import pytest

from actors.machines import pauses
from actors.machines.pauses import Pauses


@pytest.mark.parametrize("chance, part", [(0.0, 0.5), (0.5, 1.0), (0.75, 1.25)])
def test_a_pause_is_twice_the_one_before_up_to_the_longest_and_half_of_that_more_or_less(
    chance: float, part: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pauses, "random", lambda: chance)
    between = Pauses(1.0, 5.0)
    assert [between.next() for _ in range(5)] == [n * part for n in (1.0, 2.0, 4.0, 5.0, 5.0)]


def test_after_a_success_the_first_pause_comes_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pauses, "random", lambda: 0.5)
    between = Pauses(1.0, 5.0)
    assert (between.next(), between.next()) == (1.0, 2.0)
    between.reset()
    assert (between.next(), between.next()) == (1.0, 2.0)
