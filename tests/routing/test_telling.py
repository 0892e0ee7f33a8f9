"""What a node tells of its connections: the urgent at once, the rest with it or a moment later."""

from actors.routing import AckBatcher
from tests.routing.rig import VirtualLoop

MOMENT = 0.002


class Heard:
    def __init__(self) -> None:
        self.loop = VirtualLoop()
        self.told: list[tuple[list[int], list[int], list[int]]] = []
        self.telling = AckBatcher(self.loop, lambda *told: self.told.append(told))


def test_that_a_connection_was_taken_or_refused_is_told_at_once() -> None:
    heard = Heard()
    heard.telling.acknowledge(1)
    heard.telling.refused(2)
    assert heard.told == [([1], [], []), ([], [2], [])]
    assert not heard.loop.timers


def test_that_connections_have_ended_is_told_together_a_moment_later() -> None:
    heard = Heard()
    heard.telling.closed(1)
    heard.telling.closed(2)
    assert heard.told == []
    heard.loop.advance(MOMENT)
    assert heard.told == [([], [], [1, 2])]
    heard.loop.advance(1)
    assert len(heard.told) == 1


def test_what_has_ended_goes_with_the_next_urgent_word_and_is_told_once() -> None:
    heard = Heard()
    heard.telling.closed(1)
    heard.telling.acknowledge(2)
    heard.telling.closed(3)
    heard.telling.refused(4)
    heard.loop.advance(1)
    assert heard.told == [([2], [], [1]), ([], [4], [3])]
    assert not heard.loop.timers


def test_what_is_urgent_together_is_one_message() -> None:
    heard = Heard()
    heard.telling.closed(1)
    with heard.telling.together() as telling:
        telling.acknowledge(2)
        telling.refused(3)
        telling.acknowledge(4)
        assert heard.told == []
    assert heard.told == [([2, 4], [3], [1])]
    with heard.telling.together():
        pass
    assert len(heard.told) == 1
