"""Frames that wait to be written, in their lanes: their order, partial writes and descriptors; no system calls.

A frame that is partly written is finished first; then control frames go before data frames, and those before
the pieces of big messages, whose lanes take turns. A piece goes all the same when 1 MiB of data has passed
it. A big message never passes what was sent before it. The outbox owns the descriptors of its frames and
closes them when the first byte of the frame is written.
"""

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Final, NamedTuple

from actors.transport.wire.frames import (
    BULK_LANES,
    HEADER_SIZE,
    PIECE,
    RING_LANE,
    Lane,
    encode_header,
)

__all__ = ["Outbox", "Write", "close_all", "dup_all"]

_GATHER_BYTES: Final = 1024 * 1024
_GATHER_FRAMES: Final = 32
_PATIENCE: Final = 1024 * 1024
"""Bytes of data that pass the pieces of big messages before one of these goes."""


def close_all(fds: Sequence[int]) -> None:
    """Close descriptors we own; one that is closed already is skipped."""
    for fd in fds:
        try:
            os.close(fd)
        except OSError:
            continue


def dup_all(fds: Sequence[int]) -> tuple[int, ...]:
    """Duplicates of descriptors.

    Raises:
        OSError: no descriptors left; none was duplicated.
    """
    made: list[int] = []
    try:
        for fd in fds:
            made.append(os.dup(fd))  # noqa: PERF401 - those made before one that fails are closed
    except OSError:
        close_all(made)
        raise
    return tuple(made)


class _Frame(NamedTuple):
    lane: int
    header: bytes
    body: bytes | memoryview
    fds: tuple[int, ...]
    after: int
    """How many data frames have to be begun before it."""
    last: bool
    """Whether a big message ends with it."""


class Write(NamedTuple):
    """One call of sendmsg: what to write and the descriptors that go with its first byte."""

    buffers: list[bytes | memoryview]
    fds: tuple[int, ...]


def _nothing(_lane: int) -> None:
    """The default of the callback."""


class Outbox:
    """The frames of one socket, in the order they will be written.

    Args:
        on_last: called with the lane when the last piece of a big message is begun.
    """

    def __init__(self, on_last: Callable[[int], object] = _nothing) -> None:
        self._on_last = on_last
        self._control: deque[_Frame] = deque()
        self._data: deque[_Frame] = deque()
        self._turns = deque(BULK_LANES)
        """The lanes of big messages, the next one first."""
        self._lanes: dict[int, deque[_Frame]] = {lane: deque() for lane in BULK_LANES}
        self._lanes.update(
            {RING_LANE: self._control, Lane.CONTROL: self._control, Lane.DATA: self._data}
        )
        self._data_queued = self._data_begun = 0
        self._passed = 0
        """Bytes of data written since the last piece of a big message that waited."""
        self._begun: list[memoryview] = []
        self._begun_lane = 0
        self.size: int = 0
        """Bytes not written yet, headers included."""
        self.bulk: int = 0
        """Those of them that are in the lanes of big messages."""
        self.fds: int = 0
        """Descriptors not written yet."""

    @property
    def has_control(self) -> bool:
        """Whether anything of the control lane is not written yet."""
        return bool(self._control or (self._begun and self._begun_lane == Lane.CONTROL))

    def add(
        self, lane: int, body: bytes, fds: tuple[int, ...] = (), *, to_ring: bool = False
    ) -> None:
        """Queue a body as a frame, or as several if it is big; the outbox owns its descriptors."""
        if len(body) <= PIECE or fds:
            self._add(lane, body, fds, more=False, to_ring=to_ring)
            return
        view = memoryview(body)
        for at in range(0, len(body), PIECE):
            self._add(lane, view[at : at + PIECE], (), more=at + PIECE < len(body))

    def _add(
        self,
        lane: int,
        body: bytes | memoryview,
        fds: tuple[int, ...],
        *,
        more: bool,
        to_ring: bool = False,
    ) -> None:
        header = encode_header(lane, len(fds), len(body), more=more, to_ring=to_ring)
        big = lane in BULK_LANES
        last = big and not more and not fds
        self._lanes[lane].append(_Frame(lane, header, body, fds, self._data_queued, last))
        self._data_queued += lane == Lane.DATA
        size = HEADER_SIZE + len(body)
        self.size += size
        self.bulk += size if big else 0
        self.fds += len(fds)

    def _in_order(self) -> Iterator[_Frame]:
        """The frames in the order they go now."""
        yield from self._control
        begun, waiting = self._data_begun, self.bulk
        pieces = self._pieces() if waiting else iter(())
        if waiting and self._passed >= _PATIENCE:
            # Only one that is behind no data frame that is not begun.
            for lane in self._turns:
                for frame in islice(self._lanes[lane], 1):
                    if frame.after <= begun:
                        yield frame
                        return
        yield from self._data
        yield from pieces

    def _pieces(self) -> Iterator[_Frame]:
        """The frames of the lanes of big messages, one of each lane in turn."""
        lanes = [iter(self._lanes[lane]) for lane in self._turns]
        while lanes:
            going = []
            for lane in lanes:
                frame = next(lane, None)
                if frame is not None:
                    yield frame
                    going.append(lane)
            lanes = going

    def gather(self) -> Write:
        """The next bytes to write; no buffers if there is nothing.

        A frame with descriptors is the first of its write: they go with its first byte.
        """
        buffers: list[bytes | memoryview] = list(self._begun)
        room = _GATHER_BYTES
        for frame in self._in_order():
            if frame.fds:
                return (
                    Write([frame.header, frame.body], frame.fds)
                    if not buffers
                    else Write(buffers, ())
                )
            buffers += (frame.header, frame.body)
            room -= len(frame.body)
            if room <= 0 or len(buffers) >= 2 * _GATHER_FRAMES:
                break
        return Write(buffers, ())

    def written(self, count: int) -> int:
        """Record that `count` bytes of what `gather` returned were written.

        Returns:
            how many frames they begin.
        """
        self.size -= count
        count = self._finish_begun(count)
        if count <= 0:
            return 0
        begun = []
        for frame in self._in_order():
            begun.append(frame)
            count -= HEADER_SIZE + len(frame.body)
            if count <= 0:
                break
        for frame in begun:
            self._begin(frame)
        if count < 0:
            frame = begun[-1]
            size = HEADER_SIZE + len(frame.body)
            self._begun = _rest((memoryview(frame.header), memoryview(frame.body)), size + count)
            self._begun_lane = frame.lane
            self.bulk -= count if frame.lane in BULK_LANES else 0
        for frame in begun:
            if frame.last:
                self._on_last(frame.lane)
        return len(begun)

    def _begin(self, frame: _Frame) -> None:
        """Take a frame out of its lane: its first byte is written."""
        self._lanes[frame.lane].popleft()
        close_all(frame.fds)
        self.fds -= len(frame.fds)
        size = HEADER_SIZE + len(frame.body)
        if frame.lane in BULK_LANES:
            self.bulk -= size
            self._passed = 0
            self._turns.remove(frame.lane)
            self._turns.append(frame.lane)
        elif frame.lane == Lane.DATA:
            self._data_begun += 1
            self._passed += size if self.bulk else 0

    def _finish_begun(self, count: int) -> int:
        size = sum(map(len, self._begun))
        if self._begun_lane in BULK_LANES:
            self.bulk -= min(size, count)
        self._begun = _rest(self._begun, count)
        return count - size

    def clear(self) -> None:
        """Drop everything and close its descriptors."""
        for lane in self._lanes.values():
            for frame in lane:
                close_all(frame.fds)
            lane.clear()
        self._begun = []
        self.size = self.bulk = self.fds = 0


def _rest(buffers: Sequence[memoryview], count: int) -> list[memoryview]:
    """What is left of the buffers after their first `count` bytes."""
    rest = []
    for buffer in buffers:
        if count < len(buffer):
            rest.append(buffer[count:])
        count = max(0, count - len(buffer))
    return rest
