"""What an agent says to its parent: the fields of each record, and what they may be.

Rule 1: pure. What is not of these shapes is no record: it ends the line before anything is done about it, as
what it says is kept, and read much later by code that nobody would look for a broken agent in.
Rule 2: both ends have the same version (`wire_version`), so nothing else is let through.
"""

from __future__ import annotations

from dataclasses import fields as fields_of
from typing import TYPE_CHECKING, Any, Final

from actors.routing import events

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import TypeAlias

    Check: TypeAlias = Callable[[Any], bool]

__all__ = ["OF_RUNS", "check_answer", "check_record"]

OF_RUNS: Final = frozenset({"started", "records", "lines", "dropped", "ended"})
"""What it says about one of its nodes, "n"."""
_MOST: Final = 1 << 63
_CODES: Final = 1 << 31


def check_record(op: str, fields: Mapping[str, Any]) -> None:
    """Refuse what an agent does not say.

    Args:
        op: what it is about.
        fields: the others of the record.

    Raises:
        ValueError: it is no record of an agent.
    """
    shape = _RECORDS.get(op)
    if shape is None:
        raise ValueError(f"an agent says no {op!r:.80}")
    for name in fields.keys() | shape.keys():
        if name not in shape or not shape[name](fields.get(name)):
            raise ValueError(f"{op!r} has no such {name!r:.80} as {fields.get(name)!r:.80}")


def check_answer(op: str, found: Any) -> None:
    """Refuse what is no answer to a question.

    Raises:
        ValueError: it is none.
    """
    check = _ANSWERS.get(op)
    if check is not None and not check(found):
        raise ValueError(f"{found!r:.80} is no answer to {op!r}")


# -- what a value may be ---------------------------------------------------------------------------------


def _is_text(value: Any) -> bool:
    return type(value) is str


def _is_flag(value: Any) -> bool:
    return type(value) is bool


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < _MOST


def _is_code(value: Any) -> bool:
    return value is None or (type(value) is int and -_CODES < value < _CODES)


def _is_plain(value: Any) -> bool:
    return value is None or type(value) in (str, bool, int, float)


def _is_anything(_value: Any) -> bool:
    return True


def _is_maybe(check: Check) -> Check:
    return lambda value: value is None or check(value)


def _is_list(check: Check) -> Check:
    return lambda value: type(value) is list and all(map(check, value))


def _is_table(shape: Mapping[str, Check]) -> Check:
    """Whether a table has these fields, each as it is to be, and maybe others."""
    return lambda value: (
        type(value) is dict and all(check(value.get(name)) for name, check in shape.items())
    )


def _is_facts(value: Any) -> bool:
    """Whether these are facts of an event that an agent, or a router that it has, reports."""
    return type(value) is dict and value.keys() <= _FACTS and all(map(_is_plain, value.values()))


def _is_way(value: Any) -> bool:
    """Whether it is a host, a port and a ticket."""
    return type(value) is list and [type(part) for part in value] == [str, int, str]


# -- what is said ----------------------------------------------------------------------------------------

_FACTS: Final = {
    *("why", "module", "threads", "descriptors", "traceback"),
    *(one.name for name in events.__all__ for one in fields_of(getattr(events, name))),
}
_PRINTED: Final = _is_table({"event": _is_text, "level": _is_text})
_SUMS: Final = (
    *("accepted", "pending", "peeking", "dropped", "refused", "redispatched", "lost_unread"),
    *("learned", "unlearned", "passed_on", "passing"),
)
_IN_ROUTER: Final = _is_table(
    {"name": _is_text, **dict.fromkeys(("open", "total", "unacknowledged", "queued"), _is_count)}
)
_FIGURES: Final = _is_table(
    {"accepting": _is_flag, "nodes": _is_list(_IN_ROUTER), **dict.fromkeys(_SUMS, _is_count)}
)
_RECORDS: Final[dict[str, dict[str, Check]]] = {
    "ready": {},
    "answer": {"call": _is_count, "result": _is_anything, "error": _is_maybe(_is_text)},
    "leaving": {"why": _is_text},
    "left": {"why": _is_text},
    "event": {"kind": _is_text, "facts": _is_facts},
    "router": {"listener": _is_text, "figures": _FIGURES},
    "started": {"n": _is_count, "pid": _is_count},
    "records": {"n": _is_count, "records": _is_list(_PRINTED)},
    "lines": {"n": _is_count, "lines": _is_list(_is_text)},
    "dropped": {"n": _is_count, "lines": _is_count},
    "ended": {
        "n": _is_count,
        "code": _is_code,
        "why": _is_text,
        "stack": _is_text,
        "lines": _is_list(_is_text),
    },
}
_ANSWERS: Final[dict[str, Check]] = {
    "version_of": _is_text,
    "listen": _is_table(
        {"address": _is_text, "errno": _is_maybe(_is_count), "way": _is_maybe(_is_way)}
    ),
    "stacks": _is_table({}),
    "profile": _is_table({}),
}
