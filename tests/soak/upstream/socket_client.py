"""A pytest plugin: Starlette's TestClient speaks over a socket to our server, in the loop that it runs anyway.

What a client cannot see over HTTP the application's wrapper tells it: what the application raised, and the
template it rendered. What a TestClient pretends (its address, that of the server, the scheme) the wrapper puts
into the scope. `tests/soak/test_upstream_suites.py` lists the tests that all this cannot help.

Rule 1: this file imports nothing of the tests of this project: those that use it have a package `tests`, too.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import httpcore2 as httpcore
import httpx2 as httpx
import pytest
import starlette.testclient as upstream
from starlette.websockets import WebSocketDisconnect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from actors.routing import asgi, listen
from actors.routing.serving.asgi import AsgiServer

_PATIENCE = 4.0
_HIDDEN = frozenset(
    {b"date", b"connection", b"upgrade", b"sec-websocket-accept", b"sec-websocket-extensions"}
)


class _Acks:
    def acknowledged(self, number: int) -> None: ...

    def refused(self, number: int) -> None: ...

    def closed(self, number: int) -> None: ...


class Call:
    """One call of an application: what it raised, and what a client cannot see of its messages."""

    def __init__(self, app: Any, pretended: dict[str, Any]) -> None:
        self._app = app
        self._pretended = pretended
        self.debug: Any = None
        self.closed_with: tuple[int, str] | None = None
        self.trailers: list[tuple[bytes, bytes]] = []
        self.error: BaseException | None = None
        self._ended = threading.Event()
        self._began = False

    def wait(self) -> bool:
        """Wait until it has ended; true also if the server has refused the request by itself."""
        return not self._began or self._ended.wait(_PATIENCE)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self._began = True
        scope.update(self._pretended)
        scope["extensions"] = {**scope["extensions"], "http.response.debug": {}}
        scope["headers"] = [header for header in scope["headers"] if header[0] not in _OWN_HEADERS]

        async def told(message: Any) -> None:
            if message["type"] == "http.response.debug":
                self.debug = message["info"]
                return
            if message["type"] == "websocket.close":
                self.closed_with = (message.get("code", 1000), message.get("reason") or "")
            if message["type"] == "http.response.trailers":
                self.trailers += message.get("headers", [])
            await send(message)

        try:
            await self._app(scope, receive, told)
        except BaseException as error:
            self.error = error
            raise
        finally:
            self._ended.set()


_OWN_HEADERS = frozenset({b"sec-websocket-extensions"})


async def _serve(call: Call, state: dict[str, Any], sock: socket.socket) -> AsgiServer:
    """Serve one connection."""
    spec = asgi("pkg:app", lifespan="off", proxy_headers=False, ws_ping_interval=None)
    server = AsgiServer(
        listen(spec, "127.0.0.1:0"),
        spec,
        _Acks(),
        report=lambda _: None,
        system=None,
        resolve=lambda _: call,
    )
    await server.start()
    server.app_state = state
    sock.setblocking(False)
    server.take(1, sock)
    return server


def _connection(portal: Any, call: Call, state: dict[str, Any], stack: ExitStack) -> socket.socket:
    """Connect to a server of *call*; the stack ends it."""
    mine, its = socket.socketpair()
    mine.settimeout(_PATIENCE)
    server = portal.call(_serve, call, state, its)
    stack.callback(portal.call, server.stop)
    stack.callback(mine.close)
    return mine


class _Stream(httpcore.NetworkStream):
    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ARG002 - the socket has one
        return self._sock.recv(max_bytes)

    def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ARG002 - the same
        if buffer:
            self._sock.sendall(buffer)

    def close(self) -> None:
        self._sock.close()

    def start_tls(self, *_: Any, **__: Any) -> Any:
        return self  # "https" is pretended: the wrapper sets the scheme

    def get_extra_info(self, _info: str) -> Any:
        return None


class _Network(httpcore.NetworkBackend):
    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def connect_tcp(self, *_: Any, **__: Any) -> Any:
        return _Stream(self._sock)


class _Transport(httpx.HTTPTransport):
    """The transport of httpx over one connection that exists."""

    def __init__(self, sock: socket.socket) -> None:
        super().__init__()
        self._pool = httpcore.ConnectionPool(network_backend=_Network(sock), max_connections=1)


class _Body(httpx.SyncByteStream):
    """The body of a response; its end is that of the application's call, whose error it raises."""

    def __init__(self, inner: Any, call: Call, stack: ExitStack, raises: bool) -> None:
        self._inner = inner
        self._call = call
        self._stack = stack
        self._raises = raises
        self._whole = False

    def __iter__(self) -> Iterator[bytes]:
        try:
            yield from self._inner
        except httpx.HTTPError:
            if not (self._raises and self._call.wait() and self._call.error):
                raise
        self._whole = True
        self.close()

    def close(self) -> None:
        stack = self._stack.pop_all()
        with stack:
            if self._whole:
                assert self._call.wait()
        if self._whole and self._raises and self._call.error is not None:
            raise self._call.error


def handle_request(self: Any, request: httpx.Request) -> httpx.Response:
    """Send a request over a socket; in the place of `_TestClientTransport.handle_request`."""
    url = request.url
    default = {"http": 80, "ws": 80, "https": 443, "wss": 443}[url.scheme]
    pretended = {
        "client": self.client,
        "server": [url.raw_host.decode("ascii"), url.port or default],
        "scheme": url.scheme,
        "root_path": self.root_path,
    }
    call = Call(self.app, pretended)
    if url.scheme in {"ws", "wss"}:
        raise upstream._Upgrade(Session(call, request, self.portal_factory, self.app_state))
    with ExitStack() as stack:
        portal = stack.enter_context(self.portal_factory())
        sock = _connection(portal, call, self.app_state, stack)
        transport = _Transport(sock)
        stack.callback(transport.close)
        request.read()
        try:
            response = transport.handle_request(request)
        except httpx.HTTPError:
            call.wait()
            if self.raise_server_exceptions and call.error is not None:
                raise call.error from None
            raise
        kept = stack.pop_all()
    headers = [(name, value) for name, value in response.headers.raw if name.lower() not in _HIDDEN]
    body = _Body(response.stream, call, kept, self.raise_server_exceptions)
    self._open_requests.add(kept.close)
    kept.callback(self._open_requests.discard, kept.close)
    made = httpx.Response(response.status_code, headers=headers, stream=body, request=request)
    made.read = _reading(made, call)  # type: ignore[method-assign]
    return made


def _reading(response: httpx.Response, call: Call) -> Callable[[], bytes]:
    """Return `response.read`, which adds what only the wrapper knows once the application has ended."""
    read = response.read

    def wrapped() -> bytes:
        content = read()
        if call.trailers:
            response.extensions["http.response.trailers"] = call.trailers
        if call.debug is not None:
            response.extensions["http.response.debug"] = call.debug
            for name in ("template", "context"):
                if name in call.debug:
                    setattr(response, name, call.debug[name])
        return content

    return wrapped


class Session(upstream.WebSocketTestSession):
    """A WebSocket over a socket; in the place of `WebSocketTestSession`."""

    def __init__(
        self, call: Call, request: httpx.Request, portals: Any, state: dict[str, Any]
    ) -> None:
        self._call = call
        self._request = request
        self._portals = portals
        self._state = state
        self._ws: ClientConnection
        self._stack = ExitStack()
        self.accepted_subprotocol = None
        self.extra_headers = None

    def __enter__(self) -> Any:
        with ExitStack() as stack:
            portal = stack.enter_context(self._portals())
            sock = _connection(portal, self._call, self._state, stack)
            self._ws = stack.enter_context(self._connect(sock))
            stack.callback(self._ended)
            self._stack = stack.pop_all()
        self.accepted_subprotocol = self._ws.subprotocol
        answer = self._ws.response
        assert answer is not None
        raw = [
            (name.lower().encode(), value.encode()) for name, value in answer.headers.raw_items()
        ]
        self.extra_headers = [
            header
            for header in raw
            if header[0] not in _HIDDEN and header[0] != b"sec-websocket-protocol"
        ]
        return self

    def __exit__(self, *args: object) -> bool | None:
        return self._stack.__exit__(*args)

    def _ended(self) -> None:
        """Close, and raise what the application raised."""
        self._ws.close()
        self._call.wait()
        if self._call.error is not None:
            raise self._call.error

    def _connect(self, sock: socket.socket) -> ClientConnection:
        url = self._request.url
        own = {
            "connection",
            "upgrade",
            "host",
            "sec-websocket-key",
            "sec-websocket-version",
            "sec-websocket-protocol",
            "user-agent",
        }
        headers = [
            (name, value)
            for name, value in self._request.headers.multi_items()
            if name.lower() not in own
        ]
        protocols = [
            part.strip()
            for part in self._request.headers.get("sec-websocket-protocol", "").split(",")
            if part
        ]
        try:
            return connect(
                f"ws://{url.netloc.decode()}{url.raw_path.decode()}",
                sock=sock,
                subprotocols=protocols or None,
                additional_headers=headers,
                user_agent_header=self._request.headers.get("user-agent"),
                compression=None,
                ping_interval=None,
                proxy=None,
                max_size=None,
            )
        except InvalidStatus as refused:
            self._call.wait()
            if self._call.error is not None:
                raise self._call.error from None
            if self._call.closed_with is not None:
                code, reason = self._call.closed_with
                raise WebSocketDisconnect(code=code, reason=reason) from None
            response = refused.response
            headers = [
                (n.lower().encode(), v.encode())
                for n, v in response.headers.raw_items()
                if n.lower().encode() not in _HIDDEN
            ]
            raise upstream.WebSocketDenialResponse(
                status_code=response.status_code,
                headers=headers,
                content=bytes(response.body or b""),
            ) from None

    def send(self, message: Any) -> None:
        if message["type"] == "websocket.disconnect":
            self._ws.close(message.get("code", 1000), message.get("reason") or "")
        elif message.get("text") is not None:
            self._ws.send(message["text"])
        elif message["type"] == "websocket.receive":
            self._ws.send(message["bytes"])

    def receive(self) -> Any:
        try:
            data = self._ws.recv(_PATIENCE)
        except ConnectionClosed as closed:
            if self._call.wait() and self._call.error is not None:
                raise self._call.error from None
            frame = closed.rcvd
            code, reason = (frame.code, frame.reason) if frame else (1006, "")
            return {"type": "websocket.close", "code": code, "reason": reason}
        kind = "text" if isinstance(data, str) else "bytes"
        return {"type": "websocket.send", kind: data}


def pytest_configure(config: pytest.Config) -> None:
    """Have every TestClient speak over a socket."""
    upstream._TestClientTransport.handle_request = handle_request
