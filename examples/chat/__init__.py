"""A chat over several processes: rooms that survive crashes, behind one port.

The nodes `web` serve browsers and WebSocket clients; a room is an actor on the node `rooms`; messages are
stored in a SQLite file. Any of these processes may die at any time: no message is lost.
"""

from actors import Sticky, Topology, asgi, keys, listen, nodes

from ._settings import database, messages_per_second, port

__all__ = ["topology"]


def topology() -> Topology:
    """Return the chat: `actors run examples.chat:topology --nodes web=4`."""
    database()  # check the settings here, not when the first client connects
    messages_per_second()
    # A small limit, because a message has at most 4,000 characters.
    app = asgi("examples.chat.app:app", ws_max_size=64 * 1024)
    return Topology(
        nodes=[nodes("rooms"), nodes("web", count=2)],
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
