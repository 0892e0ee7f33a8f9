"""Queues by priority, against a plain list of what should be in them."""

from __future__ import annotations

from typing import Any

from hypothesis import given, strategies as st

from actors._messaging.mailbox import Envelope, PriorityEnvelope
from actors._messaging.message_table import Handler, MessageKind
from actors._messaging.priority_queue import OLDEST_EVERY, PriorityMessages, PriorityQueue

NOTE = Handler("note", lambda: None, MessageKind.CALL)
STOP = Handler("(stop)", lambda: None, MessageKind.STOP)
NOTICE = Handler("(on_exit)", lambda: None, MessageKind.NOTICE)

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.integers(-2, 2)),
        st.tuples(st.just("extendleft"), st.integers(-2, 2)),
        st.tuples(st.just("popleft"), st.just(0)),
        st.tuples(st.just("remove"), st.integers(0, 30)),
    ),
    max_size=120,
)


def message(label: object, priority: int = 0) -> Envelope:
    return PriorityEnvelope(priority, NOTE, (label,), {})


def labels(queue: Any) -> list[Any]:
    taken = []
    while queue:
        item = queue.popleft()
        taken.append("tell" if type(item) is tuple else item.args[0])
    return taken


class Model:
    """What the queue should hold: in the order of their age."""

    def __init__(self) -> None:
        self.items: list[tuple[int, str]] = []
        self.taken = 0

    @property
    def next(self) -> tuple[int, str]:
        if self.taken % OLDEST_EVERY == OLDEST_EVERY - 1:
            return self.items[0]
        return max(self.items, key=lambda item: item[0])  # the first of several

    def drop(self, item: tuple[int, str]) -> None:
        self.taken += item == self.next
        self.items.remove(item)


@given(STEPS)
def test_the_highest_priority_is_first_and_every_16th_is_the_oldest(
    steps: list[tuple[str, int]],
) -> None:
    queue = PriorityQueue[tuple[int, str]](lambda item: item[0])
    model = Model()
    for number, (step, value) in enumerate(steps):
        item = (value, f"no. {number}")
        if step == "append":
            queue.append(item)
            model.items.append(item)
        elif step == "extendleft":
            queue.extendleft([item])
            model.items.insert(0, item)
        elif step == "popleft" and model.items:
            wanted = model.next
            model.drop(wanted)
            assert queue[0] == wanted
            assert queue.popleft() == wanted
        elif step == "remove" and value < len(model.items):
            gone = model.items[value]
            model.drop(gone)
            assert gone in queue
            queue.remove(gone)
            assert gone not in queue
        assert len(queue) == len(model.items)
        assert sorted(queue) == sorted(model.items)


def test_a_stop_is_behind_all_that_came_before_and_before_all_that_came_after() -> None:
    queue = PriorityMessages()
    queue.append(message("low", -5))
    queue.append(Envelope(STOP, ("stop",), {}))
    queue.append(message("after", 9))
    queue.append(Envelope(STOP, ("second stop",), {}))
    queue.append(message("last", 99))
    queue.append(message("withdrawn", 99))
    withdrawn = list(queue)[-1]
    queue.remove(withdrawn)
    assert len(queue) == 5
    queue.extendleft([message("put back", -9)])
    assert labels(queue) == ["low", "put back", "stop", "after", "second stop", "last"]


def test_a_notice_comes_behind_all_that_was_there() -> None:
    queue = PriorityMessages()
    queue.append(message("lowest", -(2**63)))
    queue.append(Envelope(NOTICE, ("notice",), {}))
    queue.append((NOTE, (), {}, None))
    queue.append(message("high", 1))
    assert labels(queue) == ["high", "tell", "lowest", "notice"]


def test_the_lowest_is_handled_however_many_higher_ones_come() -> None:
    queue = PriorityMessages()
    for label in ("old", "less old"):
        queue.append(message(label, -1))
    taken = []
    for number in range(3 * OLDEST_EVERY):
        queue.append(message(number, 1))
        taken.append(queue.popleft().args[0])
    assert taken[OLDEST_EVERY - 1] == "old"
    assert taken[2 * OLDEST_EVERY - 1] == "less old"
    # What came first is still first within its priority.
    assert [one for one in taken if type(one) is int] == list(range(len(taken) - 2))[: len(taken)]


def test_what_was_taken_is_forgotten_also_while_the_oldest_waits() -> None:
    queue = PriorityQueue[tuple[int, int]](lambda item: item[0])
    queue.extendleft([(-2, number) for number in range(300)])
    for number in range(3000):
        queue.append((number, number))
        queue.popleft()
    assert len(queue) == 300
    assert len(queue._ages) <= 2 * len(queue) + 65
    taken = [queue.popleft() for _ in range(300)]
    assert [number for priority, number in taken if priority == -2] == sorted(
        (number for priority, number in taken if priority == -2), reverse=True
    )
