"""What a process that was stopped for a while does with what it was sent meanwhile."""

from __future__ import annotations

import os
import signal
from typing import Any

import anyio
import pytest

from actors import Topology, nodes
from actors.errors import DeadlineExceeded
from actors.testing import running_system
from tests.contracts.contract_actors import Worker


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
async def test_a_message_that_expired_while_its_process_was_stopped_is_not_run(
    backend: Any,
) -> None:
    async with running_system(Topology(nodes=[nodes("n", backend=backend)])) as system:
        worker = await system.spawn(Worker, on="n")
        pid = next(node.pid for node in system.nodes if node.name == "n/0")
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        try:
            await worker.within(0.05).tell(Worker.note, "expired tell")
            with pytest.raises(DeadlineExceeded):
                await worker.within(0.1).ask(Worker.add, 1)
        finally:
            os.kill(pid, signal.SIGCONT)
        with anyio.fail_after(10):
            assert await worker.ask(Worker.logged) == []
