"""Whoever starts what fails is shown the user's own frames, once, whatever supervisors are between."""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import Any

import anyio
import pytest

import actors
from actors import Actor, System, Topology, child, dynamic, nodes, pool, supervisor
from actors.errors import ChildNotStarted, StartFailed
from actors.testing import running_system

OURS = f'File "{Path(actors.__file__).parent}'
RAISES = 'raise ValueError("bad host")'
CALLS = 2
"""Frames of the framework's between the user's call and the error: the call's own."""


class Bad(Actor):
    """Does not start."""

    async def on_start(self) -> None:
        connect()


def connect() -> None:
    raise ValueError("bad host")


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, object]]:
    """One loop: a traceback is not its business."""
    return "asyncio", {"use_uvloop": True}


def check(error: BaseException) -> None:
    shown = "".join(traceback.format_exception(error))
    assert shown.count(RAISES) == 1, shown
    assert shown.count("\nValueError: bad host\n\nThe above") == 1, shown
    assert shown.count(OURS) <= CALLS, shown


@pytest.mark.parametrize("on", [None, "web"], ids=["local", "process"])
@pytest.mark.parametrize("depth", [0, 2])
async def test_a_system_with_a_child_that_does_not_start(on: str | None, depth: int) -> None:
    item: Any = child(Bad, name="bad", on=on)
    for level in range(depth):
        item = supervisor(f"level{level}", [item])
    with anyio.fail_after(30):
        with pytest.raises(StartFailed) as caught:
            async with System(Topology(nodes=[nodes("web")], children=[item])):
                pass
        check(caught.value)


@pytest.mark.parametrize("on", [None, "web"], ids=["local", "process"])
async def test_children_pools_and_actors_that_do_not_start(on: str | None) -> None:
    topology = Topology(nodes=[nodes("web")], children=[dynamic("rooms")])
    async with running_system(topology) as system:
        bad = child(Bad, name="bad", on=on)
        rooms = system.supervisor("rooms")
        with anyio.fail_after(30):
            for error, start in (
                (StartFailed, lambda: system.spawn(Bad, on=on)),
                (StartFailed, lambda: system.start(pool(Bad, name="many", size=2, on=on))),
                (ChildNotStarted, lambda: system.start(bad)),
                (ChildNotStarted, lambda: system.start(supervisor("sub", [bad]))),
                (ChildNotStarted, lambda: rooms.start_child(bad)),
            ):
                with pytest.raises(error) as caught:
                    await start()
                check(caught.value)


async def test_the_log_shows_the_users_frames_of_a_failed_start_alone() -> None:
    async with running_system(Topology(nodes=[nodes("web")])) as system:
        events = system.events()
        with anyio.fail_after(30):
            with pytest.raises(ChildNotStarted):
                await system.start(supervisor("sub", [child(Bad, name="bad", on="web")]))
            shown = [
                (await anext(one.facts async for one in events if one.kind == "child_start_failed"))
                for _ in range(2)
            ]
        events.close()
    assert [facts["child"] for facts in shown] == ["bad", "sub"]
    for facts in shown:
        assert facts["traceback"].count(RAISES) == 1
        assert OURS not in facts["traceback"]
        assert facts["traceback"].endswith("ValueError: bad host")
