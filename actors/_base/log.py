"""Log lines: the only module that imports structlog.

Rule 1: importing this configures nothing; a user's own structlog configuration is respected.
Rule 2: one record is one line, written by one call, with its node and level: JSON, or for a terminal.
"""

from __future__ import annotations

import functools
import os
import sys
import time
from contextlib import suppress
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Protocol

from actors._base.json_line import json_line
from actors._base.line_writer import LineWriter, StandardError
from actors._base.log_ring import LogRing
from actors._base.printable import printable
from actors._base.printed_lines import LEVELS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

__all__ = [
    "RING",
    "Logger",
    "as_terminal",
    "get_logger",
    "iso_time",
    "lowest_level",
    "replace_stderr",
    "this_thread_is",
    "write_lines",
    "write_lines_to",
    "write_records",
]

_QUOTED: Final = frozenset(" \t=\r\n\"'")
"""structlog's renderer puts a text in quotes, with escapes, if it has one of these signs."""

_SYSTEM: Final = "system"
"""The node of records of the process that has made a system."""


class Logger(Protocol):
    """The methods of a structlog logger that this project uses."""

    def debug(self, event: str, **facts: Any) -> Any: ...
    def info(self, event: str, **facts: Any) -> Any: ...
    def warning(self, event: str, **facts: Any) -> Any: ...
    def error(self, event: str, **facts: Any) -> Any: ...
    def bind(self, **facts: Any) -> Logger: ...


def write_lines(node: str, lines: Sequence[str]) -> None:
    """Write lines about a node to standard error, as they are; the caller never waits for the reader."""
    RING.add(node, lines)
    _STANDARD_ERROR.write("\n".join(lines), len(lines))


class _Lines:
    """Where lines go: standard error, or a node's log pipe.

    Attributes:
        node: the node of records that do not name one.
    """

    def __init__(self) -> None:
        self.node = _SYSTEM
        self.write: Callable[[str, Sequence[str]], None] = write_lines

    def msg(self, node: str, line: str) -> None:
        self.write(node, [line])

    debug = info = warning = error = critical = msg


def _dropped(count: int) -> str:
    facts = {"level": "warning", "event": "log lines dropped", "count": count}
    facts |= {"timestamp": iso_time(time.time()), "node": _LINES.node}
    return _line(facts, terminal=as_terminal())


RING: Final = LogRing()
"""The last lines of this process and of all nodes of its systems."""
_STANDARD_ERROR: Final = LineWriter(_dropped)
_LINES: Final = _Lines()
_NODE: Final[ContextVar[str]] = ContextVar("actors_log_node")
_RENDERED: Final[dict[bool, Any]] = {}
_CONSOLE: Final[list[Callable[..., Any]]] = []


def write_lines_to(fd: int, node: str) -> None:
    """Send the lines of this process, which is *node*, to a non-blocking pipe: a full one drops and counts."""
    rest = b""
    dropped = 0

    def write(_node: str, lines: Sequence[str]) -> None:
        nonlocal rest, dropped
        data = "\n".join(lines).encode("utf-8", "backslashreplace") + b"\n"
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
        dropped += len(lines)

    _LINES.write = write
    _LINES.node = node
    # Lines of a fork would mix with ours in the pipe.
    os.register_at_fork(after_in_child=_write_as_others)


def _write_as_others() -> None:
    _LINES.write = lambda _node, lines: _STANDARD_ERROR.write("\n".join(lines), len(lines))


def this_thread_is(node: str) -> None:
    """Let records that are made in this context be of *node*, which is a part of this process."""
    _NODE.set(node)


def write_records(node: str, records: Iterable[dict[str, Any]]) -> None:
    """Write records, dicts with ``event`` and ``level``, as lines of *node*; "" is the node of this context."""
    node = node or _NODE.get(_LINES.node)
    now = iso_time(time.time())
    terminal = as_terminal()
    lines = [
        _line({"timestamp": now, **record, "node": node}, terminal=terminal) for record in records
    ]
    if lines:
        _LINES.write(node, lines)


def replace_stderr() -> None:
    """Let everything that prints to `sys.stderr` in this process go the same way as log lines."""
    with suppress(AttributeError, OSError, ValueError):  # it has no descriptor
        fd = sys.stderr.fileno()
        if not isinstance(sys.stderr, StandardError):
            sys.stderr = StandardError(_STANDARD_ERROR, fd)


def iso_time(at: float) -> str:
    """Return seconds since the epoch in the format of the log's timestamps."""
    return datetime.fromtimestamp(at, tz=UTC).isoformat().replace("+00:00", "Z")


def lowest_level() -> int:
    """Return the number of the lowest level that is written, as `ACTORS_LOG` says."""
    return LEVELS.get(os.environ.get("ACTORS_LOG", "info").lower(), LEVELS["info"])


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
        chain = [processors.add_log_level, processors.MaybeTimeStamper(fmt="iso")]
        if not terminal:
            chain.append(processors.format_exc_info)
        wrapper = structlog.make_filtering_bound_logger(lowest_level())
        _RENDERED[terminal] = (wrapper, [*chain, functools.partial(_to_lines, terminal)])
    wrapper, chain = _RENDERED[terminal]
    bound = structlog.wrap_logger(
        _LINES, processors=chain, wrapper_class=wrapper, cache_logger_on_first_use=False
    )
    return bound.bind(**facts)  # type: ignore[no-any-return] # structlog returns Any


def _to_lines(terminal: bool, _logger: Any, _method: str, facts: Any) -> Any:  # noqa: FBT001 - a processor
    """Give a record its node, and make it the line that `_Lines` writes: the last of the processors."""
    node = facts.setdefault("node", _NODE.get(_LINES.node))
    return (str(node), _line(facts, terminal=terminal)), {}


def _line(facts: dict[str, Any], *, terminal: bool) -> str:
    """Return a record as a line: JSON, or for a terminal."""
    if not terminal:
        return json_line(facts)
    if not _CONSOLE:
        import structlog  # noqa: PLC0415 - imported for the first log line, not at import of actors

        plain = structlog.dev.plain_traceback
        _CONSOLE.append(structlog.dev.ConsoleRenderer(exception_formatter=plain))
    text: str = _CONSOLE[0](None, "", _for_terminal(facts))
    return text


def _for_terminal(facts: dict[str, Any]) -> dict[str, Any]:
    """Make all texts printable; structlog itself does that with those which it puts in quotes."""
    shown = {
        key: printable(value) if isinstance(value, str) and _QUOTED.isdisjoint(value) else value
        for key, value in facts.items()
    }
    if traceback := facts.get("traceback"):
        del shown["traceback"]
        shown["exception"] = _indented(f"    {traceback}")  # structlog writes it below the line
    event = facts.get("event", facts.get("message", facts.get("msg", "")))
    return {**shown, "event": _indented(str(event))}


def _indented(text: str) -> str:
    """Return *text* with its further lines indented, so that none looks like a line of the log."""
    return printable(text, keep="\n").rstrip("\n").replace("\n", "\n    ")
