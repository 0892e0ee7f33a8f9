"""Names and starts are the same on every kind of node: registry, get-or-spawn, failed starts."""

from __future__ import annotations

import traceback
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest

import actors
from actors import Actor, Ref, Restart
from actors.errors import ActorStopped, InvalidSpec, NameTaken, StartFailed
from tests.contracts.contract_actors import BadInit, BadStart, Brief, Flash, Parent, Worker
from tests.contracts.node_under_test import NodeUnderTest


async def test_c43_an_actor_is_found_by_its_name_until_it_ends(node: NodeUnderTest) -> None:
    with anyio.fail_after(5):
        assert await node.system.lookup("found") is None
        worker = await node.spawn(Worker, name="found")
        assert await node.system.lookup("found") == worker
        await worker.stop()
        await worker.wait()
        # The name is free before anyone is told of the end.
        assert await node.system.lookup("found") is None


async def test_c43_a_name_is_taken_once(node: NodeUnderTest) -> None:
    worker = await node.spawn(Worker, name="unique")
    with pytest.raises(NameTaken) as caught:
        await node.spawn(Worker, name="unique")
    assert str(caught.value) == (
        f"the name 'unique' is taken by {worker}: choose another, or spawn with if_exists='return'"
    )
    assert caught.value.name == "unique"
    assert caught.value.ref == worker


async def test_a_child_cannot_take_a_name_that_is_taken(node: NodeUnderTest) -> None:
    worker = await node.spawn(Worker, name="elder")
    parent = await node.spawn(Parent)
    with anyio.fail_after(5):
        with pytest.raises(NameTaken, match="'elder' is taken by"):
            await parent.ask(Parent.start_child, node.probe.ref, "elder")
        assert await node.system.lookup("elder") == worker
        child = await parent.ask(Parent.start_child, node.probe.ref, "younger")
        assert await node.system.lookup("younger") == child


async def test_get_or_spawn_gives_everybody_the_one_actor(node: NodeUnderTest) -> None:
    refs: list[Ref[Worker]] = []

    async def get() -> None:
        refs.append(await node.spawn(Worker, name="shared", if_exists="return"))

    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            for _ in range(50):
                tasks.start_soon(get)
        assert len(refs) == 50
        assert len(set(refs)) == 1
        assert await refs[0].ask(Worker.incarnation) == 1


async def test_get_or_spawn_starts_a_new_actor_after_the_end_of_the_old_one(
    node: NodeUnderTest,
) -> None:
    with anyio.fail_after(5):
        old = await node.spawn(Worker, name="again", if_exists="return")
        await old.stop()
        await old.wait()
        new = await node.spawn(Worker, name="again", if_exists="return")
        assert new != old
        await new.tell(Worker.note, "for the new one")
        with pytest.raises(ActorStopped, match="it has ended: SHUTDOWN"):
            await old.ask(Worker.note, "for the old one")
        assert await new.ask(Worker.logged) == ["for the new one"]
        assert repr(old) == repr(new)


async def test_a_constructor_that_raises_fails_the_spawn_and_frees_the_name(
    node: NodeUnderTest,
) -> None:
    with anyio.fail_after(5):
        with pytest.raises(StartFailed) as caught:
            await node.spawn(BadInit, "bad value", name="unlucky")
        assert str(caught.value) == "unlucky (BadInit) failed to start: ValueError: bad value"
        assert isinstance(caught.value.__cause__, ValueError)
        assert await node.system.lookup("unlucky") is None
        worker = await node.spawn(Worker, name="unlucky")
        assert await worker.ask(Worker.add, 1, 1) == 2


async def test_a_failed_start_shows_the_users_frames_once_and_none_of_ours(
    node: NodeUnderTest,
) -> None:
    with anyio.fail_after(5), pytest.raises(StartFailed) as caught:
        await node.spawn(BadInit, "bad value")
    text = "".join(traceback.format_exception(caught.value))
    assert text.count("raise ValueError(text)") == 1
    assert text.index("raise ValueError(text)") < text.index("in test_a_failed_start_shows")
    ours = [line for line in text.splitlines() if f'File "{Path(actors.__file__).parent}' in line]
    assert [line.rpartition(" ")[2] for line in ours] == ["spawn"]  # the call itself
    assert type(caught.value.__cause__) is ValueError


async def test_an_on_start_that_raises_fails_the_spawn_and_frees_the_name(
    node: NodeUnderTest,
) -> None:
    with anyio.fail_after(5):
        for _ in range(2):
            with pytest.raises(StartFailed, match="ConnectionError: no database") as caught:
                await node.spawn(BadStart, name="offline")
            assert isinstance(caught.value.__cause__, ConnectionError)


async def test_wrong_constructor_arguments_are_refused_before_anything_starts(
    node: NodeUnderTest,
) -> None:
    unknown: Any = {"unknown": 1}
    refusal = r"^spawn\(BadInit\): its constructor has no parameter 'unknown'$"
    with anyio.fail_after(5), pytest.raises(InvalidSpec, match=refusal):
        await node.spawn(partial(BadInit, **unknown))


async def test_fifty_waiting_for_a_start_that_fails_each_try_and_fail(node: NodeUnderTest) -> None:
    failures: list[StartFailed] = []

    async def get() -> None:
        with pytest.raises(StartFailed) as caught:
            await node.spawn(BadStart, name="hopeless", if_exists="return")
        failures.append(caught.value)

    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            for _ in range(10):
                tasks.start_soon(get)
    assert len(failures) == 10
    assert await node.system.lookup("hopeless") is None


async def test_an_actor_that_ends_as_soon_as_it_has_started_leaves_its_name_free(
    node: NodeUnderTest,
) -> None:
    with anyio.fail_after(5):
        for _ in range(3):
            brief = await node.spawn(Brief, name="brief")
            assert str(await brief.wait()) == "NORMAL"
            assert await node.system.lookup("brief") is None


async def test_an_actor_that_crashes_as_soon_as_it_has_started_leaves_its_name_free(
    node: NodeUnderTest,
) -> None:
    with anyio.fail_after(5):
        for _ in range(3):
            flash = await node.spawn(Flash, name="flash", restart=Restart.TEMPORARY)
            assert str(await flash.wait()) == "CRASHED(RuntimeError: over already)"
            assert await node.system.lookup("flash") is None


_MAILBOX = "Worker: mailbox must be a whole number of 1 or more, Bounded(...) or Priority(...), got"

BAD: dict[str, tuple[dict[str, Any], str]] = {
    "mailbox 0": (
        {"mailbox": 0},
        f"{_MAILBOX} 0",
    ),
    "mailbox text": (
        {"mailbox": "9"},
        _MAILBOX,
    ),
    "mailbox bool": (
        {"mailbox": True},
        _MAILBOX,
    ),
    "empty name": ({"name": ""}, "Worker: name must be a non-empty text, got ''"),
    "name no text": ({"name": 7}, "Worker: name must be a non-empty text, got 7"),
    "if_exists": ({"if_exists": "keep"}, "if_exists must be 'raise' or 'return', got 'keep'"),
    "unknown node": ({"on": "moon/1"}, "on='moon/1' is no node or group; there are box, box/0"),
    "restart": ({"restart": "always"}, "restart must be a Restart, got 'always'"),
    "backoff": ({"backoff": 3}, "backoff must be a Backoff"),
    "shutdown": ({"shutdown": -1}, "shutdown must be 0 or more seconds, got -1"),
}


@pytest.mark.parametrize("what", BAD)
async def test_a_value_that_can_never_work_is_refused_and_shown(
    node: NodeUnderTest, what: str
) -> None:
    options, why = BAD[what]
    with anyio.fail_after(5), pytest.raises(InvalidSpec) as caught:
        await node.spawn(Worker, **options)
    assert why in str(caught.value)


@pytest.mark.parametrize(
    "cls",
    [int, Actor, Worker.add, "Worker", None],
    ids=lambda cls: getattr(cls, "__name__", repr(cls)),
)
async def test_only_subclasses_of_actor_are_spawned(node: NodeUnderTest, cls: Any) -> None:
    with pytest.raises(InvalidSpec, match=r"spawn takes a subclass of actors\.Actor, got"):
        await node.spawn(cls)
