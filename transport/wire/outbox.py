"""Frames that wait to be written, in two lanes: their order, partial writes and descriptors; no system calls.

A frame that is partly written is finished first; then control frames go before data frames. The outbox
owns the descriptors of its frames and closes them when the first byte of the frame is written.
"""

import os
from collections import deque
from collections.abc import Sequence
from typing import Final, NamedTuple

from actors.transport.wire.frames import HEADER_SIZE, PIECE, Lane, encode_header

__all__ = ["Outbox", "Write", "close_all"]

_GATHER_BYTES: Final = 1024 * 1024
_GATHER_FRAMES: Final = 32


def close_all(fds: Sequence[int]) -> None:
    """Close descriptors we own; one that is closed already is skipped."""
    for fd in fds:
        try:
            os.close(fd)
        except OSError:
            continue


class _Frame(NamedTuple):
    header: bytes
    body: bytes | memoryview
    fds: tuple[int, ...]


class Write(NamedTuple):
    """One call of sendmsg: what to write and the descriptors that go with its first byte."""

    buffers: list[bytes | memoryview]
    fds: tuple[int, ...]


class Outbox:
    """The frames of one socket, in the order they will be written."""

    def __init__(self) -> None:
        self._lanes: tuple[deque[_Frame], deque[_Frame]] = (deque(), deque())
        self._begun: list[memoryview] = []
        self.size = 0
        """Bytes not written yet, headers included."""
        self.fds = 0
        """Descriptors not written yet."""

    def add(self, lane: Lane, body: bytes, fds: tuple[int, ...] = ()) -> None:
        """Queue a body as a frame, or as several if it is big; the outbox owns its descriptors."""
        if len(body) <= PIECE or fds:
            self._add(lane, body, fds, more=False)
            return
        view = memoryview(body)
        for at in range(0, len(body), PIECE):
            self._add(lane, view[at : at + PIECE], (), more=at + PIECE < len(body))

    def _add(
        self, lane: Lane, body: bytes | memoryview, fds: tuple[int, ...], *, more: bool
    ) -> None:
        header = encode_header(lane, len(fds), len(body), more=more)
        self._lanes[lane].append(_Frame(header, body, fds))
        self.size += HEADER_SIZE + len(body)
        self.fds += len(fds)

    def gather(self) -> Write:
        """The next bytes to write; no buffers if there is nothing.

        A frame with descriptors is the first of its write: they go with its first byte.
        """
        buffers: list[bytes | memoryview] = list(self._begun)
        room = _GATHER_BYTES
        for lane in self._lanes:
            for frame in lane:
                if frame.fds:
                    return (
                        Write([frame.header, frame.body], frame.fds)
                        if not buffers
                        else Write(buffers, ())
                    )
                buffers += (frame.header, frame.body)
                room -= len(frame.body)
                if room <= 0 or len(buffers) >= 2 * _GATHER_FRAMES:
                    return Write(buffers, ())
        return Write(buffers, ())

    def written(self, count: int) -> int:
        """Record that `count` bytes of what `gather` returned were written.

        Returns:
            how many frames they begin.
        """
        self.size -= count
        count = self._finish_begun(count)
        begun = 0
        for lane in self._lanes:
            while lane and count > 0:
                frame = lane.popleft()
                begun += 1
                close_all(frame.fds)
                self.fds -= len(frame.fds)
                size = HEADER_SIZE + len(frame.body)
                if count < size:
                    self._begun = _rest((memoryview(frame.header), memoryview(frame.body)), count)
                count -= size
        return begun

    def _finish_begun(self, count: int) -> int:
        size = sum(map(len, self._begun))
        self._begun = _rest(self._begun, count)
        return count - size

    def clear(self) -> None:
        """Drop everything and close its descriptors."""
        for lane in self._lanes:
            for frame in lane:
                close_all(frame.fds)
            lane.clear()
        self._begun = []
        self.size = self.fds = 0


def _rest(buffers: Sequence[memoryview], count: int) -> list[memoryview]:
    """What is left of the buffers after their first `count` bytes."""
    rest = []
    for buffer in buffers:
        if count < len(buffer):
            rest.append(buffer[count:])
        count = max(0, count - len(buffer))
    return rest
