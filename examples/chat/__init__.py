"""A chat over several processes: rooms that survive crashes, behind one port.

The nodes `web` serve browsers and WebSocket clients; each room is an actor on the node `rooms`, started by the
first who joins it; messages are stored in a SQLite file. Any of these processes may die at any time: no message
is lost.
"""

from functools import partial
from typing import Any

from actors import Sticky, Topology, asgi, keyed, keys, listen, nodes

from ._settings import database, messages_per_second, port
from .room import Room

__all__ = ["rooms", "topology"]


def rooms() -> Any:
    """Return the address book of the rooms; one that nobody is in ends after a minute, not its history."""
    room = partial(Room, path=database())
    return keyed(room, name="rooms", on="rooms", idle=60, mailbox=128)


def topology() -> Topology:
    """Return the chat: `actors run examples.chat:topology --nodes web=4`."""
    messages_per_second()  # check the setting here, not when the first client connects
    # A small limit, because a message has at most 4,000 characters.
    app = asgi("examples.chat.app:app", ws_max_size=64 * 1024)
    return Topology(
        nodes=[nodes("rooms"), nodes("web", count=2)],
        children=[rooms()],
        listeners=[
            listen(
                app,
                f"127.0.0.1:{port()}",
                nodes="web",
                # Clients of one room are usually on one node. This saves work; nothing depends on it.
                policy=Sticky(keys.query("room") | keys.cookie("room")),
            )
        ],
    )
