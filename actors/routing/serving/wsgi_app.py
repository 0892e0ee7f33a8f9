"""A WSGI application as an ASGI one: it runs in threads, each of which has one request at a time.

Rule 1: a thread waits only for this node's loop, which answers in every case: a client that is gone is an
OSError in the application, so that no thread waits for it.
Rule 2: a body that was cut off is no whole body: reading it raises.
Rule 3: headers whose names have an underscore are dropped, as they could stand for others, and so is `Proxy`.
"""

from __future__ import annotations

import asyncio
import contextvars
import sys
import threading
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from types import FrameType
from typing import Any, Final, TypeVar
from urllib.parse import unquote_to_bytes
from weakref import WeakKeyDictionary

from actors.routing.serving.http_cycle import ClientDisconnected

__all__ = ["WsgiApp", "frame_of_thread"]

T = TypeVar("T")

_LEAST_BLOCK: Final = 65536
"""Bytes that `wsgi.file_wrapper` reads at a time, at least."""
_PLAIN: Final = {"content-type": "CONTENT_TYPE", "content-length": "CONTENT_LENGTH"}

_calls: WeakKeyDictionary[asyncio.Task[Any], _Call] = WeakKeyDictionary()


def frame_of_thread(task: asyncio.Task[Any]) -> FrameType | None:
    """Return where the thread is that answers the request of *task*, if one does."""
    call = _calls.get(task)
    return None if call is None else sys._current_frames().get(call.thread)  # noqa: SLF001 - there is no other way


class WsgiApp:
    """Calls *app* in one of *threads* threads for each request."""

    def __init__(self, app: Any, threads: int) -> None:
        self._app = app
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="wsgi")
        self._several = threads > 1

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer a request; WebSockets are refused."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close"})
            return
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        call = _Call(loop, receive, send)
        if not any(name == b"expect" for name, _ in scope["headers"]):
            await call.body.begin()  # it is here already if the request is a short one
        environ = environ_of(scope, call.body, threads=self._several)
        assert task is not None
        _calls[task] = call
        run = contextvars.copy_context().run
        try:
            last = await loop.run_in_executor(self._threads, run, call.run, self._app, environ)
        finally:
            call.over = True
            _calls.pop(task, None)
        for message in last:
            await send(message)


def environ_of(scope: Mapping[str, Any], body: _Body, *, threads: bool) -> dict[str, Any]:
    """Return the environment of a request (PEP 3333)."""
    root = scope["root_path"].encode()
    path = unquote_to_bytes(scope["raw_path"])
    server, client = scope["server"] or ("localhost", 80), scope["client"]
    environ: dict[str, Any] = {
        "REQUEST_METHOD": scope["method"],
        "SCRIPT_NAME": root.decode("latin-1"),
        "PATH_INFO": path.removeprefix(root).decode("latin-1"),
        "QUERY_STRING": scope["query_string"].decode("latin-1"),
        "SERVER_NAME": server[0],
        "SERVER_PORT": str(server[1] or 0),
        "SERVER_PROTOCOL": f"HTTP/{scope['http_version']}",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scope["scheme"],
        "wsgi.input": body,
        "wsgi.input_terminated": True,
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": threads,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
        "wsgi.file_wrapper": _FileWrapper,
        "actors.system": scope["state"]["actors"],
    }
    if client:
        environ["REMOTE_ADDR"], environ["REMOTE_PORT"] = client[0], str(client[1])
    for name, value in scope["headers"]:
        _add_header(environ, name.decode("latin-1"), value.decode("latin-1"))
    return environ


def _add_header(environ: dict[str, Any], name: str, value: str) -> None:
    if "_" in name or name == "proxy":
        return
    key = _PLAIN.get(name) or f"HTTP_{name.upper().replace('-', '_')}"
    before = environ.get(key)
    between = "; " if name == "cookie" else ","
    environ[key] = value if before is None else f"{before}{between}{value}"


class _Call:
    """One request in its thread.

    Attributes:
        over: whether nobody waits for it any more.
        thread: the number of the thread.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, receive: Any, send: Any) -> None:
        self._loop = loop
        self._send = send
        self.body: _Body = _Body(self, receive)
        self.over = False
        self.thread: int = 0
        self._head: dict[str, Any] | None = None
        self._sent = False
        """Whether the head has been sent."""

    def wait(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run *coroutine* in the loop and return its result.

        Raises:
            ClientDisconnected: the client is gone, or the node ends.
        """
        if self.over:
            coroutine.close()
            raise ClientDisconnected("nobody waits for the response")
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    def run(self, app: Any, environ: dict[str, Any]) -> list[dict[str, Any]]:
        """Call *app*, and send all of its response but what is returned."""
        self.thread = threading.get_ident()
        result = app(environ, self.start_response)
        try:
            if isinstance(result, list | tuple) and len(result) == 1:
                return self._messages(result[0], more=False)
            for part in result:
                if part:
                    self.write(part)
            return self._messages(b"", more=False)
        finally:
            if hasattr(result, "close"):
                result.close()

    def start_response(
        self, status: str, headers: Iterable[tuple[str, str]], exc_info: Any = None
    ) -> Callable[[bytes], None]:
        """Take the head; it is sent with the first part of the body."""
        if exc_info:
            try:
                if self._sent:
                    raise exc_info[1].with_traceback(exc_info[2])
            finally:
                exc_info = None  # it holds the frames
        elif self._head is not None:
            raise RuntimeError("start_response was called twice, the second time without exc_info")
        self._head = {
            "type": "http.response.start",
            "status": _status(status),
            "headers": [(_latin(name), _latin(value)) for name, value in headers],
        }
        return self.write

    def write(self, part: bytes) -> None:
        """Send a part of the body."""
        self.wait(self._send_all(self._messages(part, more=True)))

    def _messages(self, part: bytes, *, more: bool) -> list[dict[str, Any]]:
        if self._head is None:
            raise RuntimeError("the application has not called start_response")
        body = {"type": "http.response.body", "body": part, "more_body": more}
        if self._sent:
            return [body]
        self._sent = True
        return [self._head, body]

    async def _send_all(self, messages: list[dict[str, Any]]) -> None:
        for message in messages:
            await self._send(message)


class _Body:
    """`wsgi.input`: the body of a request, read from a thread."""

    def __init__(self, call: _Call, receive: Any) -> None:
        self._call = call
        self._receive = receive
        self._data = bytearray()
        self._more = True

    async def begin(self) -> None:
        """Wait for the first part."""
        self._take(await self._receive())

    def _take(self, message: Mapping[str, Any]) -> None:
        if message["type"] == "http.disconnect":
            raise ClientDisconnected("the client is gone")
        self._data += message.get("body", b"")
        self._more = message.get("more_body", False)

    def _fill(self, enough: Callable[[], bool]) -> None:
        while self._more and not enough():
            self._take(self._call.wait(self._receive()))

    def _cut(self, size: int) -> bytes:
        found = bytes(self._data[:size])
        del self._data[:size]
        return found

    def read(self, size: int | None = None) -> bytes:
        """Return *size* bytes, fewer at the end; all that are left if it is negative or None."""
        if size is None or size < 0:
            self._fill(lambda: False)
            return self._cut(len(self._data))
        self._fill(lambda: len(self._data) >= size)
        return self._cut(size)

    def readline(self, size: int | None = None) -> bytes:
        """Return what goes up to the next line end, at most *size* bytes."""
        limit = sys.maxsize if size is None or size < 0 else size
        self._fill(lambda: b"\n" in self._data or len(self._data) >= limit)
        end = self._data.find(b"\n") + 1 or len(self._data)
        return self._cut(min(end, limit))

    def readlines(self, hint: int | None = None) -> list[bytes]:
        """Return lines, of about *hint* bytes together if it is above 0."""
        lines: list[bytes] = []
        total = 0
        while line := self.readline():
            lines.append(line)
            total += len(line)
            if hint is not None and 0 < hint <= total:
                break
        return lines

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.readline, b"")


class _FileWrapper:
    """`wsgi.file_wrapper`: a file as the parts of a body."""

    def __init__(self, file: Any, block: int = _LEAST_BLOCK) -> None:
        self._file = file
        self._block = max(block, _LEAST_BLOCK)
        if hasattr(file, "close"):
            self.close = file.close

    def __iter__(self) -> Iterator[bytes]:
        return iter(lambda: self._file.read(self._block), b"")


def _status(text: str) -> int:
    number = text[:3]
    if not number.isdigit():
        raise RuntimeError(f"a status is text such as '200 OK', got {text!r}")
    return int(number)


def _latin(text: str) -> bytes:
    return text.encode("latin-1")
