"""Log lines: the only module that imports structlog.

Rule 1: importing this configures nothing; a user's own structlog configuration is respected.
Rule 2: one record is one line, written by one call, with its node and level: JSON, or for a terminal.
"""

from __future__ import annotations

import functools
import os
import sys
import threading
import time
from contextlib import suppress
from contextvars import Context, ContextVar
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Protocol

from actors._base.after_import import after_import
from actors._base.json_line import json_line, json_text_line
from actors._base.line_writer import LineWriter, write_all
from actors._base.log_ring import LogRing
from actors._base.printable import printable
from actors._base.printed_lines import LEVELS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

__all__ = [
    "RING",
    "SYSTEM",
    "Logger",
    "as_terminal",
    "empty_context",
    "flush_lines",
    "get_logger",
    "hand_on_to",
    "is_left_out",
    "iso_time",
    "lowest_level",
    "own_node",
    "system_logger",
    "this_process_is",
    "this_thread_is",
    "use_for_structlog",
    "write_lines",
    "write_lines_to",
    "write_records",
    "write_text",
]

_QUOTED: Final = frozenset(" \t=\r\n\"'")
"""structlog's renderer puts a text in quotes, with escapes, if it has one of these signs."""

_PLAIN: Final = 2
"""Facts of a record that has only a level and an event, as most lines that are printed."""
_STDERR: Final = 2
SYSTEM: Final = "system"
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
        write: writes lines about a node.
        hand_on: is given every record of a structlog logger as well.
    """

    def __init__(self) -> None:
        self.node = SYSTEM
        self.write: Callable[[str, Sequence[str]], None] = write_lines
        self.hand_on: Callable[[dict[str, Any]], None] | None = None

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
    lock = threading.RLock()  # reentrant: a signal handler may log

    def write(_node: str, lines: Sequence[str]) -> None:
        with lock:
            _write(lines)

    def _write(lines: Sequence[str]) -> None:
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
    """In a fork: print records, which are read as output, before whatever ends it."""

    def write(_node: str, lines: Sequence[str]) -> None:
        with suppress(OSError):
            write_all(_STDERR, ("\n".join(lines) + "\n").encode("utf-8", "backslashreplace"))

    _LINES.write = write


def this_thread_is(node: str) -> None:
    """Let records that are made in this context be of *node*, which is a part of this process."""
    _NODE.set(node)


def own_node() -> str:
    """Return the node of records that are made in this context."""
    return _NODE.get(_LINES.node)


def empty_context() -> Context:
    """Return a context in which nothing is set but the node of records, as it is in this one."""
    made = Context()
    node = _NODE.get("")
    if node:
        made.run(_NODE.set, node)
    return made


def this_process_is(node: str) -> None:
    """Let records that this interpreter makes be of *node*, unless they say another one."""
    _LINES.node = node


def write_records(node: str, records: Iterable[dict[str, Any]]) -> None:
    """Write records, dicts with ``event`` and ``level``, as lines of *node*; "" is the node of this context."""
    node = node or _NODE.get(_LINES.node)
    now = iso_time(time.time())
    terminal = as_terminal()
    lines = [_record_line(now, node, record, terminal=terminal) for record in records]
    if lines:
        _LINES.write(node, lines)


def _record_line(now: str, node: str, record: dict[str, Any], *, terminal: bool) -> str:
    if len(record) == _PLAIN and not terminal and "event" in record:
        return json_text_line(now, record["level"], record["event"], node)
    return _line({"timestamp": now, **record, "node": node}, terminal=terminal)


def write_text(text: str) -> None:
    """Write *text* to standard error as it is, and no record; the caller never waits for the reader."""
    _STANDARD_ERROR.write(text, text.count("\n") + 1)


def flush_lines() -> None:
    """Wait until what has been logged is written, at most a second."""
    _STANDARD_ERROR.flush()


def iso_time(at: float) -> str:
    """Return seconds since the epoch in the format of the log's timestamps."""
    return datetime.fromtimestamp(at, tz=UTC).isoformat().replace("+00:00", "Z")


def lowest_level() -> int:
    """Return the number of the lowest level that is written, as `ACTORS_LOG` says."""
    return LEVELS.get(os.environ.get("ACTORS_LOG", "info").lower(), LEVELS["info"])


def is_left_out(event: object) -> bool:
    """Return whether `ACTORS_LOG_WITHOUT` names *event*, so that no record of it is written."""
    named = os.environ.get("ACTORS_LOG_WITHOUT", "")
    return bool(named) and event in _names(named)


@functools.lru_cache(maxsize=8)
def _names(text: str) -> frozenset[str]:
    return frozenset(name.strip().replace("_", " ") for name in text.split(","))


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

    if structlog.is_configured() and structlog.get_config()["logger_factory"] is not _lines:
        return structlog.get_logger("actors", **facts)  # type: ignore[no-any-return] # structlog returns Any
    wrapper, chain = _rendered(structlog)
    bound = structlog.wrap_logger(
        _LINES, processors=chain, wrapper_class=wrapper, cache_logger_on_first_use=False
    )
    return bound.bind(**facts)  # type: ignore[no-any-return] # structlog returns Any


def system_logger(**facts: Any) -> Logger:
    """Return what the system itself logs with: a logger of structlog only where that is imported already.

    Its memory is more than that of the rest of a small system, and who has configured it has imported it.
    """
    return get_logger(**facts) if "structlog" in sys.modules else _SystemLogger(facts)


class _SystemLogger:
    """Makes the records that a logger of structlog would."""

    def __init__(self, facts: dict[str, Any]) -> None:
        self._facts = facts

    def bind(self, **facts: Any) -> Logger:
        """Return a logger with more facts."""
        return _SystemLogger({**self._facts, **facts})

    def debug(self, event: str, **facts: Any) -> None:
        """Log at this level."""
        self._log("debug", event, facts)

    def info(self, event: str, **facts: Any) -> None:
        """Log at this level."""
        self._log("info", event, facts)

    def warning(self, event: str, **facts: Any) -> None:
        """Log at this level."""
        self._log("warning", event, facts)

    def error(self, event: str, **facts: Any) -> None:
        """Log at this level."""
        self._log("error", event, facts)

    def _log(self, level: str, event: str, facts: dict[str, Any]) -> None:
        if LEVELS[level] >= lowest_level() and not is_left_out(event):
            record = {**self._facts, **facts, "event": event, "level": level}
            record.setdefault("timestamp", iso_time(time.time()))
            _hand_on(None, level, record)
            _LINES.write(str(record["node"]), [_line(record, terminal=as_terminal())])


def use_for_structlog() -> None:
    """Let loggers of structlog write to the log, if it is ever imported, until the user configures it."""
    after_import("structlog", _configure)


def _configure(structlog: Any) -> None:
    if not structlog.is_configured():
        wrapper, chain = _rendered(structlog)
        structlog.configure(
            processors=[structlog.contextvars.merge_contextvars, *chain],
            wrapper_class=wrapper,
            logger_factory=_lines,
            cache_logger_on_first_use=False,
        )


def hand_on_to(take: Callable[[dict[str, Any]], None]) -> None:
    """Give *take* the facts of every record that a logger of structlog writes."""
    _LINES.hand_on = take


def _lines(*_args: Any) -> Any:
    """Return what loggers of structlog write to: the factory that is configured where the user has none."""
    return _LINES


def _rendered(structlog: Any) -> tuple[Any, list[Any]]:
    """Return the wrapper class and the processors of loggers for the present form of lines."""
    terminal = as_terminal()
    if terminal not in _RENDERED:
        processors = structlog.processors
        drop = functools.partial(_drop, structlog.DropEvent)
        chain = [drop, processors.add_log_level, processors.MaybeTimeStamper(fmt="iso"), _hand_on]
        if not terminal:
            chain.append(processors.format_exc_info)
        wrapper = structlog.make_filtering_bound_logger(lowest_level())
        _RENDERED[terminal] = (wrapper, [*chain, functools.partial(_to_lines, terminal)])
    wrapper, chain = _RENDERED[terminal]
    return wrapper, chain


def _drop(dropped: type[BaseException], _logger: Any, _method: str, facts: Any) -> Any:
    """Drop a record that is to be left out: a processor."""
    if is_left_out(facts.get("event")):
        raise dropped
    return facts


def _hand_on(_logger: Any, _method: str, facts: Any) -> Any:
    """Give a record its node, and hand it on: a processor."""
    facts.setdefault("node", _NODE.get(_LINES.node))
    if _LINES.hand_on is not None:
        _LINES.hand_on(facts)
    return facts


def _to_lines(terminal: bool, _logger: Any, _method: str, facts: Any) -> Any:  # noqa: FBT001 - a processor
    """Make a record the line that `_Lines` writes: the last of the processors."""
    return (str(facts["node"]), _line(facts, terminal=terminal)), {}


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
