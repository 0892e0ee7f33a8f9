"""A terminal for the tests of full-screen programs: a pty, and pyte as what is seen of it.

Rule: nothing here sleeps; what is waited for is seen on the screen, or the end of the program, with a deadline.
"""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyte

from tests.cli.running_command import HERE, PATIENCE, command, environment

KEYS = {
    "down": "\x1b[B",
    "up": "\x1b[A",
    "right": "\x1b[C",
    "left": "\x1b[D",
    "pagedown": "\x1b[6~",
    "pageup": "\x1b[5~",
    "home": "\x1b[H",
    "end": "\x1b[F",
    "enter": "\r",
    "escape": "\x1b",
    "tab": "\t",
    "shift+tab": "\x1b[Z",
    "ctrl+c": "\x03",
}


class _Screen(pyte.Screen):
    """Knows the sequences that pyte does not, by leaving them out."""

    def report_device_attributes(self, *_: Any, **__: Any) -> None:
        pass


class Terminal:
    """A program on a terminal of its own, which is its controlling terminal unless *controls* is False."""

    def __init__(
        self,
        runtime: Path,
        arguments: tuple[str, ...],
        columns: int,
        lines: int,
        *,
        controls: bool = True,
        **env: str,
    ) -> None:
        self.ours, theirs = pty.openpty()
        self._resize(columns, lines)
        self.screen = _Screen(columns, lines)
        self._stream = pyte.ByteStream(self.screen)
        self.output = b""
        self._kept = os.dup(theirs)
        self.before = termios.tcgetattr(theirs)
        whole = {**environment(runtime), "TERM": "xterm-256color", **env}
        whole = {name: value for name, value in whole.items() if name not in {"COLUMNS", "LINES"}}
        self.process = subprocess.Popen(
            command(*arguments),
            cwd=HERE,
            env=whole,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
            preexec_fn=_take_terminal if controls else None,  # noqa: PLW1509 - nothing else makes it the controlling one
        )
        os.close(theirs)

    def _resize(self, columns: int, lines: int) -> None:
        fcntl.ioctl(self.ours, termios.TIOCSWINSZ, struct.pack("4H", lines, columns, 0, 0))

    def resize(self, columns: int, lines: int) -> None:
        """Give it another size, as the user who drags its corner; the kernel sends SIGWINCH."""
        self.screen.resize(lines, columns)
        self._resize(columns, lines)

    def press(self, *keys: str) -> None:
        """Press keys: names of `KEYS`, or letters."""
        for key in keys:
            os.write(self.ours, KEYS.get(key, key).encode())

    @property
    def rows(self) -> list[str]:
        """What is seen, from top to bottom."""
        # Not `screen.display`: it fails on a wide character of which only one half was drawn over.
        columns, lines = range(self.screen.columns), range(self.screen.lines)
        rows = ("".join(self.screen.buffer[y][x].data for x in columns) for y in lines)
        return [row.rstrip() for row in rows]

    @property
    def text(self) -> str:
        """What is seen, as one text."""
        return "\n".join(self.rows)

    def reversed_row(self) -> str:
        """Return the row below the titles that is shown as selected; "" if none is."""
        for number in range(3, self.screen.lines):
            if self.screen.buffer[number][0].reverse:
                return self.rows[number]
        return ""

    def until(self, seen: Callable[[], object], what: str = "") -> Any:
        """Read what the program writes until *seen* is true; return its value."""
        deadline = time.monotonic() + PATIENCE
        while not (found := seen()):
            left = deadline - time.monotonic()
            ready = left > 0 and select.select([self.ours], [], [], left)[0]
            assert ready, f"never seen {what}; the screen is:\n{self.text}"
            assert self._read(), f"it ended before {what}; the screen is:\n{self.text}"
        return found

    def until_changed(self, row: str) -> None:
        """Wait until another row is selected."""
        self.until(lambda: self.reversed_row() != row, f"another row than {row!r}")

    def see(self, *texts: str) -> str:
        """Wait until all of these are on the screen; return it."""
        self.until(lambda: all(text in self.text for text in texts), repr(texts))
        return self.text

    def gone(self, text: str) -> None:
        """Wait until a text is not on the screen any more."""
        self.until(lambda: text not in self.text, f"no {text!r}")

    def unfilter(self) -> None:
        """Show all rows again; a key behind Esc would be taken for one with Alt."""
        self.until(lambda: "  /" in self.rows[1], "a filter")
        self.press("escape")
        self.until(lambda: "  /" not in self.rows[1] and "holder" in self.text, "all rows")

    def _read(self) -> bytes:
        try:
            data = os.read(self.ours, 65536)
        except OSError:
            return b""
        self.output += data
        seen = data
        # pyte takes these for text: keyboard protocols, and questions about modes.
        for unknown in (b"\x1b[>13u", b"\x1b[>1u", b"\x1b[<u", b"\x1b[?2026$p", b"\x1b[?2048$p"):
            seen = seen.replace(unknown, b"")
        self._stream.feed(seen)
        return data

    def ended(self, number: signal.Signals | None = None) -> int:
        """Wait for the end, after a signal if one is given; return the exit code."""
        if number is not None:
            self.process.send_signal(number)
        deadline = time.monotonic() + PATIENCE
        while self.process.poll() is None:
            assert time.monotonic() < deadline, f"it does not end; the screen is:\n{self.text}"
            if select.select([self.ours], [], [], 0.05)[0]:
                self._read()
        while select.select([self.ours], [], [], 0)[0] and self._read():
            pass
        return self.process.returncode

    def is_restored(self) -> bool:
        """Whether the terminal is as it was: its modes, the first screen, the cursor."""
        assert termios.tcgetattr(self._kept) == self.before
        alternate = self.output.rfind(b"\x1b[?1049h"), self.output.rfind(b"\x1b[?1049l")
        cursor = self.output.rfind(b"\x1b[?25l"), self.output.rfind(b"\x1b[?25h")
        paste = self.output.rfind(b"\x1b[?2004h"), self.output.rfind(b"\x1b[?2004l")
        assert all(began < ended for began, ended in (alternate, cursor, paste))
        return True

    def hang_up(self) -> None:
        """Close the terminal under the program, as a connection that is lost does."""
        os.close(self._kept)
        os.close(self.ours)
        self.ours = self._kept = -1

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(PATIENCE)
        for fd in (self.ours, self._kept):
            if fd >= 0:
                os.close(fd)


def _take_terminal() -> None:
    """Make the terminal the one that the new session is controlled by."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


@contextmanager
def terminal(
    runtime: Path,
    *arguments: str,
    columns: int = 100,
    lines: int = 30,
    env: Mapping[str, str] | None = None,
    controls: bool = True,
) -> Iterator[Terminal]:
    """Run `actors top` on a terminal until the block ends."""
    made = Terminal(runtime, ("top", *arguments), columns, lines, controls=controls, **(env or {}))
    try:
        yield made
    finally:
        made.close()
