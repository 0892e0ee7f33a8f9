"""What goes over the WebSocket, as JSON. Pure: text in, checked data out, and the other way.

down   welcome  node room people seq     the first message; seq is the room's last number
       said     id name text seq         seq counts by one; what you said comes back as this
       people   people                   who is here now, when that has changed
       error    error (id)               why something was refused; id if it was your message
up     say      text (id)                id is your own name for it: say it again, it counts once
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from ._store import Said

__all__ = [
    "LONGEST_ROOM",
    "Join",
    "Refused",
    "Say",
    "error",
    "join_of",
    "people",
    "said",
    "say_of",
    "welcome",
]

LONGEST_ROOM: Final = 60
_LONGEST: Final = {"room": LONGEST_ROOM, "name": 40, "id": 200, "text": 4000}
_SHOWN: Final = 60
_AFTER_DIGITS: Final = 18


class Refused(ValueError):
    """Input that will not do; the text names it. `id` is the client's name for the message."""

    def __init__(self, why: str, id: str | None = None) -> None:  # noqa: A002 - the protocol's word
        super().__init__(why)
        self.id = id


@dataclass(frozen=True, slots=True)
class Join:
    """Who comes to which room, and which message they had last, if they were here before."""

    room: str
    name: str
    after: int | None


@dataclass(frozen=True, slots=True)
class Say:
    """What somebody says."""

    id: str | None
    text: str


def join_of(query: Mapping[str, str]) -> Join:
    """Read ``?room=R&name=N&after=SEQ``.

    Raises:
        Refused: A value is missing, too long, or no number.
    """
    room = _text("room", query.get("room", "").strip())
    name = _text("name", query.get("name", "").strip())
    after = query.get("after")
    if after is None:
        return Join(room, name, None)
    if not (after.isascii() and after.isdecimal() and len(after) <= _AFTER_DIGITS):
        raise Refused(f"after must be the number of a message, got {_show(after)}")
    return Join(room, name, int(after))


def say_of(data: str | bytes) -> Say:
    """Read what came up.

    Raises:
        Refused: It is not text, not JSON, not a `say`, or a value in it will not do.
    """
    if isinstance(data, bytes):
        raise Refused(f"a message must be text, got {len(data)} bytes")
    try:
        message = json.loads(data)
    except (ValueError, RecursionError) as problem:
        raise Refused(f"a message must be JSON, got {_show(data)}: {problem}") from problem
    if not isinstance(message, dict):
        raise Refused(f"a message must be a JSON object, got {_show(message)}")
    if message.get("type") != "say":
        raise Refused(f'type must be "say", got {_show(message.get("type"))}')
    id_ = None if message.get("id") is None else _text("id", message["id"])
    try:
        return Say(id_, _text("text", message.get("text")))
    except Refused as refused:
        raise Refused(str(refused), id_) from refused


def _text(field: str, value: object) -> str:
    if not isinstance(value, str):
        raise Refused(f"{field} must be text, got {_show(value)}")
    if not value.strip():
        raise Refused(f"{field} must not be empty, got {_show(value)}")
    if len(value) > _LONGEST[field]:
        have = f"{len(value)} characters: {_show(value)}"
        raise Refused(f"{field} must have at most {_LONGEST[field]} characters, got {have}")
    try:
        value.encode()
    except UnicodeEncodeError as problem:
        raise Refused(f"{field} must be text, got half a character in {_show(value)}") from problem
    return value


def _show(value: object) -> str:
    shown = ascii(value)
    return shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]}…"


def welcome(node: str, room: str, names: list[str], seq: int) -> dict[str, Any]:
    """Return the first message."""
    return {"type": "welcome", "node": node, "room": room, "people": names, "seq": seq}


def said(what: Said) -> dict[str, Any]:
    """Return one message of the history."""
    return {"type": "said", "id": what.id, "name": what.name, "text": what.text, "seq": what.seq}


def people(names: list[str]) -> dict[str, Any]:
    """Return who is here."""
    return {"type": "people", "people": names}


def error(why: str, id: str | None = None) -> dict[str, Any]:  # noqa: A002 - the protocol's word
    """Return why something was refused."""
    return {"type": "error", "error": why} | ({} if id is None else {"id": id})
