"""The messages of the WebSocket, as JSON. Pure: text in, checked data out, and the other way.

The address has the room and the name: ``/ws?room=R&name=N``. With ``&after=SEQ`` the messages after that
number are sent first, without it the last fifty.

down   welcome  node room you people seq   the first message; `you` is your name as others get it,
                                           seq the number of the room's last message
       said     seq id name text at (to)   what was said, at seconds since 1970; what you said comes
                                           back as this; `to` if it was for one person only
       hidden   seq                        the number of a private message of others
       people   people                     who is here now, when that has changed
       typing   name                       somebody is typing; may be lost
       error    error (id)                 why something was refused; id if it was your message
up     say      text (id) (to)             a message with an id that was sent before is ignored
       typing                              you are typing

`seq` increases by one over `said` and `hidden`, the same for everybody: a gap means a lost message.

There are no accounts. A client with the page's cookie gets a tag on its name, a hash of cookie and name,
so that nobody else can be ``ann#52b1c6a09d3f7e84``, the name to send private messages to. A client without
the cookie is ``ann``. A name that a user enters has no ``#``.

Close code 1008 means that the same request would fail again; after any other code, reconnect.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Final, cast

from ._store import Hidden, Said

__all__ = [
    "LONGEST_ROOM",
    "Join",
    "Refused",
    "Say",
    "Typing",
    "error",
    "join_of",
    "people",
    "said",
    "said_of",
    "typing",
    "welcome",
]

LONGEST_ROOM: Final = 60
_MOST_CHARACTERS: Final = {"room": LONGEST_ROOM, "name": 40, "to": 60, "id": 200, "text": 4000}
_SHOWN: Final = 60
_AFTER_DIGITS: Final = 18


class Refused(ValueError):
    """The input is wrong; the text quotes it. `id` is that of the message, if it has one."""

    def __init__(self, why: str, id: str | None = None) -> None:  # noqa: A002 - the protocol's word
        super().__init__(why)
        self.id = id


@dataclass(frozen=True, slots=True)
class Join:
    """Who joins which room, and the number of the last message they have, if any."""

    room: str
    name: str
    after: int | None


@dataclass(frozen=True, slots=True)
class Say:
    """A message, to one person or to everybody."""

    id: str | None
    text: str
    to: str | None = None


@dataclass(frozen=True, slots=True)
class Typing:
    """A notice that somebody is typing."""


def join_of(query: Mapping[str, str], cookie: str | None = None) -> Join:
    """Parse the query of the address; the tag of the name is made from *cookie*.

    Raises:
        Refused: A value is missing, too long, or not a number.
    """
    room = _text("room", query.get("room", "").strip())
    name = _text("name", query.get("name", "").strip())
    if "#" in name:
        raise Refused(f"name must not have a # in it, got {_show(name)}")
    if cookie:
        name += "#" + blake2b(f"{cookie}\n{name}".encode(), digest_size=8).hexdigest()
    after = query.get("after")
    if after is None:
        return Join(room, name, None)
    if not (after.isascii() and after.isdecimal() and len(after) <= _AFTER_DIGITS):
        raise Refused(f"after must be the number of a message, got {_show(after)}")
    return Join(room, name, int(after))


def said_of(data: str | bytes) -> Say | Typing:
    """Parse a message of a client.

    Raises:
        Refused: It is not text, not JSON, of an unknown type, or has a wrong value.
    """
    if isinstance(data, bytes):
        raise Refused(f"a message must be text, got {len(data)} bytes")
    try:
        message = json.loads(data)
    except (ValueError, RecursionError) as problem:
        raise Refused(f"a message must be JSON, got {_show(data)}: {problem}") from problem
    if not isinstance(message, dict):
        raise Refused(f"a message must be a JSON object, got {_show(message)}")
    fields = cast("dict[str, Any]", message)
    match fields.get("type"):
        case "say":
            return _say(fields)
        case "typing":
            return Typing()
        case other:
            raise Refused(f'type must be "say" or "typing", got {_show(other)}')


def _say(message: dict[str, Any]) -> Say:
    id_ = _maybe("id", message.get("id"))
    try:
        return Say(id_, _text("text", message.get("text")), _maybe("to", message.get("to")))
    except Refused as refused:
        raise Refused(str(refused), id_) from refused


def _maybe(field: str, value: object) -> str | None:
    return None if value is None else _text(field, value)


def _text(field: str, value: object) -> str:
    if not isinstance(value, str):
        raise Refused(f"{field} must be text, got {_show(value)}")
    if not value.strip():
        raise Refused(f"{field} must not be empty, got {_show(value)}")
    if len(value) > _MOST_CHARACTERS[field]:
        have = f"{len(value)} characters: {_show(value)}"
        raise Refused(f"{field} must have at most {_MOST_CHARACTERS[field]} characters, got {have}")
    try:
        value.encode()
    except UnicodeEncodeError as problem:
        raise Refused(f"{field} must be text, got half a character in {_show(value)}") from problem
    return value


def _show(value: object) -> str:
    shown = ascii(value)
    return shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]}…"


def welcome(node: str, room: str, you: str, names: list[str], seq: int) -> dict[str, Any]:
    """Return the first message to a client."""
    return {
        "type": "welcome",
        "node": node,
        "room": room,
        "you": you,
        "people": names,
        "seq": seq,
    }


def said(what: Said | Hidden) -> dict[str, Any]:
    """Return a `said` or `hidden` message."""
    if isinstance(what, Hidden):
        return {"type": "hidden", "seq": what.seq}
    message = {
        "type": "said",
        "seq": what.seq,
        "id": what.id,
        "name": what.name,
        "text": what.text,
        "at": what.at,
    }
    return message if what.to is None else message | {"to": what.to}


def people(names: list[str]) -> dict[str, Any]:
    """Return a `people` message."""
    return {"type": "people", "people": names}


def typing(name: str) -> dict[str, Any]:
    """Return a `typing` message."""
    return {"type": "typing", "name": name}


def error(why: str, id: str | None = None) -> dict[str, Any]:  # noqa: A002 - the protocol's word
    """Return an `error` message."""
    return {"type": "error", "error": why} | ({} if id is None else {"id": id})
