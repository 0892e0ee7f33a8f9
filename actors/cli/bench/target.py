"""What `actors bench` asks, and where."""

from __future__ import annotations

import os
import ssl
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

from actors.cli._failure import WRONG, CommandFailed

__all__ = ["Target"]

_PORTS: Final = {"http": 80, "https": 443, "ws": 80, "wss": 443}


@dataclass(frozen=True, slots=True)
class Target:
    """One request, sent over and over.

    Attributes:
        url: as it was given.
        host: name or address.
        port: number.
        method: such as "GET".
        path: with the query.
        headers: names and values beside those that every request has.
        data: the body, or the text of a message.
        websocket: whether messages are sent over WebSockets.
        tls: None for none.
        closing: whether each request has a connection of its own.
    """

    url: str
    host: str
    port: int
    method: str
    path: str
    headers: tuple[tuple[str, str], ...]
    data: bytes
    websocket: bool
    tls: ssl.SSLContext | None
    closing: bool
    message: bytes = field(init=False, default=b"")

    def __post_init__(self) -> None:
        names = {name.lower() for name, _ in self.headers}
        lines = [f"{self.method} {self.path} HTTP/1.1"]
        if "host" not in names:
            lines.append(f"Host: {self.host}:{self.port}")
        lines += [f"{name}: {value}" for name, value in self.headers]
        if self.data or self.method in {"POST", "PUT", "PATCH"}:
            lines.append(f"Content-Length: {len(self.data)}")
        if self.closing:
            lines.append("Connection: close")
        head = "".join(f"{line}\r\n" for line in [*lines, ""]).encode("latin-1", "replace")
        object.__setattr__(self, "message", head + self.data)

    @classmethod
    def of(
        cls,
        url: str,
        *,
        method: str | None = None,
        headers: list[str] | None = None,
        data: str = "",
        closing: bool = False,
        insecure: bool = False,
    ) -> Target:
        """Read what the command line says.

        Raises:
            CommandFailed: naming what it cannot be.
        """
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise CommandFailed(f"{url!r} is no URL: {error}", WRONG) from error
        if parts.scheme not in _PORTS or not parts.hostname:
            what = "a URL begins with http://, https://, ws:// or wss:// and a host"
            raise CommandFailed(f"{what}, got {url!r}", WRONG)
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        if any(letter <= " " or letter > "~" for letter in path):
            raise CommandFailed(f"a path has no blanks and only ASCII, got {path!r}", WRONG)
        websocket = parts.scheme.startswith("ws")
        if websocket and (method or closing):
            raise CommandFailed("messages over WebSockets have no --method and no --closing", WRONG)
        return cls(
            url=url,
            host=parts.hostname,
            port=port or _PORTS[parts.scheme],
            method=_checked_method(method or ("POST" if data else "GET")),
            path=path,
            headers=tuple(map(_header, headers or ())),
            data=_data(data, text=websocket),
            websocket=websocket,
            tls=_tls(insecure=insecure) if parts.scheme in {"https", "wss"} else None,
            closing=closing,
        )


def _data(typed: str, *, text: bool) -> bytes:
    """Return the bytes that were typed; those of a message over WebSockets must be text."""
    data = os.fsencode(typed)
    try:
        data.decode("utf-8" if text else "latin-1")
    except UnicodeDecodeError as error:
        what = f"a message over WebSockets is UTF-8, got --data {typed!r}"
        raise CommandFailed(what, WRONG) from error
    return data


def _checked_method(method: str) -> str:
    if not method.isascii() or not method.isalpha():
        raise CommandFailed(f"--method is a word such as PUT, got {method!r}", WRONG)
    return method.upper()


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon or not name.strip() or "\r" in text or "\n" in text:
        raise CommandFailed(f"--header is 'NAME: VALUE', got {text!r}", WRONG)
    return name.strip(), value.strip()


def _tls(*, insecure: bool) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
