"""When a reader looks into its ring, sleeps, and reads from the socket instead."""

from __future__ import annotations

from collections import deque
from typing import Any

import pytest

from actors._extensions import not_loaded
from actors.transport import FrameError
from actors.transport.channels.inbound_ring import InboundRing
from actors.transport.channels.ring_extension import RING
from actors.transport.channels.spin import TRIAL, WINDOW
from actors.transport.testing import ManualLoop
from actors.transport.wire.frames import FrameDecoder

pytestmark = pytest.mark.skipif(RING is None, reason=not_loaded())

Record = tuple[int, bool, bytes]
MARK: Record = (RING.MARK if RING else 0, False, b"")


class Reader:
    """A ring with records, and what is asked of it; `look` answers as it is told, then that nothing came."""

    def __init__(self) -> None:
        self.records: deque[Record] = deque()
        self.numbers: list[int] = []
        self.looks: deque[int] = deque()
        self.did: list[Any] = []
        self.asleep = True
        self.nonsense = False
        self.lost = 0

    def preemptions(self) -> int:
        return self.lost

    def take(self, number: int) -> Record | None:
        if self.nonsense:
            raise FrameError("nonsense")
        self.numbers.append(number)
        return self.records.popleft() if self.records else None

    def watch(self, nanoseconds: int) -> None:
        self.did.append(("watch", nanoseconds))

    def wake(self) -> None:
        self.did.append("wake")

    def look(self, _times: int) -> int:
        self.did.append("look")
        return self.looks.popleft() if self.looks else RING.OVER

    def sleep(self, how: int) -> bool:
        self.did.append("asleep" if how == RING.ASLEEP else "away")
        return self.asleep

    def close(self) -> None:
        self.did.append("close")


class End:
    """A channel with such a ring."""

    def __init__(self, *, current: bool = True, pays: bool = True) -> None:
        self.loop, self.reader, self.frames = ManualLoop(), Reader(), FrameDecoder(1000)
        self.frames.count = 40
        self.got: list[tuple[int, bytes, bool]] = []
        self.errors: list[str] = []
        loop: Any = self.loop
        self.ring = InboundRing(
            self.reader, loop, self.frames, deliver=self._deliver, failed=self._failed
        )
        self.ring.current = current
        while pays is False and self.ring.spin.pays:
            self.ring.spin.missed()

    def _deliver(self, lane: int, body: bytes, *, more: bool) -> None:
        self.got.append((lane, body, more))

    def _failed(self, error: Exception) -> None:
        self.errors.append(str(error))

    def turn(self) -> list[Any]:
        """What it does in the next turn of the loop."""
        self.reader.did.clear()
        self.loop.turn()
        return list(self.reader.did)

    def woken(self) -> list[Any]:
        self.reader.did.clear()
        self.ring.woken()
        return list(self.reader.did)


TRY, WATCH = ("watch", TRIAL), ("watch", WINDOW)


def test_records_are_delivered_in_order_and_each_counts_as_a_frame() -> None:
    end = End()
    end.reader.records.extend([(0, True, b"a"), (1, True, b"b"), (1, False, b"c")])
    end.ring.take()
    assert end.got == [(0, b"a", True), (1, b"b", True), (1, b"c", False)]
    assert end.reader.numbers == [40, 41, 42, 43]
    assert end.frames.count == 43
    assert end.ring.current


def test_a_mark_leads_to_the_socket_and_counts_as_no_frame() -> None:
    end = End()
    end.reader.records.extend([(1, True, b"a"), MARK, (1, False, b"behind it")])
    end.ring.take()
    assert end.got == [(1, b"a", True)]
    assert end.frames.count == 41
    assert not end.ring.current
    end.ring.take()
    assert len(end.got) == 1


def test_what_is_taken_at_once_is_as_much_as_a_ring_holds() -> None:
    end = End()
    half = b"x" * (RING.ROOM // 2)
    end.reader.records.extend([(1, True, half)] * 5)
    end.ring.take()
    assert len(end.got) == 2
    empty = End()
    empty.reader.records.extend([(1, True, b"")] * (RING.ROOM + 10))
    empty.ring.take()
    assert len(empty.got) == RING.ROOM


def test_before_a_frame_over_the_socket_comes_what_is_in_front_of_its_mark() -> None:
    end = End()
    end.reader.records.extend([(1, True, b"a"), (1, True, b"b"), MARK])
    end.ring.take_to_mark(20)
    assert end.got == [(1, b"a", True), (1, b"b", True)]
    assert end.reader.numbers == [20, 21, 22]
    assert end.frames.count == 42
    assert not end.ring.current
    end.ring.take_to_mark(30)
    assert end.reader.numbers == [20, 21, 22], "it is the turn of the socket"


def test_a_frame_over_the_socket_without_a_mark_is_an_error() -> None:
    end = End()
    end.reader.records.append((1, True, b"a"))
    with pytest.raises(FrameError, match="nothing in the ring leads to it"):
        end.ring.take_to_mark(20)
    assert end.got == [(1, b"a", True)]


def test_who_is_woken_takes_what_is_there_and_looks_on_for_a_window() -> None:
    end = End()
    end.reader.records.append((1, False, b"a"))
    assert end.woken() == [TRY, "wake"]
    assert end.got == [(1, b"a", False)]
    assert end.woken() == [], "it looks already"
    assert end.turn() == ["look", "asleep"]
    assert end.turn() == []
    assert end.woken() == [TRY, "wake"]


def test_who_does_not_look_on_sleeps_and_says_that_the_socket_is_better() -> None:
    end = End(pays=False)
    end.reader.records.append((1, False, b"a"))
    assert end.woken() == ["away"]
    assert end.got == [(1, b"a", False)]
    assert end.turn() == []


def test_who_reads_from_the_socket_says_that_it_may_be_led_to_the_ring_while_that_pays() -> None:
    assert End(current=False).woken() == ["wake"]
    assert End(current=False, pays=False).woken() == []
    end = End(current=False)
    end.woken()
    assert end.turn() == []


def test_a_wake_up_counts_for_the_next_try() -> None:
    end = End(current=False, pays=False)
    for _ in range(64):
        end.woken()
    assert end.ring.spin.pays


def test_what_is_found_begins_a_new_window() -> None:
    end = End()
    end.woken()
    end.reader.looks.extend([RING.NOT_YET, RING.FOUND, RING.NOT_YET])
    assert end.turn() == ["look"]
    end.reader.records.append((1, False, b"a"))
    assert end.turn() == ["look", WATCH]
    assert end.got == [(1, b"a", False)]
    assert end.turn() == ["look"]
    assert end.turn() == ["look", "asleep"]
    assert end.turn() == []


def test_windows_that_find_nothing_count_and_the_last_of_them_ends_it() -> None:
    end = End()
    did = []
    for _ in range(4):
        end.woken()
        did.append(end.turn())
    assert did == [["look", "asleep"]] * 3 + [["look", "away"]]
    assert end.woken() == ["away"]


def test_a_hit_for_which_the_thread_lost_its_cpu_is_the_last() -> None:
    end = End()
    end.woken()
    end.reader.looks.append(RING.FOUND)
    end.reader.lost = 1
    assert end.turn() == ["look", TRY, "away"]
    assert end.turn() == []


def test_who_finds_something_when_it_is_about_to_sleep_looks_again() -> None:
    end = End()
    end.woken()
    end.reader.asleep = False
    assert end.turn() == ["look", "asleep"]
    end.reader.asleep = True
    end.reader.looks.append(RING.FOUND)
    assert end.turn() == ["look", WATCH]


def test_a_mark_or_the_end_that_it_finds_stops_the_looking() -> None:
    end = End()
    end.woken()
    end.reader.looks.append(RING.FOUND)
    end.reader.records.append(MARK)
    assert end.turn()[0] == "look"
    assert end.turn() == []
    ended = End()
    ended.woken()
    ended.ring.close()
    assert ended.reader.did[-1] == "close"
    assert ended.turn() == []
    assert ended.woken() == ["wake"]


def test_nonsense_that_it_finds_by_looking_is_an_error_of_the_channel() -> None:
    end = End()
    end.woken()
    end.reader.looks.append(RING.FOUND)
    end.reader.nonsense = True
    end.turn()
    assert end.errors == ["nonsense"]
    assert end.turn() == []
