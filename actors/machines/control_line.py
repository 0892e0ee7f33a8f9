"""The connection between a parent and an agent: plain records both ways, each with its length before it.

Rule 1: nothing here waits. What the other end does not take in time is bounded: output is dropped and counted
by whoever sends it, who asks `behind`.
Rule 2: what comes is of the shape of `Record`, or the line ends with an error that says so. So it does when
whoever takes a record cannot: the other end may be broken, and the loop has others to serve.
"""

from __future__ import annotations

import json
from collections import deque
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias

from anyio import move_on_after

from actors.transport.channels.lingering_close import LingeringClose

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors._base.loop import Loop
    from actors.transport.channels.tls_session import TlsSession

__all__ = ["ControlLine", "LinesHome", "Record"]

Record: TypeAlias = dict[str, Any]
"""What is said: "op" has what it is about, the others are its fields."""

_LENGTH: Final = 4
_LARGEST: Final = 32 * 1024 * 1024
"""Bytes of one record; the configuration of a node may have a table of many topics."""
_CHUNK: Final = 64 * 1024
_BEHIND: Final = 256 * 1024
"""Bytes that wait to be written, from which on output is dropped."""


class LinesHome(Protocol):
    """The places of a system, as far as those need them who speak with agents."""

    loop: Loop
    lease: float

    def problem_of(self, hello: dict[str, Any]) -> str: ...
    def new_line(
        self,
        session: TlsSession,
        take: Callable[[Record], object],
        ended: Callable[[str], object],
        /,
    ) -> ControlLine: ...
    def event(self, kind: str, facts: dict[str, Any]) -> None: ...


class ControlLine:
    """One end, which owns its session.

    Args:
        loop: of this process.
        session: the connection.
        take: called with each record that comes.
        ended: called once, with why nothing comes any more, unless this end closed it.

    Attributes:
        closed: why it has ended, "" while it has not.
        refused: whether that is what the other end has sent.
    """

    def __init__(
        self,
        loop: Loop,
        session: TlsSession,
        take: Callable[[Record], object],
        ended: Callable[[str], object],
    ) -> None:
        self._loop = loop
        self._session = session
        self._fd = session.fileno()
        self._take = take
        self._on_ended = ended
        self._in = bytearray()
        self._out: deque[memoryview] = deque()
        self._waiting = 0
        self._writing = False
        self._chunk = memoryview(bytearray(_CHUNK))
        self.closed: str = ""
        self.refused: bool = False
        self._lingering: LingeringClose | None = None
        self._finished: list[Callable[[], object]] | None = []
        """Who is told when the session is closed; None when it is."""
        loop.watch_readable(self._fd, self._read)
        loop.call_soon(self._read)  # the session may hold what came behind the hello

    @property
    def behind(self) -> bool:
        """Whether the other end takes less than it is sent."""
        return self._waiting > _BEHIND

    def send(self, op: str, **fields: Any) -> None:
        """Send a record; a line that has ended drops it."""
        if self.closed:
            return
        data = json.dumps({"op": op, **fields}).encode()
        self._out.append(memoryview(len(data).to_bytes(_LENGTH, "little") + data))
        self._waiting += _LENGTH + len(data)
        self._write()

    def let_peer_wait(self) -> None:
        """Have it outlast a peer that is kept from reading: a lease says from now on when that is lost."""
        if not self.closed:
            self._session.let_peer_wait()

    def close(self, gone: Callable[[], object] | None = None) -> None:
        """End the line when what was sent is written; call *gone* when the other end has ended it, too."""
        if gone is not None:
            self.when_finished(gone)
        if not self.closed:
            self._leave("it was closed here")
            rest = [bytes(part) for part in self._out]
            self._lingering = LingeringClose(self._loop, self._session, rest, self._finish)

    def when_finished(self, tell: Callable[[], object]) -> None:
        """Call *tell* when nothing of it is left."""
        if self._finished is None:
            tell()
        else:
            self._finished.append(tell)

    async def close_within(self, seconds: float) -> None:
        """End the line as `close`, and return when it has ended; after so many *seconds* it is ended anyhow."""
        gone = self._loop.waiter()
        self.close(lambda: None if gone.done() else gone.set_result(None))
        with move_on_after(seconds):
            await gone
        self.abandon()

    def abandon(self) -> None:
        """Close the session of a line that was closed now, whatever is lost."""
        if self._lingering is not None:
            self._lingering.abandon()

    def _finish(self) -> None:
        told, self._finished = self._finished or [], None
        for tell in told:
            tell()

    def _write(self) -> None:
        if self.closed:
            return
        try:
            self._session.push()
            while self._out:
                count = self._session.send(self._out[0])
                self._waiting -= count
                self._out[0] = self._out[0][count:]
                if not self._out[0]:
                    self._out.popleft()
        except (BlockingIOError, InterruptedError):
            pass
        except OSError as error:
            # Not at once: whoever sends is in the middle of something.
            self._loop.call_soon(self._end, str(error))
            return
        self._watch_writable(wanted=bool(self._out) or self._session.owes)

    def _watch_writable(self, *, wanted: bool) -> None:
        if wanted == self._writing:
            return
        self._writing = wanted
        if wanted:
            self._loop.watch_writable(self._fd, self._write)
        else:
            self._loop.unwatch_writable(self._fd)

    def _read(self) -> None:
        while not self.closed:
            try:
                count = self._session.recv_into(self._chunk)
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                self._end(str(error))
                return
            if not count:
                self._end("the other end has closed it")
                return
            self._in += self._chunk[:count]
            self._take_whole()

    def _take_whole(self) -> None:
        """Take the records that have come whole."""
        while len(self._in) >= _LENGTH and not self.closed:
            size = int.from_bytes(self._in[:_LENGTH], "little")
            if size > _LARGEST:
                self._end(f"it sent a record of {size} bytes, and may send {_LARGEST}")
                return
            if len(self._in) < _LENGTH + size:
                return
            body = bytes(self._in[_LENGTH : _LENGTH + size])
            del self._in[: _LENGTH + size]
            try:
                record = json.loads(body)
                if type(record) is not dict or type(record.get("op")) is not str:
                    raise ValueError("it is no record")  # noqa: TRY301 - handled as JSON's own error
                self._take(record)
            except Exception as error:  # noqa: BLE001 - whatever it leads to, the other end has sent it
                self.refused = True
                self._end(
                    f"it sent what is no record of this line: {type(error).__name__}: {error}"
                )

    def _end(self, why: str) -> None:
        if self.closed:
            return
        self._leave(why)
        self._session.close()
        self._finish()
        self._on_ended(why)

    def _leave(self, why: str) -> None:
        self.closed = why
        self._loop.unwatch_readable(self._fd)
        self._watch_writable(wanted=False)
