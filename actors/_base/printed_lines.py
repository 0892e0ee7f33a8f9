r"""What a program prints, line by line, as records of the log: a traceback of many lines is one record.

Rule 1: pure: when a record that may go on is written nevertheless, the caller decides, by `waits`.
Rule 2: what may follow what in a traceback is the table `_NEXT`; memory is bounded by `LONGEST`.
"""

from __future__ import annotations

import enum
import re
from typing import TYPE_CHECKING, Any, Final

from actors._base.json_line import LONGEST, json_object

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["LEVELS", "PrintedLines", "level_named_in"]

LEVELS: Final = {"debug": 10, "info": 20, "warning": 30, "error": 40, "critical": 50}
"""The levels of the log, and their numbers in `logging`."""

_LEVEL_WORDS: Final = {
    **{name: name for name in LEVELS},
    "trace": "debug",
    "notice": "info",
    "warn": "warning",
    "err": "error",
    "crit": "critical",
    "alert": "critical",
    "emerg": "critical",
    "fatal": "critical",
}
"""What programs call levels, and what they are called here."""
_LEVEL_NUMBERS: Final = {
    10: "debug",
    20: "debug",
    30: "info",
    40: "warning",
    50: "error",
    60: "critical",
}
"""What pino and bunyan write."""
_LOOKED_AT: Final = 80
"""Characters of a line among which its level is looked for."""
_WORDS: Final = "|".join(_LEVEL_WORDS)
_NAMED: Final = re.compile(rf"\b({_WORDS.upper()})\b|\[({_WORDS}) *\]")
_COLOUR: Final = re.compile(r"\x1b\[[0-9;]*m")
_LEVEL_KEYS: Final = ("level", "levelname", "severity", "lvl")


class _In(enum.Enum):
    """Where in the lines of a traceback the next line is."""

    NOTHING = enum.auto()
    ANNOUNCED = enum.auto()
    TRACEBACK = enum.auto()
    GROUP = enum.auto()
    ENDED = enum.auto()
    DUMP = enum.auto()


_ANNOUNCES: Final = re.compile(r"Exception (in|ignored) ")
_TRACEBACK: Final = re.compile(r"Traceback \(most recent call last\):")
_GROUP: Final = re.compile(r"  \+ Exception Group Traceback \(most recent call last\):")
_DUMP: Final = re.compile(
    r"Fatal Python error: |Timeout \(|(Current thread|Thread) 0x\w+.*\(most recent call first\):"
)
_DUMP_GOES_ON: Final = re.compile(
    r"$|\s|(Current thread|Thread) 0x|Current thread's|Stack |Python runtime state|Extension modules"
)
_CHAINED: Final = re.compile(
    r"During handling of the above exception|The above exception was the direct cause"
)
_BLANK: Final = re.compile(r"\s*$")
_INDENTED: Final = re.compile(r"\s")
_ANY: Final = re.compile("")
_OPENS: Final = re.compile("|".join(p.pattern for p in (_TRACEBACK, _GROUP, _DUMP, _ANNOUNCES)))
"""What most lines do not match, asked in one go."""

_BEGINS: Final = ((_TRACEBACK, _In.TRACEBACK), (_GROUP, _In.GROUP))
_NEXT: Final = {
    _In.NOTHING: (*_BEGINS, (_DUMP, _In.DUMP), (_ANNOUNCES, _In.ANNOUNCED)),
    _In.ANNOUNCED: (*_BEGINS, (_INDENTED, _In.ANNOUNCED), (_BLANK, _In.ANNOUNCED)),
    _In.TRACEBACK: ((_INDENTED, _In.TRACEBACK), (_ANY, _In.ENDED)),
    _In.GROUP: ((_INDENTED, _In.GROUP), (_BLANK, _In.ENDED)),
    _In.ENDED: ((_CHAINED, _In.ANNOUNCED), (_BLANK, _In.ENDED), (_INDENTED, _In.ENDED)),
    _In.DUMP: ((_DUMP_GOES_ON, _In.DUMP),),
}
"""The first pattern that a line matches says where the next one is; with no match, the record ends."""

_PATIENCE: Final = {_In.ENDED: 0.1}
"""Seconds after which a record is written that may go on; elsewhere 1 second."""
_IN_GROUP: Final = re.compile(r"  \| (\S.*)")


class PrintedLines:
    """Makes records of the lines that one program prints."""

    def __init__(self) -> None:
        self._where = _In.NOTHING
        self._held: list[str] = []
        self._size = 0
        self._title = ""

    @property
    def waits(self) -> float | None:
        """Seconds after which to call `rest`, if nothing more comes; None if nothing is held."""
        return _PATIENCE.get(self._where, 1.0) if self._held else None

    def take(self, lines: Iterable[str]) -> list[dict[str, Any]]:
        """Return the records that are complete: ``event``, ``level`` and what the line itself says."""
        found: list[dict[str, Any]] = []
        for line in lines:
            text = _COLOUR.sub("", line) if "\x1b" in line else line
            if self._held and not self._continues(text):
                found += self.rest()
            if self._held or (_OPENS.match(text) and self._continues(text)):
                self._held.append(text)
                self._size += len(text)
                if self._size > LONGEST // 2:
                    found += self.rest()
            elif text and not text.isspace():
                found.append(_record_of(text))
        return found

    def rest(self) -> list[dict[str, Any]]:
        """Return what is held as a record, complete or not."""
        held, self._held = self._held, []
        where, self._where = self._where, _In.NOTHING
        title, self._title = self._title, ""
        self._size = 0
        if len(held) < 2:  # noqa: PLR2004 - a line alone is no traceback
            return [_record_of(line) for line in held]
        level = "error"
        if where is _In.DUMP:
            level = "critical" if held[0].startswith("Fatal") else "warning"
        text = "\n".join(held).rstrip()
        return [{"level": level, "event": title or _title_of(held), "traceback": text}]

    def _continues(self, text: str) -> bool:
        """Say whether a line goes on with what is held, and note what may follow it."""
        for pattern, then in _NEXT[self._where]:
            if pattern.match(text):
                if self._where is _In.TRACEBACK and then is _In.ENDED:
                    self._title = text
                self._where = then
                return True
        return False


def level_named_in(text: str) -> str:
    """Return the level that a line names near its beginning, in capitals or in brackets; info if none."""
    found = _NAMED.search(text, 0, _LOOKED_AT)
    return "info" if found is None else _LEVEL_WORDS[(found[1] or found[2]).lower()]


def _title_of(held: list[str]) -> str:
    """Return what a group of exceptions or a dump is about."""
    found = (_IN_GROUP.match(line) for line in held)
    return next((match[1] for match in found if match), held[0])


def _record_of(text: str) -> dict[str, Any]:
    """Return the record of one line: if it is a JSON object, that is the record."""
    given = json_object(text)
    if given is None:
        return {"level": level_named_in(text), "event": text}
    return {**given, "level": _level_in(given)}


def _level_in(given: dict[str, Any]) -> str:
    """Return the level of a record in JSON, by a name or, as pino and bunyan do, a number."""
    said = next((given[key] for key in _LEVEL_KEYS if key in given), None)
    if isinstance(said, str):
        return _LEVEL_WORDS.get(said.strip().lower(), "info")
    return _LEVEL_NUMBERS.get(said, "info") if isinstance(said, int) else "info"
