"""Lines reach standard error whatever it is, and who writes one never waits for its reader."""

import io
import json
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

from actors import System
from actors._base.line_writer import LineWriter, StandardError
from actors._base.log import as_terminal, get_logger, write_lines
from actors._base.own_output import output_to_log


@contextmanager
def stderr_is_a_pipe() -> Iterator[int]:
    """Make standard error a pipe, and give the end that is read."""
    reading, writing = os.pipe()
    with (
        os.fdopen(writing, "w", encoding="utf-8") as stream,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setattr(sys, "stderr", stream)
        yield reading
    os.close(reading)


@pytest.fixture
def pipe() -> Iterator[Callable[[], int]]:
    """Give what makes standard error a pipe within the test: pytest sets its own after the fixtures."""
    with ExitStack() as stack:
        yield lambda: stack.enter_context(stderr_is_a_pipe())


def read(fd: int, until: bytes) -> list[str]:
    data = b""
    while not data.endswith(until):
        data += os.read(fd, 65536)
    return data.decode().splitlines()


def dropped(count: int) -> str:
    return f"dropped {count}"


def test_lines_come_whole_and_in_order(pipe: Callable[[], int]) -> None:
    fd = pipe()
    writer = LineWriter(dropped)
    for number in range(1000):
        writer.write(f"line {number} \ud800")
    lines = read(fd, b"line 999 \\ud800\n")
    assert lines == [f"line {number} \\ud800" for number in range(1000)]
    writer.flush()


def test_when_nobody_reads_lines_are_dropped_and_their_number_is_written(
    pipe: Callable[[], int],
) -> None:
    fd = pipe()
    writer = LineWriter(dropped)
    line = "x" * 999
    for _ in range(2000):  # 2 MB; this would wait for ever
        writer.write(line)
    writer.flush(0.01)
    written = lost = 0
    while written + lost < 2000:
        for text in read(fd, b"\n"):
            if text == line:
                written += 1
            else:
                lost += int(text.removeprefix("dropped "))
    assert 1000 <= written < 1200
    writer.write("again")
    assert read(fd, b"again\n") == ["again"]
    writer.flush()


def test_a_reader_that_has_gone_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w", encoding="utf-8") as broken:
        monkeypatch.setattr(sys, "stderr", broken)
        writer = LineWriter(dropped)
        writer.write("nobody")
        writer.flush()


def test_without_another_thread_a_line_is_written_if_there_is_room(
    pipe: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    fd = pipe()

    def refuse(_self: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    writer = LineWriter(dropped)
    for _ in range(200):
        writer.write("x" * 999)
    lines = os.read(fd, 1_000_000).splitlines()
    assert set(lines) == {b"x" * 999}
    assert len(lines) < 100


class Plain:
    """What many programs put in the place of standard error."""

    def __init__(self) -> None:
        self.text = ""

    def write(self, text: str) -> None:
        self.text += text

    def flush(self) -> None:
        pass


class Broken:
    def write(self, _text: str) -> None:
        raise ZeroDivisionError

    def isatty(self) -> bool:
        return False


class Worse(Broken):
    def isatty(self) -> bool:
        raise ZeroDivisionError


def _closed() -> io.StringIO:
    stream = io.StringIO()
    stream.close()
    return stream


@pytest.mark.parametrize(
    "make",
    [lambda: None, Plain, Broken, Worse, io.StringIO, _closed, object],
    ids=["none", "plain", "broken", "worse", "text", "closed", "object"],
)
async def test_a_system_runs_with_any_standard_error(
    make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = make()
    monkeypatch.setattr(sys, "stderr", stream)
    assert not as_terminal()
    with output_to_log():
        assert sys.stderr is stream  # it has no descriptor
    async with System():
        get_logger().warning("hello", name="\ud800")
        write_lines("web/0", ["from a node"])
    if isinstance(stream, Plain):
        lines = stream.text.splitlines()
        at = lines.index("from a node")
        assert json.loads(lines[at - 1])["event"] == "hello"


async def test_what_fails_while_a_system_is_made_is_raised_as_it_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_args: object, **_options: object) -> None:
        raise ZeroDivisionError("a mistake")

    monkeypatch.setattr("actors._system.system_task.Coordinator", fail)
    with pytest.raises(ZeroDivisionError, match="a mistake"):
        async with System():
            pass


def test_what_a_program_of_ours_prints_goes_the_same_way(
    pipe: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    fd = pipe()
    printed = sys.stderr.fileno()
    writer = LineWriter(dropped)

    def take(lines: list[str]) -> None:
        writer.write("\n".join(lines))

    monkeypatch.setattr(sys, "stderr", StandardError(take, printed))
    print("one", "two", file=sys.stderr)  # noqa: T201 - as a program does
    print("three\nfo", end="", file=sys.stderr)  # noqa: T201 - as a program does
    print("ur", file=sys.stderr)  # noqa: T201 - as a program does
    assert read(fd, b"four\n") == ["one two", "three", "four"]
    assert sys.stderr.fileno() == printed
    assert not sys.stderr.isatty()
