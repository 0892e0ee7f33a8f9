"""What starts something at the top of the tree while the system starts: lifespans, hooks, actors."""

from __future__ import annotations

import asyncio
from typing import Any

from actors import Actor, child, current, keyed, pool


class Room(Actor):
    """Is there."""

    def __init__(self, key: str = "") -> None:
        self.key = key


class Starter(Actor):
    """Starts another actor before it is ready."""

    async def on_start(self) -> None:
        await begin(current(), "child")


async def hook() -> None:
    await begin(current(), "child")


async def begin(system: Any, what: str) -> None:
    """Start *what*."""
    if what == "pool":
        await system.start(pool(name="work", size=1))
    elif what == "offload":
        await system.offload(abs, -1)
    elif what == "spawn":
        await system.spawn(Starter, name="starter", on="web")
    elif what == "second":
        task = asyncio.create_task(system.offload(abs, -1))
        await asyncio.sleep(0)
        try:
            await system.offload(abs, -2)
        finally:
            task.cancel()
    elif what == "awaited task":
        await asyncio.create_task(begin(system, "child"))
    elif what == "keyed":
        await system.start(keyed(Room, name="rooms"))
    else:
        await system.start(child(Room, name="room"))


def app_of(what: str, *, own_task: bool = False) -> Any:
    tasks = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await receive()
            starting = begin(scope["state"]["actors"], what)
            if own_task:
                tasks.append(asyncio.create_task(starting))
            else:
                try:
                    await starting
                except Exception as error:  # noqa: BLE001 - as frameworks do
                    failed = {"type": "lifespan.startup.failed", "message": str(error)}
                    await send(failed)
                    return
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await send({"type": "lifespan.shutdown.complete"})

    return app


pool_app = app_of("pool")
offload_app = app_of("offload")
keyed_app = app_of("keyed")
child_app = app_of("child")
spawn_app = app_of("spawn")
second_app = app_of("second")
awaited_task_app = app_of("awaited task")
task_app = app_of("child", own_task=True)
