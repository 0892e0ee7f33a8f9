"""What probes ask an agent over HTTP: `/live` and `/ready`, and nothing else.

Rule: whoever connects gets a second to ask, and a kilobyte to do it with. There are 64 at once: the next one
takes the place of who has been there longest, as a probe asks at once and others may never do.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, Protocol

from anyio import (
    BrokenResourceError,
    CancelScope,
    ClosedResourceError,
    EndOfStream,
    create_task_group,
    create_tcp_listener,
    move_on_after,
    sleep,
)

from actors._base.errors import InvalidSpec

if TYPE_CHECKING:
    from anyio.abc import SocketStream, TaskGroup
    from anyio.streams.stapled import MultiListener

__all__ = ["AgentHealth", "Probed"]

_SECONDS: Final = 1.0
_LARGEST: Final = 1024
_AT_ONCE: Final = 64
_BACKLOG: Final = 128
_PAUSE: Final = 0.1
"""Seconds until the next try to accept."""
_REASONS: Final = {
    200: "OK",
    404: "Not Found",
    405: "Method Not Allowed",
    503: "Service Unavailable",
}


class Probed(Protocol):
    """Who is asked."""

    @property
    def ready(self) -> bool: ...
    @property
    def doing(self) -> str: ...


class AgentHealth:
    """Answers probes; `open` makes one.

    Args:
        listener: where they come.
        probed: who is asked.
    """

    def __init__(self, listener: MultiListener[SocketStream], probed: Probed) -> None:
        self._listener = listener
        self._probed = probed
        self._asking: list[CancelScope] = []
        """Of those who are connected, the first that came first."""

    @classmethod
    async def open(cls, address: tuple[str, int], probed: Probed) -> AgentHealth:
        """Listen on host and port.

        Raises:
            InvalidSpec: it cannot.
        """
        host, port = address
        try:
            listener = await create_tcp_listener(local_host=host, local_port=port, backlog=_BACKLOG)
        except (OSError, UnicodeError) as error:
            raise InvalidSpec(f"--health: cannot listen on {host}:{port}: {error}") from error
        return cls(listener, probed)

    async def serve(self) -> None:
        """Answer until it is cancelled."""
        async with self._listener, create_task_group() as tasks:
            for listener in self._listener.listeners:
                tasks.start_soon(self._accept, listener, tasks)

    async def _accept(self, listener: Any, tasks: TaskGroup) -> None:
        while True:
            try:
                stream = await listener.accept()
            except (OSError, BrokenResourceError):  # no descriptor is free, or it has gone already
                await sleep(_PAUSE)
            else:
                tasks.start_soon(self._answer, stream)

    async def _answer(self, stream: SocketStream) -> None:
        if len(self._asking) >= _AT_ONCE:
            self._asking.pop(0).cancel()
        async with stream:
            with (
                move_on_after(_SECONDS) as scope,
                suppress(BrokenResourceError, ClosedResourceError, EndOfStream),
            ):
                self._asking.append(scope)
                try:
                    await self._exchange(stream)
                finally:
                    if scope in self._asking:
                        self._asking.remove(scope)

    async def _exchange(self, stream: SocketStream) -> None:
        head = b""
        while b"\r\n\r\n" not in head and len(head) < _LARGEST:
            head += await stream.receive(_LARGEST)
        method, _, rest = head.partition(b"\r\n")[0].partition(b" ")
        code, text = self._say(method, rest.partition(b" ")[0].partition(b"?")[0])
        body = b"" if method == b"HEAD" else f"{text}\n".encode()
        answer = (
            f"HTTP/1.1 {code} {_REASONS[code]}\r\nContent-Type: text/plain; charset=utf-8\r\n"
            f"Content-Length: {len(text.encode()) + 1}\r\nConnection: close\r\n\r\n"
        )
        await stream.send(answer.encode() + body)

    def _say(self, method: bytes, path: bytes) -> tuple[int, str]:
        if method not in {b"GET", b"HEAD"}:
            return 405, "GET or HEAD"
        if path == b"/live":
            return 200, "alive"
        if path == b"/ready":
            return (200 if self._probed.ready else 503), self._probed.doing
        return 404, "/live or /ready"
