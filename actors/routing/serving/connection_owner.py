"""What the connections of an ASGI server need of it; the server imports them."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable, Mapping
from typing import Any, Protocol

from actors.routing.interfaces import Report
from actors.routing.listen.application import Asgi
from actors.routing.serving.access_log import AccessLog
from actors.routing.serving.affinity import Affinity
from actors.routing.serving.client_timer import Part
from actors.routing.serving.forwarded import ForwardedHeaders
from actors.routing.serving.response_head import DateHeader
from actors.routing.serving.send_watch import Sender

__all__ = ["Answer", "ConnectionOwner", "HeldWrite", "ServedConnection"]


class ServedConnection(Protocol):
    """The protocol that has a connection, as the server sees it."""

    transport: asyncio.Transport

    def wind_down(self) -> None:
        """Tell the client to connect again, to another node."""

    def hang_up(self) -> None:
        """Tell the application that there is little time left."""

    def shutdown(self) -> None:
        """Close the connection, after the response that is due."""

    def senders(self) -> Iterable[Sender]:
        """Return what has something to send to the client."""


class Answer(Protocol):
    """A request or a WebSocket that the application answers."""

    task: asyncio.Task[None] | None


class HeldWrite(Protocol):
    """A response whose head has not been written, or a WebSocket that keeps messages."""

    def write_held(self) -> None:
        """Write it now, unless it has been written already."""


class ConnectionOwner(Protocol):
    """The `AsgiServer`, as its connections see it."""

    spec: Asgi
    listener: str
    report: Report
    app: Any
    app_state: dict[str, Any]
    affinity: Affinity | None
    date: DateHeader
    forwarded: ForwardedHeaders | None
    """Applies what a proxy says of its client; None if nothing is believed."""
    limits: Mapping[Part, float]
    secure: bool
    """Whether connections are encrypted."""
    draining: bool
    """Whether clients are told to connect again, to another node."""
    aborting: bool
    """Whether what still runs is cancelled."""
    notice: float
    """Seconds that an application has to end by itself once it was told."""

    def access_log(self) -> AccessLog | None:
        """Return where responses are logged, if anybody wants that."""

    def chosen_app(self) -> Any:
        """Return the application, or what answers 503 in its place."""

    def start_task(
        self, answer: Answer, run: Coroutine[Any, Any, None], *, eager: bool = False
    ) -> None:
        """Run the application in a task of its own, begun within this call if *eager* (3.12 and later)."""

    def task_ends(self, answer: Answer) -> None:
        """Take note that the application has ended; the last thing its task does."""

    def websocket_opened(self) -> None:
        """Take note that a client has begun a WebSocket."""

    def write_later(self, held: HeldWrite) -> None:
        """Have it written at the end of this turn of the loop."""

    def set_protocol(self, connection: int, protocol: ServedConnection) -> None:
        """Set the protocol that serves the connection now."""

    def ended(self, connection: int) -> None:
        """Forget the connection, which is closed."""
