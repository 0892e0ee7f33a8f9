"""Load on a server by blocking clients, until it refuses connections; every exchange has an outcome.

Rule: until the server is told to stop every answer is right and whole. Afterwards these are no loss, too: a
connection that was refused, a kept connection that was closed before any byte of the answer to its next request
(the server had closed it while it was idle), a WebSocket or an event stream that the server has properly ended,
a handshake that it has refused, and a new connection that was reset before any byte, which nobody had accepted
yet when the listening socket was closed.
"""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException, RemoteDisconnected
from typing import Final, Protocol, Self

from websockets.exceptions import (
    ConnectionClosed,
    InvalidMessage,
    InvalidStatus,
    WebSocketException,
)
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

ANSWERED: Final = "answered"
REFUSED: Final = "refused"
CLOSED_IDLE: Final = "closed while idle"
RESET: Final = "reset unread"
NOT_ACCEPTED: Final = "handshake refused"
ENDED: Final = "event stream ended"
GOING: Final = {1001: "closed with 1001", 1012: "closed with 1012"}
HARMLESS: Final = frozenset(
    {ANSWERED, REFUSED, CLOSED_IDLE, RESET, ENDED, NOT_ACCEPTED, *GOING.values()}
)
PATIENCE: Final = 20.0


class Client(Protocol):
    """Does one exchange after the other."""

    def exchange(self) -> str:
        """Return the outcome of one exchange."""

    def close(self) -> None: ...


@dataclass(frozen=True)
class Request:
    """A request, and what its answer has to contain."""

    path: str
    wanted: bytes
    body: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    ok: int = 200
    events: bool = False
    """Whether the answer is an event stream."""

    def clients(self, port: int) -> list[Client]:
        """Return a client that keeps its connection, and one that does not."""
        return [HttpClient(self, port, keep=True), HttpClient(self, port, keep=False)]


class HttpClient:
    """Sends a request again and again."""

    def __init__(self, request: Request, port: int, *, keep: bool) -> None:
        self._request = request
        self._connection = HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
        self._keep = keep

    def exchange(self) -> str:
        fresh = self._connection.sock is None
        try:
            return self._judge()
        except ConnectionRefusedError:
            return REFUSED
        except (ConnectionResetError, BrokenPipeError) as error:
            self.close()
            if not fresh:
                return CLOSED_IDLE
            # Who has accepted it closes it in order, which is the other.
            return f"lost: {error!r}" if isinstance(error, RemoteDisconnected) else RESET
        except (OSError, HTTPException) as error:
            self.close()
            return f"lost: {error!r}"

    def _judge(self) -> str:
        asked = self._request
        method = "GET" if asked.body is None else "POST"
        headers = {**asked.headers, "Connection": "keep-alive" if self._keep else "close"}
        self._connection.request(method, asked.path, asked.body, headers)
        answer = self._connection.getresponse()
        try:
            body = answer.read()
        except OSError as error:
            return f"lost: broken off, {error!r}"
        if answer.status == asked.ok and asked.wanted in body:
            return ANSWERED
        if answer.status == asked.ok and asked.events:
            return ENDED
        return f"wrong: {answer.status} {body[:80]!r}"

    def close(self) -> None:
        self._connection.close()


@dataclass(frozen=True)
class Conversation:
    """Messages over a WebSocket, each with the part that its answer has to contain; some have no answer."""

    path: str
    turns: tuple[tuple[str | None, str | None], ...]
    protocol: str | None = None

    def clients(self, port: int) -> list[Client]:
        return [WebSocketClient(self, port), WebSocketClient(self, port)]


def outcome_of(error: OSError | WebSocketException) -> str:
    """Return what has become of a conversation that was broken off."""
    match error:
        case ConnectionRefusedError():
            return REFUSED
        case ConnectionClosed() if error.rcvd is not None and error.rcvd.code in GOING:
            return GOING[error.rcvd.code]
        case InvalidStatus():
            return NOT_ACCEPTED
        case ConnectionResetError() | InvalidMessage(__cause__=EOFError()):
            return RESET
        case _:
            return f"lost: {error!r}"


class WebSocketClient:
    """Has a conversation again and again, each over a connection of its own."""

    def __init__(self, conversation: Conversation, port: int) -> None:
        self._conversation = conversation
        self._url = f"ws://127.0.0.1:{port}{conversation.path}"

    def exchange(self) -> str:
        protocol = self._conversation.protocol
        protocols = None if protocol is None else [Subprotocol(protocol)]
        try:
            with connect(self._url, subprotocols=protocols, proxy=None) as socket:
                return self._talk(socket)
        except (OSError, WebSocketException) as error:
            return outcome_of(error)

    def _talk(self, socket: ClientConnection) -> str:
        for said, wanted in self._conversation.turns:
            if said is not None:
                socket.send(said)
            if wanted is None:
                continue
            heard = socket.recv(timeout=PATIENCE)
            if wanted not in str(heard):
                return f"wrong: {heard!r}"
        return ANSWERED

    def close(self) -> None:
        pass


class Load:
    """The clients, each in a thread, from entering it until they are refused."""

    def __init__(self, clients: list[Client]) -> None:
        self.outcomes: Counter[str] = Counter()
        self.at_the_end: Counter[str] = Counter()
        """The outcomes of exchanges that had not ended when the server was told to stop."""
        self.ending = False
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._run, args=(one,)) for one in clients]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        for thread in self._threads:
            thread.join(3 * PATIENCE)

    def _run(self, client: Client) -> None:
        outcome = ANSWERED
        while outcome != REFUSED:
            outcome = client.exchange()
            with self._lock:
                (self.at_the_end if self.ending else self.outcomes)[outcome] += 1
        client.close()


def message(**facts: object) -> str:
    """Return a message of a conversation in JSON."""
    return json.dumps(facts)
