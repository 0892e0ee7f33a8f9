"""Attachments in their full numbers; `tests/end_to_end/test_attachments.py` has them in small."""

from __future__ import annotations

import gc
import os
import random
from collections.abc import AsyncIterator
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from actors import Backoff, Ref, System, Topology, nodes
from actors.testing import eventually, running_system
from tests.conftest import LOOPS
from tests.end_to_end.attachment_modes import (
    PAYLOADS,
    AttachmentActor,
    Send,
    comes_back,
    held_here,
    killed_in_the_middle,
    ways,
)
from tests.transport.shared_memory import behind, mapped, shmem

pytestmark = [
    pytest.mark.soak,
    pytest.mark.timeout(3600),
    pytest.mark.within(3500),
    # Of sockets nobody got, which Python then closes.
    pytest.mark.filterwarnings("ignore:unclosed"),
]
MESSAGES = int(os.environ.get("CARGO_MESSAGES", "10000"))
ROUNDS = int(os.environ.get("CARGO_ROUNDS", "20"))
"""How often each side is killed in the middle of each mode."""
CANCELLED = 100
AT_ONCE = 8
_TOLERANCE = 64 * 1024 * 1024
"""Bytes of shared memory that other programs of this machine may take meanwhile."""

TOPOLOGY = Topology(nodes=[nodes("dock", backoff=Backoff(first=0.01, factor=1))])
"""Its node dies over and over, and is back at once."""


@pytest.fixture(params=LOOPS)
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    return LOOPS[request.param]


class Dock:
    """A system with one process node, an actor on it, and what was held before anything was sent."""

    def __init__(self, system: System, there: Ref[AttachmentActor]) -> None:
        self.system = system
        self.there = there
        self.home: Any = there.host
        self._before: dict[str, int] = {}
        self._far = 0

    async def warm_up(self) -> None:
        for send in ways().values():
            for _ in range(3):
                await send(self.there)
        self._before = await self.look()
        self._before.update(leases=0, buffers=0, mapped_leases=0)
        self._far = await self.there.ask(AttachmentActor.descriptors)

    async def look(self) -> dict[str, int]:
        return await held_here(self.system, self.home)

    async def is_as_before(self) -> None:
        """Nothing is held here or there, and the memory behind it all is within its bounds."""
        await comes_back(self.look, self._before)
        await comes_back(self.look_there, await self.none_there())
        stats = (await self.system.node.stats())["memory"]
        assert behind(self.home.memory.pool) <= stats["limit"]
        assert stats["held"] == 0

    async def look_there(self) -> dict[str, int]:
        (dock,) = [node for node in self.system.nodes if node.name == "dock/0"]
        memory = (await dock.stats())["memory"]
        held = {name: memory[name] for name in ("leases", "buffers", "mapped_leases", "held")}
        return {"descriptors": await self.there.ask(AttachmentActor.descriptors), **held}

    async def none_there(self) -> dict[str, int]:
        return dict.fromkeys(await self.look_there(), 0) | {"descriptors": self._far}


@pytest.fixture
async def dock(no_leaks: None) -> AsyncIterator[Dock]:
    before, mapped_before = shmem(), mapped()
    async with running_system(TOPOLOGY) as system:
        made = Dock(system, await system.spawn(AttachmentActor, on="dock"))
        await made.warm_up()
        yield made
        await made.is_as_before()
    gc.collect()
    assert mapped() <= mapped_before
    # Others come and go meanwhile.
    await eventually(lambda: shmem() - before < _TOLERANCE, 120)


async def _one(there: Ref[AttachmentActor], send: Send) -> None:
    await send(there)


async def _many(there: Ref[AttachmentActor], send: Send, count: int) -> None:
    for _ in range(count):
        await send(there)


async def test_ten_thousand_messages_of_every_mode_leave_nothing(dock: Dock) -> None:
    for name, send in ways().items():
        async with anyio.create_task_group() as tasks:
            for _ in range(AT_ONCE):
                tasks.start_soon(_many, dock.there, send, MESSAGES // AT_ONCE)
        await dock.is_as_before()
        assert name


@pytest.mark.parametrize("sender", [False, True], ids=["the receiver", "the sender"])
async def test_a_side_killed_in_the_middle_of_each_mode_leaves_nothing(
    dock: Dock,
    sender: bool,
) -> None:
    chance = random.Random(1)
    for kind in PAYLOADS:
        for _ in range(ROUNDS):
            after = chance.randrange(1, 200)
            await killed_in_the_middle(dock.system, dock.there, [kind], sender=sender, after=after)
        await dock.is_as_before()


async def test_asks_cancelled_in_the_middle_of_each_mode_leave_nothing(dock: Dock) -> None:
    chance = random.Random(2)
    for send in ways().values():
        for _ in range(CANCELLED):
            async with anyio.create_task_group() as tasks:
                for _ in range(AT_ONCE):
                    tasks.start_soon(_one, dock.there, send)
                for _ in range(chance.randrange(6)):
                    await anyio.lowlevel.checkpoint()
                await anyio.sleep(chance.random() * 0.005)
                tasks.cancel_scope.cancel()
        await dock.is_as_before()
