"""Handlers of datagrams, for tests."""

from __future__ import annotations

import anyio

from actors import current
from actors.routing import Reply

handled: list[bytes] = []
"""What `hold` was given, in order."""


async def name(datagram: bytes, reply: Reply) -> None:
    """Answer with the name of the node and the datagram."""
    await reply(f"{current().node.name} ".encode() + datagram)


async def echo(datagram: bytes, reply: Reply) -> None:
    """Answer with the datagram; raise if it is empty."""
    if not datagram:
        raise ValueError("an empty datagram")
    await reply(datagram)


async def client(_: bytes, reply: Reply) -> None:
    """Answer with the sender's address, twice."""
    await reply(repr(reply.client).encode())
    await reply(b"and that is all")


async def hold(datagram: bytes, _: Reply) -> None:
    """Never end."""
    handled.append(datagram)
    await anyio.sleep_forever()


async def later(datagram: bytes, reply: Reply) -> None:
    """Answer in a while."""
    await anyio.sleep(0.05)
    await reply(datagram)


def not_async(_: bytes, __: Reply) -> None:
    """A handler that cannot serve."""
