"""Which of ring and socket carries what is sent next, as the writer of the ring says."""

from __future__ import annotations

from typing import Any

import pytest

from actors._extensions import not_loaded
from actors.transport import FrameError
from actors.transport.channels.outbound_ring import OutboundRing
from actors.transport.channels.ring_extension import RING

pytestmark = pytest.mark.skipif(RING is None, reason=not_loaded())

HALF = RING.ROOM // 2 if RING else 0


class Writer:
    """A ring with so much room, whose reader does as it is told."""

    def __init__(self) -> None:
        self.room = RING.ROOM
        self.done = RING.WRITTEN
        self.asked = 0
        self.marks: list[int] = []
        self.records: list[tuple[int, bytes, int]] = []
        self.nonsense = False
        self.closed = False

    def _check(self) -> None:
        if self.nonsense:
            raise FrameError("nonsense")

    def put(self, lane: int, body: bytes, number: int) -> int:
        self._check()
        if self.done >= RING.WRITTEN:
            self.records.append((lane, body, number))
        return int(self.done)

    def mark(self, number: int) -> int:
        self._check()
        self.marks.append(number)
        return int(self.room)

    def free(self) -> int:
        self._check()
        self.asked += 1
        return int(self.room)

    def close(self) -> None:
        self.closed = True


class End:
    """What the ring tells its channel, and what it counts for it: sent, and received."""

    def __init__(self, *, current: bool) -> None:
        self.writer = Writer()
        self.frames, self.sizes, self.carried = [7, 100], [1000, 2000], [3, 50]
        self.bells = 0
        self.errors: list[str] = []
        self.ring = OutboundRing(
            self.writer,
            self.frames,
            self.sizes,
            self.carried,
            ring_bell=self._bell,
            failed=self._fail,
        )
        self.ring.current = current

    def _bell(self) -> None:
        self.bells += 1

    def _fail(self, error: FrameError) -> None:
        self.errors.append(str(error))

    @property
    def counts(self) -> tuple[Any, ...]:
        return self.frames, self.sizes, self.carried


BEFORE = ([7, 100], [1000, 2000], [3, 50])


def test_a_record_is_counted_as_a_frame_that_was_sent() -> None:
    end = End(current=True)
    assert end.ring.put(1, b"12345")
    assert end.writer.records == [(1, b"12345", 7)]
    assert end.counts == ([8, 100], [1005, 2000], [4, 50])
    assert end.bells == 0


def test_a_peer_that_fell_asleep_meanwhile_is_woken_once_the_record_is_counted() -> None:
    end = End(current=True)
    end.writer.done = RING.BELL
    assert end.ring.put(0, b"1")
    assert end.counts == ([8, 100], [1001, 2000], [4, 50])
    assert end.bells == 1


@pytest.mark.parametrize("done", ["FULL", "WAKE_IT"])
def test_what_the_ring_does_not_take_goes_over_the_socket_and_is_not_counted_here(
    done: str,
) -> None:
    end = End(current=True)
    end.writer.done = getattr(RING, done)
    assert not end.ring.put(1, b"12345")
    assert end.counts == BEFORE
    assert end.bells == 0


def test_nothing_is_put_into_a_ring_that_the_peer_does_not_read_next_or_that_is_closed() -> None:
    end = End(current=False)
    assert not end.ring.put(1, b"x")
    end = End(current=True)
    end.ring.close()
    assert end.writer.closed
    assert not end.ring.put(1, b"x")
    assert end.writer.records == []


def test_while_the_peer_reads_from_the_socket_the_first_and_every_sixteenth_frame_ask_for_the_ring() -> (
    None
):
    end = End(current=False)
    wanted = [end.ring.wanted() for _ in range(48)]
    assert [number for number, yes in enumerate(wanted, 1) if yes] == [1, 17, 33]
    assert end.writer.asked == 3
    assert end.writer.marks == []


def test_while_the_peer_reads_from_the_ring_it_is_wanted_for_every_frame() -> None:
    end = End(current=True)
    assert [end.ring.wanted() for _ in range(20)] == [True] * 20
    assert (end.writer.asked, end.writer.marks) == (0, [])


@pytest.mark.parametrize("current", [True, False])
@pytest.mark.parametrize("less, leads_back", [(0, True), (1, False)])
def test_a_frame_over_the_socket_leads_back_if_half_of_the_ring_is_free(
    current: bool, less: int, leads_back: bool
) -> None:
    end = End(current=current)
    end.writer.room = HALF - less
    assert end.ring.leave() is leads_back
    assert end.ring.current is False
    assert end.writer.marks == ([7] if current else [])


@pytest.mark.parametrize("what", ["put", "leave", "leave twice"])
def test_nonsense_of_the_peer_is_one_error_after_which_the_ring_is_not_used(what: str) -> None:
    end = End(current=what != "leave twice")
    end.writer.nonsense = True
    # There is nothing left to send over the socket for who was told that it is done.
    assert end.ring.put(1, b"x") if what == "put" else not end.ring.leave()
    assert end.errors == ["nonsense"]
    assert end.ring.current is False
    assert end.counts == BEFORE
    assert not end.ring.put(1, b"y")
    assert end.errors == ["nonsense"]
