"""What a node tells the router of its connections: acknowledgements at once, closings a moment later."""

from contextlib import nullcontext

import pytest

from actors.routing import AckBatcher
from tests.routing.virtual_loop import VirtualLoop

MOMENT = 0.002


class Heard:
    def __init__(self) -> None:
        self.loop = VirtualLoop()
        self.reported: list[tuple[list[int], list[int], list[int]]] = []
        self.acks = AckBatcher(
            self.loop.as_loop(), lambda *reported: self.reported.append(reported)
        )


def test_that_a_connection_was_taken_or_refused_is_told_at_once() -> None:
    heard = Heard()
    heard.acks.acknowledged(1)
    heard.acks.refused(2)
    assert heard.reported == [([1], [], []), ([], [2], [])]
    assert not heard.loop.timers


@pytest.mark.parametrize("together", [False, True])
def test_each_of_many_is_told_once(*, together: bool) -> None:
    heard = Heard()
    numbers = range(1, 301)
    with heard.acks.batch() if together else nullcontext(heard.acks) as acks:
        for number in numbers:
            acks.acknowledged(number)
            acks.refused(-number)
    for number in numbers:
        heard.acks.closed(number)
    heard.loop.advance(MOMENT)
    acknowledged, refused, closed = (
        [number for told in heard.reported for number in told[kind]] for kind in range(3)
    )
    assert acknowledged == closed == list(numbers)
    assert refused == [-number for number in numbers]


def test_that_connections_have_ended_is_told_together_a_moment_later() -> None:
    heard = Heard()
    heard.acks.closed(1)
    heard.acks.closed(2)
    assert heard.reported == []
    heard.loop.advance(MOMENT)
    assert heard.reported == [([], [], [1, 2])]
    heard.loop.advance(1)
    assert len(heard.reported) == 1


def test_what_has_ended_goes_with_the_next_urgent_word_and_is_told_once() -> None:
    heard = Heard()
    heard.acks.closed(1)
    heard.acks.acknowledged(2)
    heard.acks.closed(3)
    heard.acks.refused(4)
    heard.loop.advance(1)
    assert heard.reported == [([2], [], [1]), ([], [4], [3])]
    assert not heard.loop.timers


def test_what_is_urgent_together_is_one_message() -> None:
    heard = Heard()
    heard.acks.closed(1)
    with heard.acks.batch() as acks:
        acks.acknowledged(2)
        acks.refused(3)
        acks.acknowledged(4)
        assert heard.reported == []
    assert heard.reported == [([2, 4], [3], [1])]
    with heard.acks.batch():
        pass
    assert len(heard.reported) == 1
