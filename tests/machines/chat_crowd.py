"""`python -m tests.machines.chat_crowd OPTIONS`: people who talk in the chat all the time, by several hosts.

On `round NAME` each says one thing more and waits until it has come back. At the end of stdin they stop, and
when all have heard all of their room, it prints how much that was, or what somebody has missed.
"""

from __future__ import annotations

import json
import sys
from typing import Any, Final

import anyio

from tests.end_to_end.chat_clients import Client, check_one_history, present
from tests.machines.chat_parent import PORT
from tests.machines.parted_parent import say

_ROOMS: Final = 3
_IN: Final = 1.5
"""Seconds to get in at one host; then the other is tried."""
_PACE: Final = 0.15


class _Served:
    port = PORT


async def _talk(client: Client, over: anyio.Event) -> None:
    """Say one thing after the other."""
    while not over.is_set():
        await client.talk("something")
        await anyio.sleep(_PACE)  # people think


async def _main(options: dict[str, Any]) -> None:
    hosts = options["hosts"]
    crowd = [
        [
            Client(
                _Served(),
                f"room {room}",
                f"{room}-{seat}",
                hosts=hosts[seat % 2 :] + hosts[: seat % 2],
                patience=_IN,
            )
            for seat in range(options["people"])
        ]
        for room in range(_ROOMS)
    ]
    everybody = [client for room in crowd for client in room]
    over = anyio.Event()
    async with present(*everybody):
        async with anyio.create_task_group() as tasks:
            for client in everybody:
                tasks.start_soon(_talk, client, over)
            say(ready=True)
            async for line in anyio.wrap_file(sys.stdin):
                async with anyio.create_task_group() as once:
                    for client in everybody:
                        once.start_soon(client.talk, "one more")
                say(name=line.strip())
            over.set()
        for room in crowd:
            last = max(client.seq or 0 for client in room)
            for client in room:
                await client.hears_up_to(last)
    for room in crowd:
        check_one_history(room)
        own = {id_ for client in room for id_ in client.pending}
        assert not own, f"not heard: {own}"
    said = [len(room[0].said) for room in crowd]
    say(said=said, nodes=sorted({node for client in everybody for node in client.nodes}))


if __name__ == "__main__":
    anyio.run(_main, json.loads(sys.argv[1]))
