"""`python -m tests.machines.chat_parent OPTIONS`: the chat of the examples, its web nodes on several hosts.

It prints the events as lines of JSON, and on `pids NAME` which processes there are. The end of stdin ends it.
"""

from __future__ import annotations

import json
import sys
from functools import partial
from typing import Any

import anyio

from actors import Sticky, System, Topology, asgi, keys, listen, nodes, run
from actors._system.system import coordinator_of
from examples.chat import rooms
from tests.machines.parted_parent import say

__all__ = ["PORT"]

PORT = 8000


def topology(hosts: list[dict[str, Any]]) -> Topology:
    """Return the chat: its rooms on the parent's host, and a web node on each of *hosts*."""
    web = nodes("web", count=len(hosts), engine="hosts", on={"hosts": hosts}, boot_timeout=120.0)
    return Topology(
        nodes=[nodes("rooms"), web],
        children=[rooms()],
        listeners=[
            listen(
                asgi("examples.chat.app:app", ws_max_size=64 * 1024),
                f"0.0.0.0:{PORT}",
                nodes="web",
                policy=Sticky(keys.query("room"), across="serve"),
            )
        ],
        patience=120.0,
    )


async def main(options: dict[str, Any]) -> None:
    """Run until stdin ends."""
    chat = topology(options["hosts"])
    async with (
        System(chat, lease=options["lease"], reach=options["reach"]) as system,
        anyio.create_task_group() as tasks,
    ):

        async def events() -> None:
            async for event in system.events():
                say(event=event.kind, **event.facts)

        tasks.start_soon(events)
        say(ready=True)
        async for line in anyio.wrap_file(sys.stdin):
            _, name = line.strip().split(" ", 1)
            agents = {one["name"]: one["pid"] for one in coordinator_of(system).machines.status}
            pids = {node.name: node.pid for node in system.nodes}
            say(name=name, pids=pids, agents=agents)
        tasks.cancel_scope.cancel()


if __name__ == "__main__":
    run(partial(main, json.loads(sys.argv[1])))
