"""The standard library's `logging` in a process of ours: its records are lines of the log, and the reverse.

Rule 1: what the user configures works as everywhere: this adds no handler to any logger of theirs. The outlet
is the parent of the root logger, so that what propagates to the root comes here last.
Rule 2: a record is written once: not by the outlet if a handler on its way has printed it, which is then read
as output, and never by a handler that prints if the log has it already.
Rule 3: no record goes round: what is logged while a handler has one of ours is written, and not handed on.
"""

from __future__ import annotations

import logging
import sys
import threading
from typing import TYPE_CHECKING, Any, Final

from actors._base.log import hand_on_to, iso_time, lowest_level, use_for_structlog, write_records
from actors._base.printed_lines import LEVELS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["hand_to_handlers", "join_logging"]

_WRITTEN: Final = "actors_written"
"""The attribute of records that the log has already."""
_FACTS: Final = "facts"
"""The attribute of records of ours that has all their facts."""
_OURS: Final = "actors"
"""The name of the logger of this framework's own records."""
_OWN_KEYS: Final = frozenset(logging.makeLogRecord({}).__dict__) | {
    "message",
    "asctime",
    _FACTS,
    _WRITTEN,
}
_TEXT_KEYS: Final = ("traceback", "exception", "stack")
_PLAIN_CALL: Final = logging.Logger.callHandlers
"""What Sentry and others replace, to see every record."""


class _Outlet(logging.Handler):
    """Writes the records of `logging` to the log."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write *record*, if nothing has printed it."""
        if not hasattr(record, _WRITTEN) and not any(map(_prints, _handlers_of(record.name))):
            write_records("", [_facts_of(record)])


class _Handing(threading.local):
    """Whether this thread hands a record to handlers."""

    now = False


_HANDING: Final = _Handing()


def join_logging(*, both_ways: bool) -> None:
    """Make the records of `logging` and the warnings of this process lines of the log.

    Args:
        both_ways: whether records of ours also go to the handlers that the user adds.
    """
    outlet = logging.Logger("the log")  # noqa: LOG001 - nobody is to get it by its name
    outlet.addHandler(_Outlet(lowest_level()))
    logging.root.parent = outlet
    logging.root.setLevel(lowest_level())
    logging.captureWarnings(capture=True)
    if threading.excepthook is threading.__excepthook__:
        threading.excepthook = _thread_failed
    if sys.unraisablehook is sys.__unraisablehook__:
        sys.unraisablehook = _could_not_raise
    use_for_structlog()
    if both_ways:
        hand_on_to(hand_to_handlers)


def _thread_failed(failed: threading.ExceptHookArgs) -> None:
    """Log what a thread has raised, as one record: printed, its lines would mix with others."""
    if failed.exc_type is not SystemExit:
        name = "a thread" if failed.thread is None else failed.thread.name
        exc_info = (failed.exc_type, failed.exc_value, failed.exc_traceback)
        logging.getLogger("threading").error("exception in %s", name, exc_info=exc_info)  # type: ignore[arg-type] # they belong together


def _could_not_raise(failed: sys.UnraisableHookArgs) -> None:
    """Log what was raised where nothing can be raised: in a finaliser, in a callback of C."""
    what = failed.err_msg or "exception ignored in"
    exc_info = (failed.exc_type, failed.exc_value, failed.exc_traceback)
    logging.getLogger("sys").error("%s: %r", what, failed.object, exc_info=exc_info)  # type: ignore[arg-type] # they belong together


def hand_to_handlers(facts: Mapping[str, Any]) -> None:
    """Hand a record that the log has to the handlers that the user has added, if there are any."""
    logger = logging.getLogger(_OURS)
    patched = logging.Logger.callHandlers is not _PLAIN_CALL
    if _HANDING.now or not (patched or logger.handlers or logging.root.handlers):
        return
    for handler in _handlers_of(_OURS):
        if _prints(handler):
            handler.addFilter(_not_written)
    _HANDING.now = True
    try:
        record = _record_of(facts)
        if logger.isEnabledFor(record.levelno):
            logger.handle(record)
    except Exception as error:  # noqa: BLE001 - a handler of the user's must not fail whoever logs
        why = f"{type(error).__name__}: {_text_of(error)}"
        write_records("", [{"level": "error", "event": "handler of logging failed", "error": why}])
    finally:
        _HANDING.now = False


def _text_of(error: Exception) -> str:
    try:
        return str(error)
    except Exception:  # noqa: BLE001 - a method of the user's
        return "it has no text"


def _not_written(record: logging.LogRecord) -> bool:
    return not hasattr(record, _WRITTEN)


def _handlers_of(name: str) -> Iterator[logging.Handler]:
    """Return the handlers to which a record of this logger goes, up to the root's."""
    found = logging.root.manager.loggerDict.get(name)
    logger = found if isinstance(found, logging.Logger) else logging.root
    while True:
        yield from logger.handlers
        above = logger.parent if logger.propagate else None
        if logger is logging.root or above is None:
            return
        logger = above


def _prints(handler: logging.Handler) -> bool:
    """Whether a handler prints, so that its text is read as output of this process."""
    stream = getattr(handler, "stream", None)
    standard = (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__)
    return stream is not None and any(stream is one for one in standard)


def _facts_of(record: logging.LogRecord) -> dict[str, Any]:
    """Return what the log has of a record of `logging`."""
    facts = {key: value for key, value in record.__dict__.items() if key not in _OWN_KEYS}
    facts |= {
        "timestamp": iso_time(record.created),
        "level": _level_of(record.levelno),
        "event": _message_of(record),
        "logger": record.name,
    }
    if record.exc_info and record.exc_info[0] is not None:
        facts["exception"] = logging.Formatter().formatException(record.exc_info)
    elif record.exc_text:
        facts["exception"] = record.exc_text
    if record.stack_info:
        facts["stack"] = record.stack_info
    return facts


def _message_of(record: logging.LogRecord) -> str:
    try:
        return record.getMessage().rstrip("\n")
    except Exception:  # noqa: BLE001 - the arguments do not fit the message, or have no text
        return f"{record.msg} {record.args}"


def _level_of(number: int) -> str:
    return next((name for name in reversed(LEVELS) if number >= LEVELS[name]), "debug")


def _record_of(facts: Mapping[str, Any]) -> logging.LogRecord:
    """Return a record of `logging` with the facts as attributes; it is marked as written."""
    level = str(facts.get("level", "info"))
    extra = {str(key): value for key, value in facts.items() if key not in _OWN_KEYS}
    record = logging.makeLogRecord(extra)
    record.name = str(facts.get("logger", _OURS))
    record.levelno = LEVELS.get(level, logging.INFO)
    record.levelname = logging.getLevelName(record.levelno)
    record.msg = str(facts.get("event", ""))
    record.exc_info = _exc_info(facts.get("exc_info"))
    text = [str(facts[key]) for key in _TEXT_KEYS if facts.get(key)]
    record.exc_text = "\n".join(text) or None
    record.__dict__.update({_FACTS: dict(facts), _WRITTEN: True})
    return record


def _exc_info(given: Any) -> Any:
    """Return what structlog was told of an exception as `logging` has it."""
    if isinstance(given, BaseException):
        return (type(given), given, given.__traceback__)
    if given and not isinstance(given, tuple):
        given = sys.exc_info()
    return given if given and given[0] is not None else None
