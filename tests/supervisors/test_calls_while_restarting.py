"""Calls about a child while an attempt to restart it is under way have OTP's answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anyio
import pytest

from actors.supervisors import (
    AlreadyPresent,
    ChildRestarting,
    ChildSpec,
    DynamicSupervisor,
    Exit,
    Supervisor,
)


class Child:
    """Comes up once; the next start hangs."""

    starts = 0

    def __init__(self) -> None:
        self.ended: Callable[[Exit], None] = lambda _: None
        self.over = anyio.Event()

    async def start(self, ended: Callable[[Exit], None]) -> None:
        self.ended = ended
        Child.starts += 1
        if Child.starts > 1:
            await anyio.sleep_forever()

    async def wait(self) -> Exit:
        await self.over.wait()
        return Exit.KILLED

    def stop(self) -> None:
        self.kill()

    def kill(self) -> None:
        self.over.set()
        self.ended(Exit.KILLED)


@pytest.mark.parametrize("kind", [Supervisor, DynamicSupervisor])
async def test_a_child_that_is_being_restarted_is_not_running(kind: Any) -> None:
    Child.starts = 0
    spec = ChildSpec(name="a", start=Child)
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            supervisor = kind("s", tasks=tasks)
            await supervisor.start()
            run = await supervisor.start_child(spec)
            run.ended(Exit.CRASHED(RuntimeError()))
            await anyio.wait_all_tasks_blocked()
            assert Child.starts == 2
            if kind is Supervisor:
                with pytest.raises(ChildRestarting):
                    supervisor.delete_child("a")
            else:
                with pytest.raises(AlreadyPresent):
                    await supervisor.start_child(spec)
            assert supervisor.count().active == 0
            await supervisor.stop_child("a")
            supervisor.stop()
            await supervisor.wait()
