"""The little of HTTP that the dashboard needs over ASGI: requests that are checked, and responses.

Rule 1: whatever a client sends costs bounded memory: a body is read up to a limit, and only where one is due.
Rule 2: pages of other sites get nothing: the ``Host`` is checked, and so is the ``Origin`` of a change.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any, Final, TypeAlias
from urllib.parse import parse_qsl, urlsplit

__all__ = ["Refused", "Request", "Response", "Send", "names_this_server"]

Scope: TypeAlias = Mapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Any]]
Send: TypeAlias = Callable[[Any], Awaitable[None]]

_LONGEST_BODY: Final = 16 * 1024
_MOST_FIELDS: Final = 16
_SAFE: Final = (
    (b"content-security-policy", b"default-src 'self'; frame-ancestors 'none'; base-uri 'none'"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
)


class Refused(Exception):
    """A request that is answered with a status other than 200, and one sentence.

    Attributes:
        status: of the response.
        headers: of the response.
    """

    def __init__(
        self, status: int, why: str, headers: tuple[tuple[bytes, bytes], ...] = ()
    ) -> None:
        super().__init__(why)
        self.status = status
        self.headers = headers


@dataclass(frozen=True, slots=True)
class Response:
    """A whole response."""

    body: bytes
    content_type: str = "text/plain; charset=utf-8"
    status: int = 200
    headers: tuple[tuple[bytes, bytes], ...] = field(default=())

    @classmethod
    def of_json(
        cls, value: object, status: int = 200, headers: tuple[tuple[bytes, bytes], ...] = ()
    ) -> Response:
        """Return *value* as JSON."""
        return cls(json.dumps(value).encode() + b"\n", "application/json", status, headers)

    async def send(self, send: Send, *, head_only: bool = False) -> None:
        """Send it."""
        await begin(
            send,
            self.content_type,
            self.status,
            ((b"content-length", str(len(self.body)).encode()), *self.headers),
        )
        await send({"type": "http.response.body", "body": b"" if head_only else self.body})


async def begin(
    send: Send,
    content_type: str,
    status: int = 200,
    headers: tuple[tuple[bytes, bytes], ...] = (),
) -> None:
    """Send the head of a response."""
    head = [(b"content-type", content_type.encode()), *_SAFE, *headers]
    await send({"type": "http.response.start", "status": status, "headers": head})


class Request:
    """One request.

    Raises:
        Refused: its query has more fields than any page sends.
    """

    def __init__(self, scope: Scope, receive: Receive) -> None:
        self._scope = scope
        self.receive = receive
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        query = scope["query_string"].decode("latin-1")
        try:
            self.query = dict(parse_qsl(query, max_num_fields=_MOST_FIELDS))
        except ValueError:
            raise Refused(400, f"the query has more than {_MOST_FIELDS} fields") from None

    def header(self, name: bytes) -> str:
        """Return a header, "" if there is none."""
        found = (value for key, value in self._scope["headers"] if key == name)
        return next(found, b"").decode("latin-1")

    @property
    def client(self) -> str:
        """Who asks: the address of the connection."""
        client = self._scope.get("client")
        return f"{client[0]}:{client[1]}" if client else "unix"

    def check_host(self, hosts: Collection[str]) -> None:
        """Refuse a request for another server's name: a page that a browser takes for this one.

        Raises:
            Refused: the ``Host`` is neither an address nor localhost nor one of *hosts*.
        """
        host = self.header(b"host")
        if not names_this_server(host, hosts):
            raise Refused(
                403, f"this is not {host[:100]!r}: use an address, or name it in Admin(hosts=)"
            )

    def check_token(self, token: str) -> None:
        """Refuse a request without the token.

        Raises:
            Refused: it has none, or another.
        """
        given = self.header(b"authorization").removeprefix("Bearer ")
        if not hmac.compare_digest(given.encode(), token.encode()):
            raise Refused(
                401, "the token is missing or wrong: `actors admin` shows the address with it"
            )

    def check_origin(self) -> None:
        """Refuse a change that the page of another site asks for.

        Raises:
            Refused: the ``Origin`` is not this server's.
        """
        origin = self.header(b"origin")
        try:
            ours = not origin or urlsplit(origin).netloc == self.header(b"host")
        except ValueError:
            ours = False
        if not ours:
            raise Refused(403, f"a page of {origin[:100]!r} may change nothing here")

    async def json(self) -> dict[str, Any]:
        """Return the body, an object of JSON.

        Raises:
            Refused: it is something else, or too long.
        """
        if self.header(b"content-type").partition(";")[0].strip() != "application/json":
            raise Refused(415, "a change is asked for in application/json")
        body = await self._body()
        try:
            value = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise Refused(400, f"the body is no JSON: {error}") from None
        if not isinstance(value, dict):
            raise Refused(400, "the body is no JSON object")
        return value

    async def _body(self) -> bytes:
        declared = self.header(b"content-length")
        if declared.isdecimal() and int(declared[:10]) > _LONGEST_BODY:  # it is not waited for
            raise Refused(413, f"the body is longer than {_LONGEST_BODY} bytes")
        body: bytes = b""
        while True:
            message = await self.receive()
            if message["type"] == "http.disconnect":
                raise Refused(400, "the body is not complete")
            body += message.get("body", b"")
            if len(body) > _LONGEST_BODY:
                raise Refused(413, f"the body is longer than {_LONGEST_BODY} bytes")
            if not message.get("more_body"):
                break
        return body


def names_this_server(host: str, hosts: Collection[str]) -> bool:
    """Return whether a ``Host`` is an address, localhost or one of *hosts*, whatever its port."""
    try:
        name = urlsplit(f"//{host}").hostname
    except ValueError:
        return False
    if not name:
        return False
    if name == "localhost" or name in {known.lower() for known in hosts}:
        return True
    try:
        ip_address(name)
    except ValueError:
        return False
    return True
