"""Chat clients that reconnect when their connection closes, and keep every message they received.

Rule: nobody sleeps here. Everything is waited for: a message, or the end of a connection.
"""

import itertools
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Protocol, Self
from urllib.parse import urlencode

import anyio
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidMessage

from tests.end_to_end.server_process import PATIENCE, Fact


class Served(Protocol):
    """Who serves the chat."""

    @property
    def port(self) -> int: ...


class Client:
    """A member as the page is one: it knows one number, `seq`, and comes again when it is cut off.

    Args:
        served: whose chat.
        room: which room.
        name: who it is; also the beginning of its messages' ids.
        seat: a room whose web node it wants, instead of its own room's.
        hosts: where the chat is served; it goes to one after the other.
        patience: seconds to get in at one of them.
        queue: how many messages its library may hold for it; None is any number.
    """

    def __init__(
        self,
        served: Served,
        room: str,
        name: str,
        *,
        seat: str | None = None,
        queue: int | None = None,
        hosts: Sequence[str] = ("127.0.0.1",),
        patience: float = PATIENCE,
    ) -> None:
        self.served = served
        self.room = room
        self.name = name
        self.seat = seat
        self.queue = queue
        self._hosts = itertools.cycle(hosts)
        self._patience = patience
        self.reads: anyio.Event | None = None
        self.seq: int | None = None
        self.said: list[Fact] = []
        self.errors: list[Fact] = []
        self.people: list[str] = []
        self.typing: list[str] = []
        self.hidden: list[int] = []
        self.nodes: list[str] = []
        self.codes: list[int] = []
        self.wrong: list[str] = []
        self.pending: dict[str, Fact] = {}
        self.again: list[str] = []
        self._numbers = itertools.count(1)
        self._socket: ClientConnection | None = None
        self._news = anyio.Event()

    async def stay(self) -> None:
        """Be there until cancelled."""
        for tries in itertools.count():
            try:
                socket = await connect(
                    self._url(),
                    compression=None,  # what is said has to cost what it says
                    max_queue=self.queue,
                    open_timeout=self._patience,
                )
                try:
                    await self._hear(socket)
                finally:
                    with anyio.CancelScope(shield=True):
                        await socket.close()
            except ConnectionClosed as closed:
                self.codes.append(closed.rcvd.code if closed.rcvd is not None else 1006)
            except (OSError, InvalidHandshake, InvalidMessage, TimeoutError, EOFError):
                assert tries < 10_000, f"{self.name} cannot get in"
            self._socket = None
            self._tell_news()
            await anyio.sleep(0.25)  # as the page does; no test waits for this

    def _url(self) -> str:
        # The router goes by the first `room`, Starlette's query by the last.
        seat = "" if self.seat is None else f"room={self.seat}&"
        after = {} if self.seq is None else {"after": self.seq}
        query = seat + urlencode({"room": self.room, "name": self.name, **after})
        return f"ws://{next(self._hosts)}:{self.served.port}/ws?{query}"

    async def _hear(self, socket: ClientConnection) -> None:
        first = True
        async for data in socket:
            message = json.loads(data)
            if first != (message["type"] == "welcome"):
                self.wrong.append(f"{message['type']} where it does not belong")
            first = False
            await getattr(self, f"_take_{message['type']}")(message, socket)
            self._tell_news()
            if self.reads is not None:
                await self.reads.wait()
        self.codes.append(socket.close_code or 0)

    def _tell_news(self) -> None:
        self._news.set()
        self._news = anyio.Event()

    async def _take_welcome(self, message: Fact, socket: ClientConnection) -> None:
        self._socket = socket
        self.nodes.append(message["node"])
        self.people = message["people"]
        if message["seq"] == 0 and self.seq is None:
            self.seq = 0
        for id_, say in list(self.pending.items()):
            self.again.append(id_)
            await self._send(socket, say)

    async def _take_said(self, message: Fact, _socket: ClientConnection) -> None:
        self.pending.pop(message["id"], None)
        if self.seq is None or message["seq"] == self.seq + 1:
            self.seq = message["seq"]
            self.said.append(message)
        elif message in self.said and message["id"] in self.again:
            self.again.remove(message["id"])  # each time it is said again, it is answered again
        else:
            self.wrong.append(f"{message['seq']} after {self.seq}")

    async def _take_hidden(self, message: Fact, _socket: ClientConnection) -> None:
        if message["seq"] != (self.seq or 0) + 1:
            self.wrong.append(f"hidden {message['seq']} after {self.seq}")
        self.seq = message["seq"]
        self.hidden.append(message["seq"])

    async def _take_typing(self, message: Fact, _socket: ClientConnection) -> None:
        self.typing.append(message["name"])

    async def _take_people(self, message: Fact, _socket: ClientConnection) -> None:
        self.people = message["people"]

    async def _take_error(self, message: Fact, _socket: ClientConnection) -> None:
        self.errors.append(message)

    async def types(self) -> None:
        """Be about to say something."""
        assert self._socket is not None
        await self._socket.send('{"type":"typing"}')

    async def say(self, text: str, to: str | None = None) -> str:
        """Say something; it is said again after a reconnect until it comes back. Return its id."""
        id_ = f"{self.name}-{next(self._numbers)}"
        self.pending[id_] = {"type": "say", "id": id_, "text": text} | ({"to": to} if to else {})
        if self._socket is not None:
            await self._send(self._socket, self.pending[id_])
        return id_

    async def talk(self, text: str) -> str:
        """Say something and wait until it has come back; return its id."""
        id_ = await self.say(text)
        await self.until(lambda client: id_ not in client.pending)
        return id_

    async def hears(self, id_: str) -> None:
        """Wait until the message of that id has been heard."""
        await self.until(lambda client: any(said["id"] == id_ for said in client.said[-100:]))

    async def hears_up_to(self, last: int) -> None:
        """Wait until the message number *last* has been heard."""
        await self.until(lambda client: (client.seq or 0) >= last)

    async def _send(self, socket: ClientConnection, say: Fact) -> None:
        try:
            await socket.send(json.dumps(say))
        except ConnectionClosed:
            return  # it is pending: the next connection sends it

    async def until(self, true: Callable[["Client"], bool], *, seconds: float = PATIENCE) -> None:
        """Wait until *true* of this client."""
        with anyio.move_on_after(seconds):
            while not true(self):
                await self._news.wait()
        if not true(self):
            last = self.said[-1]["seq"] if self.said else None
            raise AssertionError(
                f"{self.name} in {self.room}: waited for {true} in vain; last {last}, "
                f"pending {list(self.pending)[:3]}, nodes {self.nodes}, codes {self.codes}, "
                f"wrong {self.wrong[:3]}, errors {self.errors[:3]}"
            )

    async def here(self) -> Self:
        """Wait until it was welcomed."""
        await self.until(lambda client: bool(client.nodes))
        return self

    @property
    def heard(self) -> list[tuple[int, str, str, str]]:
        """Everything heard, in order."""
        return [(said["seq"], said["id"], said["name"], said["text"]) for said in self.said]


@asynccontextmanager
async def present(*clients: Client) -> AsyncIterator[None]:
    """Have *clients* in their rooms."""
    async with anyio.create_task_group() as tasks:
        for client in clients:
            tasks.start_soon(client.stay)
        for client in clients:
            await client.here()
        yield
        tasks.cancel_scope.cancel()


def check_one_history(clients: list[Client]) -> None:
    """Assert that all of *clients*, of one room, heard the same, each once, without a gap."""
    assert [client.wrong for client in clients] == [[] for _ in clients]
    for client in clients:
        assert client.heard == clients[0].heard
        assert [seq for seq, *_ in client.heard] == list(range(1, len(client.heard) + 1))
    twice = [
        id_ for id_, times in Counter(id_ for _, id_, *_ in clients[0].heard).items() if times > 1
    ]
    assert twice == []
