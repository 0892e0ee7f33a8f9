"""A chat over several processes: rooms that survive crashes, and one port for all of it.

Browsers and WebSocket clients meet the nodes `web`; a room is an actor on the node `rooms`; what
was said is in a SQLite file. Any of these processes may die at any time: nobody misses a message.
"""

from actors import Sticky, Topology, asgi, keys, listen, nodes

from ._settings import database, pace, port

__all__ = ["topology"]


def topology() -> Topology:
    """Describe the chat: `actors run examples.chat:topology --nodes web=4`."""
    database()  # a bad setting is refused here, not by the first who comes
    pace()
    # A small bound: nobody says more than 4,000 characters. Pings find who is gone without a word.
    app = asgi("examples.chat.app:app", ws_max_size=64 * 1024)
    return Topology(
        nodes=[nodes("rooms"), nodes("web", count=2)],
        listeners=[
            listen(
                app,
                f"127.0.0.1:{port()}",
                nodes="web",
                # All of a room on one node, while nodes are healthy: fewer hops, never a condition.
                policy=Sticky(keys.query("room") | keys.cookie("room")),
            )
        ],
    )
