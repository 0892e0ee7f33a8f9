"""What four servers make of the same bytes: ours, uvicorn's two, and h11 alone; no sockets.

Rule 1: `difference` says whether ours takes what h11 refuses, or reads a request otherwise than any of them.
Rule 2: ours may refuse more than the others do. What it takes and h11 does not is named in `by_h11`.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import h11
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from actors._base.loop import Loop
from actors.routing import asgi, listen
from actors.routing.serving.asgi import AsgiServer
from actors.routing.serving.http_connection import HttpConnection
from tests.routing.http_cases import Case
from tests.routing.serving_nodes import run

__all__ = ["Bench", "Seen", "Verdict", "difference", "judging"]

_TURNS = 40
_MAX_HEAD = 64 * 1024


@dataclass(slots=True)
class Seen:
    """A request as the application got it."""

    method: str
    target: bytes
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes = b""
    whole: bool = False


@dataclass(slots=True)
class Verdict:
    """What a server made of a case."""

    requests: list[Seen] = field(default_factory=list)
    answers: bytes = b""
    closed: bool = False
    crash: Exception | None = None

    @property
    def whole(self) -> list[Seen]:
        """The requests that came with all of their body."""
        return [seen for seen in self.requests if seen.whole]


class Wire(asyncio.Transport):
    """A transport without a socket."""

    def __init__(self, loop: asyncio.AbstractEventLoop, verdict: Verdict, port: int) -> None:
        super().__init__({"peername": ("192.0.2.1", port), "sockname": ("192.0.2.2", 80)})
        self._loop = loop
        self.verdict = verdict
        self.protocol: Any = None
        self.paused = False

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.protocol = protocol

    def write(self, data: Any) -> None:
        self.verdict.answers += data

    def deliver(self, piece: bytes) -> None:
        """Have the protocol read; what it raises closes the connection, as in any loop."""
        try:
            self.protocol.data_received(piece)
        except Exception as error:  # noqa: BLE001 - part of the verdict
            self.verdict.crash = error
            self.close()

    def close(self) -> None:
        if not self.verdict.closed:
            self.verdict.closed = True
            self._loop.call_soon(self.protocol.connection_lost, None)

    abort = close

    def is_closing(self) -> bool:
        return self.verdict.closed

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        """Do nothing: the other side is only listened to."""


class _App:
    """An application that takes all of a request, then answers "ok"; every connection has its own."""

    def __init__(self) -> None:
        self.of: dict[int, Verdict] = {}

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        verdict = self.of[scope["client"][1]]
        query = scope["query_string"]
        target = scope["raw_path"] + (b"?" + query if query else b"")
        seen = Seen(scope["method"], target, tuple(scope["headers"]))
        verdict.requests.append(seen)
        if scope["type"] != "http":
            return
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            seen.body += message["body"]
            if not message["more_body"]:
                break
        seen.whole = True
        headers = [(b"content-length", b"2")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"ok"})


class Bench:
    """The servers, in the running loop."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._app = _App()
        self._numbers = 0
        self._owner: Any = None
        self._makers: dict[str, Callable[[], Any]] = {}

    async def start(self) -> None:
        """Make the servers ready."""
        spec = asgi("tests:app", lifespan="off", proxy_headers=False, max_head=_MAX_HEAD)
        self._owner = AsgiServer(
            listen(spec, "127.0.0.1:0"),
            spec,
            _NoAcks(),
            report=lambda _: None,
            system=None,
            resolve=lambda _: self._app,
        )
        await self._owner.start()
        state = ServerState()
        for name, kind in (("uvicorn h11", H11Protocol), ("uvicorn httptools", HttpToolsProtocol)):
            http = "h11" if kind is H11Protocol else "httptools"
            config = Config(
                self._app,
                http=http,
                lifespan="off",
                log_config=None,
                access_log=False,
                proxy_headers=False,
                ws="none",
                h11_max_incomplete_event_size=_MAX_HEAD,
            )
            config.load()
            self._makers[name] = partial(kind, config, state, {})

    async def judge(self, case: Case) -> dict[str, Verdict]:
        """Have every server read the case."""
        wires = {"ours": self._wire(lambda: HttpConnection(self._owner, self._numbers))}
        whole = (case.data,)
        wires["ours whole"] = self._wire(lambda: HttpConnection(self._owner, self._numbers))
        wires |= {name: self._wire(make) for name, make in self._makers.items()}
        feeds = [
            (wire, list(whole if name == "ours whole" else case.pieces))
            for name, wire in wires.items()
        ]
        for _ in range(_TURNS):
            for wire, pieces in feeds:
                if pieces and not wire.paused and not wire.is_closing():
                    wire.deliver(pieces.pop(0))
            await asyncio.sleep(0)
        verdicts = {name: wire.verdict for name, wire in wires.items()}
        if b"upgrade" in case.data.lower():
            del verdicts[
                "uvicorn httptools"
            ]  # it loses the body of a request that asks for an upgrade
        verdicts["h11"] = by_h11(case.data)
        frozen = {
            name: Verdict([*verdict.requests], verdict.answers, verdict.closed, verdict.crash)
            for name, verdict in verdicts.items()
        }
        for wire in wires.values():
            wire.close()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        self._app.of.clear()
        return frozen

    def _wire(self, make: Callable[[], Any]) -> Wire:
        self._numbers += 1
        verdict = self._app.of[self._numbers] = Verdict()
        wire = Wire(self._loop, verdict, self._numbers)
        wire.protocol = make()
        wire.protocol.connection_made(wire)
        return wire


class _NoAcks:
    def acknowledged(self, number: int) -> None: ...

    def refused(self, number: int) -> None: ...

    def closed(self, number: int) -> None: ...


def by_h11(data: bytes, *, mended: bool = False) -> Verdict:
    """Read a case with h11, answering each request when it is whole; *mended*: without what only ours takes."""
    verdict = Verdict()
    try:
        while data and not verdict.closed:
            if mended:
                data = data.lstrip(b"\r\n")  # empty lines before a request
                for pattern, plain in _LENIENCIES:
                    data = pattern.sub(plain, data)
            data = _read_one(data, verdict)
    except h11.RemoteProtocolError:
        verdict.closed = True
        verdict.answers = b"HTTP/1.1 400"
    return verdict


_LENIENCIES = (
    (re.compile(rb"\A([!-~]+) +(\S+) +(?:HTTP|RTSP|ICE)(/1\.[01]) *(?=\r?\n)"), rb"\1 \2 HTTP\3"),
    (re.compile(rb"\b0{18,}(?=[0-9a-fA-F])"), b""),  # more zeros before a number than h11 reads
)
"""What the parser of httptools takes and h11 does not; no request begins or ends elsewhere for it."""


def _read_one(data: bytes, verdict: Verdict) -> bytes:
    """Read one request, and return what follows it."""
    conn = h11.Connection(h11.SERVER, max_incomplete_event_size=_MAX_HEAD)
    conn.receive_data(data)
    while isinstance(event := conn.next_event(), h11.Event):
        if isinstance(event, h11.Request):
            target = event.target
            verdict.requests.append(Seen(event.method.decode(), target, tuple(event.headers)))
        elif isinstance(event, h11.Data):
            verdict.requests[-1].body += event.data
        elif isinstance(event, h11.EndOfMessage):
            verdict.requests[-1].whole = True
            conn.send(h11.Response(status_code=404, headers=[("content-length", "0")]))
            conn.send(h11.EndOfMessage())
            verdict.closed = conn.our_state is not h11.DONE
            return conn.trailing_data[0]
    verdict.closed = True
    return b""


def difference(case: Case, verdicts: Mapping[str, Verdict]) -> str:
    """Return how ours differs from another server to its disadvantage; an empty text if it does not."""
    ours = verdicts["ours"]
    if ours.crash is not None:
        return f"ours raised {ours.crash!r}"
    if ours.answers.count(b"HTTP/1.1 200") != len(ours.whole):
        return f"{len(ours.whole)} requests, answered by {ours.answers!r}"
    if verdicts["ours whole"].whole != ours.whole:
        return "ours takes it in one piece otherwise than in several"
    if (wrong := _unlike_h11(ours, verdicts["h11"])) and _unlike_h11(
        ours, by_h11(case.data, mended=True)
    ):
        return wrong
    uvicorns = ((name, seen) for name, seen in verdicts.items() if name.startswith("uvicorn"))
    return "".join(_misread(name, ours, seen) for name, seen in uvicorns)


def _unlike_h11(ours: Verdict, norm: Verdict) -> str:
    if len(ours.whole) > len(norm.whole) or len(ours.requests) > len(norm.requests):
        return f"ours takes {ours.requests}, h11 {norm.requests}"
    return _misread("h11", ours, norm)


def _misread(name: str, ours: Verdict, other: Verdict) -> str:
    for mine, its in zip(ours.requests, other.requests, strict=False):
        # Uvicorn appends what follows the chunks of a body to the headers, if it comes in one piece with them.
        its_request = _request(its)[: 2 if name == "uvicorn httptools" else 3]
        if _request(mine)[: len(its_request)] != its_request:
            return f"{name} reads {_request(its)}, ours {_request(mine)}"
        if mine.whole and its.whole and mine.body != its.body:
            return f"{name} reads the body {its.body!r}, ours {mine.body!r}"
    return ""


def _request(seen: Seen) -> tuple[object, ...]:
    """Return what has to be the same for all; h11 changes the headers that frame a body."""
    framing = {b"content-length", b"transfer-encoding", b"upgrade"}
    headers = [(name.lower(), value) for name, value in seen.headers]
    zeros = _LENIENCIES[1][0]
    kept = [(name, zeros.sub(b"", value.strip())) for name, value in headers if name not in framing]
    return seen.method, _plain_target(seen.target), kept


def _plain_target(target: bytes) -> bytes:
    """Return path and query, as ours gives them to the application: h11 gives the target as it came."""
    target = target.partition(b"#")[0]
    absolute = re.fullmatch(rb"[A-Za-z]+://[^/?]*([^?]*)(.*)", target, re.DOTALL)
    if absolute is None:
        return target
    path, query = absolute[1] or b"/", absolute[2]
    return path + query if len(query) > 1 else path


def judging(check: Callable[[Bench], Awaitable[None]], seconds: float = 60) -> None:
    """Run *check* with the servers, on asyncio's own loop."""

    async def main(_: Loop) -> None:
        bench = Bench()
        await bench.start()
        await check(bench)

    log = logging.getLogger("uvicorn.error")
    before = log.level
    log.setLevel(logging.CRITICAL)
    try:
        run("asyncio", main, seconds)
    finally:
        log.setLevel(before)
