"""Log lines: the only module that imports structlog.

Rule 1: importing this configures nothing; a user's own structlog configuration is respected.
Rule 2: one event is one line, written by one call; JSON when the output is not a terminal.
"""

from __future__ import annotations

import json
import os
import sys
import time
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Protocol

from actors._base.line_writer import LineWriter, StandardError
from actors._base.printable import printable, printable_json

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "Logger",
    "as_terminal",
    "get_logger",
    "iso_time",
    "replace_stderr",
    "write_line",
    "write_lines_to",
]

_FIRST: Final = ("timestamp", "level", "event")
"""The keys that come first in a JSON line."""

_QUOTED: Final = frozenset(" \t=\r\n\"'")
"""structlog's renderer puts a text in quotes, with escapes, if it has one of these signs."""

_LEVELS: Final = {"debug": 10, "info": 20, "warning": 30, "error": 40, "critical": 50}


class Logger(Protocol):
    """The methods of a structlog logger that this project uses."""

    def debug(self, event: str, **facts: Any) -> Any: ...
    def info(self, event: str, **facts: Any) -> Any: ...
    def warning(self, event: str, **facts: Any) -> Any: ...
    def error(self, event: str, **facts: Any) -> Any: ...
    def bind(self, **facts: Any) -> Logger: ...


class _Lines:
    """Where lines go: standard error, or a node's log pipe."""

    def __init__(self) -> None:
        self.write: Callable[[str], None] = _STANDARD_ERROR.write

    def msg(self, line: str) -> None:
        self.write(line)

    debug = info = warning = error = critical = msg


def _dropped(count: int) -> str:
    if as_terminal():
        return f"{iso_time(time.time())} [warning  ] log lines dropped              count={count}"
    facts = {"timestamp": iso_time(time.time()), "level": "warning", "event": "log lines dropped"}
    return json.dumps({**facts, "count": count})


_STANDARD_ERROR: Final = LineWriter(_dropped)
_LINES: Final = _Lines()
_RENDERED: Final[dict[bool, Any]] = {}


def write_lines_to(fd: int) -> None:
    """Send this process's lines to the non-blocking pipe *fd*: a full pipe drops and counts."""
    rest = b""
    dropped = 0

    def write(line: str) -> None:
        nonlocal rest, dropped
        data = line.encode("utf-8", "backslashreplace") + b"\n"
        if dropped:
            data = _dropped(dropped).encode() + b"\n" + data
        try:
            # The pipe may have taken a part of a long line: write its rest first.
            rest = rest[os.write(fd, rest) :] if rest else rest
            if not rest:
                rest = data[os.write(fd, data) :]
                dropped = 0
                return
        except (BlockingIOError, BrokenPipeError):
            pass  # counted below, and logged before the next line
        dropped += 1

    _LINES.write = write


def write_line(line: str) -> None:
    """Write *line* to standard error, as it is; the caller never waits for the reader."""
    _STANDARD_ERROR.write(line)


def replace_stderr() -> None:
    """Let everything that prints to `sys.stderr` in this process go the same way as log lines."""
    with suppress(AttributeError, OSError, ValueError):  # it has no descriptor
        fd = sys.stderr.fileno()
        if not isinstance(sys.stderr, StandardError):
            sys.stderr = StandardError(_STANDARD_ERROR, fd)


def iso_time(at: float) -> str:
    """Return seconds since the epoch in the format of the log's timestamps."""
    return datetime.fromtimestamp(at, tz=UTC).isoformat().replace("+00:00", "Z")


def _level() -> int:
    return _LEVELS.get(os.environ.get("ACTORS_LOG", "info").lower(), _LEVELS["info"])


def as_terminal() -> bool:
    """Return whether lines are made for a terminal, not as JSON."""
    override = os.environ.get("ACTORS_LOG_FORMAT", "")
    if override:
        return override == "console"
    try:
        return bool(sys.stderr.isatty())
    except Exception:  # noqa: BLE001 - it may be closed, or None, or a user's object
        return False


def get_logger(**facts: Any) -> Logger:
    """Return a structlog logger bound with *facts*.

    It writes to standard error as `ACTORS_LOG` (debug, info, warning, error) and
    `ACTORS_LOG_FORMAT` (json, console) say, unless the user has configured structlog.
    """
    import structlog  # noqa: PLC0415 - imported for the first log line, not at import of actors

    if structlog.is_configured():
        return structlog.get_logger("actors", **facts)  # type: ignore[no-any-return] # structlog returns Any
    terminal = as_terminal()
    if terminal not in _RENDERED:
        processors = structlog.processors
        renderer = (
            structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
            if terminal
            else processors.JSONRenderer(serializer=_dumps)
        )
        chain = [processors.add_log_level, processors.MaybeTimeStamper(fmt="iso")]
        chain.append(_for_terminal if terminal else processors.format_exc_info)
        _RENDERED[terminal] = (structlog.make_filtering_bound_logger(_level()), [*chain, renderer])
    wrapper, chain = _RENDERED[terminal]
    bound = structlog.wrap_logger(
        _LINES, processors=chain, wrapper_class=wrapper, cache_logger_on_first_use=False
    )
    return bound.bind(**facts)  # type: ignore[no-any-return] # structlog returns Any


def _dumps(facts: Any, **_options: Any) -> str:
    first = {key: facts.pop(key) for key in _FIRST if key in facts}
    return printable_json(json.dumps({**first, **facts}, default=str, ensure_ascii=False))


def _for_terminal(_logger: Any, _method: str, facts: Any) -> Any:
    """Make all texts printable; structlog itself does that with those which it puts in quotes."""
    shown = {
        key: printable(value) if isinstance(value, str) and _QUOTED.isdisjoint(value) else value
        for key, value in facts.items()
    }
    if traceback := facts.get("traceback"):
        del shown["traceback"]
        shown["exception"] = _indented(f"    {traceback}")  # structlog writes it below the line
    return {**shown, "event": _indented(str(facts["event"]))}


def _indented(text: str) -> str:
    """Return *text* with its further lines indented, so that none looks like a line of the log."""
    return printable(text, keep="\n").rstrip("\n").replace("\n", "\n    ")
