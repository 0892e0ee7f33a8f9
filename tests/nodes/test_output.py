"""What a node writes is read line by line, however it comes."""

import json
import os
import time
from collections.abc import Callable
from typing import cast

import pytest

from actors._base.loop import Loop
from actors.nodes.boot.output import LinesReader, WrittenRecords, read_output


class HandLoop:
    """A loop whose one readable descriptor is read, and whose time passes, when the test says so."""

    def __init__(self) -> None:
        self.time = 0.0
        self.timers: list[tuple[float, Callable[[], object]]] = []

    def now(self) -> float:
        return self.time

    def call_later(self, seconds: float, call: Callable[[], object]) -> "HandTimer":
        self.timers.append((self.time + seconds, call))
        return HandTimer(self, self.timers[-1])

    def wait(self, seconds: float) -> None:
        until = self.time + seconds
        while due := [timer for timer in self.timers if timer[0] <= until]:
            timer = min(due, key=lambda timer: timer[0])
            self.timers.remove(timer)
            self.time = timer[0]
            timer[1]()
        self.time = until

    def watch_readable(self, _fd: int, call: Callable[[], object]) -> None:
        self.read = call

    def unwatch_readable(self, _fd: int) -> None:
        pass


class HandTimer:
    def __init__(self, loop: HandLoop, timer: tuple[float, Callable[[], object]]) -> None:
        self._loop, self._timer = loop, timer

    def cancel(self) -> None:
        if self._timer in self._loop.timers:
            self._loop.timers.remove(self._timer)


class Taken:
    """Takes lines as they come; of a long one, parts of 100 bytes."""

    longest: int = 100
    waits: float | None = None

    def __init__(self, lines: list[str]) -> None:
        self.take = lines.extend
        self.take_part = lines.append

    def flush(self) -> None:
        pass


def reader_of(lines: list[str], longest: int = 100) -> tuple[LinesReader, HandLoop, int]:
    loop, taken = HandLoop(), Taken(lines)
    taken.longest = longest
    reading, writing = os.pipe()
    return LinesReader(cast("Loop", loop), reading, taken), loop, writing


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
    reader, loop, fd = reader_of([], longest=2_000_000)

    def cpu_time_of_bytes() -> float:
        began = time.process_time_ns()
        for _ in range(2000):
            os.write(fd, b".")
            loop.read()
        return time.process_time_ns() - began

    short = min(cpu_time_of_bytes() for _ in range(3))
    for _ in range(22):
        os.write(fd, b"." * 40_000)
        loop.read()
    assert min(cpu_time_of_bytes() for _ in range(3)) < 5 * short
    os.close(fd)
    reader.close()


def test_a_text_without_a_newline_is_written_after_a_second() -> None:
    lines: list[str] = []
    reader, loop, fd = reader_of(lines)
    os.write(fd, b"done: ")
    loop.read()
    loop.wait(0.9)
    assert lines == []
    os.write(fd, b"10 %")
    loop.read()
    loop.wait(0.2)
    assert lines == ["done: 10 %"]
    os.write(fd, b"\nready\n")
    loop.read()
    assert lines == ["done: 10 %", "", "ready"]
    os.close(fd)
    reader.close()
    assert loop.timers == []


def test_a_line_that_has_just_begun_is_not_cut_because_an_earlier_one_was_waited_for() -> None:
    lines: list[str] = []
    reader, loop, fd = reader_of(lines)
    for number in range(30):
        os.write(fd, b"%d\nbegun " % number)
        loop.read()
        loop.wait(0.1)
    os.close(fd)
    reader.close()
    assert lines == ["0", *(f"begun {number}" for number in range(1, 30)), "begun "]


def test_a_line_without_end_comes_in_parts_and_costs_a_bounded_memory() -> None:
    lines: list[str] = []
    reader, loop, fd = reader_of(lines, longest=1000)
    for _ in range(50):
        os.write(fd, b"x" * 2500)
        loop.read()
        assert len(reader._rest) <= 1000
    os.close(fd)
    reader.close()
    assert "".join(lines) == "x" * 125_000
    assert max(map(len, lines)) == 1000


def test_what_a_program_prints_becomes_records_with_its_name(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ACTORS_LOG_FORMAT", "json")
    loop = HandLoop()
    reading, fd = os.pipe()
    reader = read_output(cast("Loop", loop), reading, "api/0")
    os.write(fd, b"started\n\nTraceback (most recent call last):\n  File x\nValueError: boom\n")
    loop.read()
    loop.wait(0.2)
    os.write(fd, b'{"level": "ERROR", "msg": "mine", "node": "other"}\nhalf a li')
    loop.read()
    os.close(fd)
    reader.close()
    records = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert {record.pop("node") for record in records} == {"api/0"}
    assert all(record.pop("timestamp") for record in records)
    assert records == [
        {"level": "info", "event": "started"},
        {
            "level": "error",
            "event": "ValueError: boom",
            "traceback": "Traceback (most recent call last):\n  File x\nValueError: boom",
        },
        {"level": "error", "msg": "mine"},
        {"level": "info", "event": "half a li"},
    ]
    assert list(reader.last)[:2] == ["started", ""]


def test_a_record_that_a_dying_node_has_written_in_part_is_a_record_nevertheless(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ACTORS_LOG_FORMAT", "json")
    reading, fd = os.pipe()
    reader = LinesReader(cast("Loop", HandLoop()), reading, WrittenRecords("web/0"))
    os.write(fd, b'{"event": "whole", "node": "web/0"}\n{"event": "a half')
    os.close(fd)
    reader.close()
    whole, part = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert whole == {"event": "whole", "node": "web/0"}
    assert (part["node"], part["event"]) == ("web/0", '{"event": "a half')
