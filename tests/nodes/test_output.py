"""What a node writes is read line by line, however it comes."""

import os
import time
from collections.abc import Callable
from typing import cast

import pytest

from actors._base.loop import Loop
from actors.nodes.boot.output import LinesReader


class HandLoop:
    """A loop whose one readable descriptor is read when the test says so."""

    def watch_readable(self, _fd: int, call: Callable[[], object]) -> None:
        self.read = call

    def unwatch_readable(self, _fd: int) -> None:
        pass


def reader_of(lines: list[str]) -> tuple[LinesReader, HandLoop, int]:
    loop = HandLoop()
    reading, writing = os.pipe()
    return LinesReader(cast("Loop", loop), reading, lines.append), loop, writing


@pytest.mark.parametrize("size", [1, 2, 3, 1000])
def test_lines_are_the_same_however_they_are_cut(size: int) -> None:
    lines: list[str] = []
    reader, loop, fd = reader_of(lines)
    data = b"one\n\ntwo \xff\nthree"
    for at in range(0, len(data), size):
        os.write(fd, data[at : at + size])
        loop.read()
    assert lines == ["one", "", "two \\xff"]
    os.close(fd)
    reader.close()
    assert lines == ["one", "", "two \\xff", "three"]


def test_a_line_that_comes_byte_by_byte_is_not_copied_for_each_byte() -> None:
    reader, loop, fd = reader_of([])

    def cpu_time_of_bytes() -> float:
        began = time.process_time_ns()
        for _ in range(2000):
            os.write(fd, b".")
            loop.read()
        return time.process_time_ns() - began

    short = min(cpu_time_of_bytes() for _ in range(3))
    for _ in range(15):
        os.write(fd, b"." * 60_000)
        loop.read()
    assert min(cpu_time_of_bytes() for _ in range(3)) < 5 * short
    os.close(fd)
    reader.close()
