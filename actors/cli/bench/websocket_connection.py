"""One connection of `actors bench` over WebSockets: a message, then the next that comes, again and again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from actors.cli._failure import CommandFailed

if TYPE_CHECKING:
    from actors.cli.bench.target import Target

__all__ = ["WebSocketConnection"]

_OPENED = 101


class WebSocketConnection:
    """Sends one message at a time; it connects when it has to."""

    def __init__(self, target: Target) -> None:
        try:
            from websockets.asyncio.client import connect  # noqa: PLC0415 - an extra
        except ImportError as error:
            what = 'WebSockets need the library websockets: pip install "actors-framework[web]"'
            raise CommandFailed(what) from error
        self._connect: Any = connect
        self._target = target
        self._socket: Any = None

    async def ask(self) -> int:
        """Send the message and return 101 when one has come back.

        Raises:
            Exception: of the library or the system: there is no connection, or it has ended.
        """
        target = self._target
        answered = False
        try:
            if self._socket is None:
                self._socket = await self._connect(
                    target.url,
                    ssl=target.tls,
                    additional_headers=list(target.headers),
                    open_timeout=None,
                    ping_interval=None,
                    proxy=None,
                )
            await self._socket.send(target.data.decode())
            await self._socket.recv()
            answered = True
        finally:
            if not answered:
                self.close()
        return _OPENED

    def close(self) -> None:
        """Close the connection; the next message opens another."""
        websocket, self._socket = self._socket, None
        if websocket is not None:
            websocket.transport.abort()
