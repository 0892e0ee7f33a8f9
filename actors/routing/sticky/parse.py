"""Reads sticky keys as the command line writes them."""

from __future__ import annotations

from collections.abc import Callable
from difflib import get_close_matches
from typing import Final

from actors.routing.errors import BadListener
from actors.routing.sticky.http_keys import cookie, header, path, query
from actors.routing.sticky.keys import Chain, Key, ip, proxy, sni

__all__ = ["key_from"]

_BARE: Final[dict[str, Callable[[], Key]]] = {"ip": ip, "proxy": proxy, "sni": sni}
_SET: Final = ":set"
_LONGEST_NUMBER: Final = 9
"""Digits."""


def _cookie(text: str) -> Key:
    return cookie(text.removesuffix(_SET), set=text.endswith(_SET))


def _path(text: str) -> Key:
    if not (text.isascii() and text.isdigit() and len(text) <= _LONGEST_NUMBER):
        raise BadListener(f"the sticky key path takes a number, as in path:1, got {text!r}")
    return path(int(text))


_NAMED: Final[dict[str, Callable[[str], Key]]] = {
    "cookie": _cookie,
    "query": query,
    "header": header,
    "path": _path,
}
_KINDS: Final = "ip, proxy, sni, cookie:NAME[:set], query:NAME, header:NAME or path:SEGMENTS"


def key_from(text: str) -> Key:
    """Read a key as the command line writes it.

    Args:
        text: ``ip``, ``proxy``, ``sni``, ``cookie:sid``, ``cookie:sid:set``, ``query:room``,
            ``header:x-room``, ``path:2``, or several of these chained by ``|``.

    Raises:
        BadListener: the kind is unknown, or its name is missing or superfluous.
    """
    sources = [_source(part.strip()) for part in text.split("|")]
    return sources[0] if len(sources) == 1 else Chain(tuple(sources))


def _source(text: str) -> Key:
    kind, colon, name = text.partition(":")
    bare = _BARE.get(kind)
    if bare is not None:
        if colon:
            raise BadListener(f"the sticky key {kind} takes no name, got {text!r}")
        return bare()
    named = _NAMED.get(kind)
    if named is None:
        close = get_close_matches(kind, [*_BARE, *_NAMED], n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise BadListener(f"a sticky key is {_KINDS}, got {text!r}{hint}")
    if not name:
        what = "a number, as in path:1" if kind == "path" else f"a name, as in {kind}:room"
        raise BadListener(f"the sticky key {kind} needs {what}, got {text!r}")
    return named(name)
