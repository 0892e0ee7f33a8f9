"""A pool none of whose workers starts any more: they are tried more and more rarely, and submitters hear it."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import NoReturn

import anyio
import pytest

from actors import System, pool
from actors.errors import StartFailed, WorkerLost
from tests.pools import tasks


def begin_unless(broken: str, *, die: bool) -> None:
    """Begin, unless there is a file of that name."""
    if not os.path.exists(broken):  # noqa: PTH110 - a str travels
        return
    if die:
        os._exit(5)
    raise RuntimeError("no model")


def end() -> NoReturn:
    """End the process."""
    os._exit(1)


@pytest.mark.parametrize(
    "die, why", [(False, "RuntimeError: no model"), (True, r"is down \(exit code 5\)")]
)
async def test_whoever_waits_for_a_worker_that_does_not_start_is_told_why(
    tmp_path: Path, die: bool, why: str
) -> None:
    broken = tmp_path / "broken"
    with anyio.fail_after(60):
        async with System() as system:
            init = partial(begin_unless, str(broken), die=die)
            work = await system.start(pool(name="work", size=1, init=init))
            broken.touch()
            with pytest.raises(WorkerLost):
                await work.run(end)
            events = system.events()
            with pytest.raises(
                StartFailed, match=f"pool 'work' has no worker that starts: .*{why}"
            ):
                await work.run(tasks.add, 1)
            with anyio.fail_after(1), pytest.raises(StartFailed, match=why):
                await work.run(tasks.add, 1)
            events.close()
            failed = [event async for event in events if event.kind == "child_start_failed"]
            assert len(failed) < 15
