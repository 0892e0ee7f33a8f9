"""A room without the web: what it tells its members, and when it ends."""

import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio.abc import ObjectReceiveStream

import actors
from examples.chat import room as room_module
from examples.chat._store import Store
from examples.chat.member import Member
from examples.chat.room import Full, Room


@dataclass
class Guest:
    """A member whose WebSocket is a list of what came down."""

    ref: actors.Ref[Member]
    inbox: ObjectReceiveStream[list[dict[str, Any]]]
    got: list[dict[str, Any]]
    heard: list[dict[str, Any]] = field(default_factory=list)

    async def hears(self, count: int) -> list[dict[str, Any]]:
        """Return the next *count* messages of the history, said or hidden."""
        heard: list[dict[str, Any]] = []
        while len(heard) < count:
            heard += [m for m in await self.gets(1) if m["type"] in ("said", "hidden")]
        self.heard += heard
        return heard

    async def gets(self, count: int) -> list[dict[str, Any]]:
        """Return the next *count* messages."""
        with anyio.fail_after(10):
            while len(self.got) < count:
                self.got += await self.inbox.receive()
        taken, self.got = self.got[:count], self.got[count:]
        return taken


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "chat.sqlite3")


@pytest.fixture
async def system() -> AsyncIterator[actors.System]:
    async with actors.System() as system:
        yield system


async def open_room(system: actors.System, path: str) -> actors.Ref[Room]:
    return await system.spawn(Room, "den", path, name="room:den", if_exists="return")


@asynccontextmanager
async def attending(
    system: actors.System, room: actors.Ref[Room], name: str, after: int | None = None
) -> AsyncIterator[Guest]:
    outbox, inbox = anyio.create_memory_object_stream[list[dict[str, Any]]](0)
    with outbox, inbox:
        ref = await system.spawn(Member, "den", actors.local(outbox), mailbox=4)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(room.ask, Room.attend, ref, name, after)
            yield Guest(ref, inbox, await inbox.receive())
            tasks.cancel_scope.cancel()
        await room.wait_ready()
    await ref.stop()
    await ref.wait()


def seqs(messages: list[dict[str, Any]]) -> list[int]:
    return [message["seq"] for message in messages]


async def test_the_first_message_is_the_welcome_and_then_comes_what_is_said(
    system: actors.System, path: str
) -> None:
    room = await open_room(system, path)
    async with attending(system, room, "ann") as ann:
        assert await ann.gets(1) == [
            {
                "type": "welcome",
                "node": "local",
                "room": "den",
                "you": "ann",
                "people": ["ann"],
                "seq": 0,
            }
        ]
        await room.tell(Room.say, ann.ref, "a", "hello")
        (said,) = await ann.gets(1)
        at = said.pop("at")
        assert time.time() - 60 < at <= time.time()
        assert said == {"type": "said", "id": "a", "name": "ann", "text": "hello", "seq": 1}


async def test_a_private_message_reaches_its_two_people_and_the_others_only_its_number(
    system: actors.System, path: str
) -> None:
    room = await open_room(system, path)
    async with (
        attending(system, room, "ann") as ann,
        attending(system, room, "bob") as bob,
        attending(system, room, "eve") as eve,
    ):
        for guest in (ann, bob, eve):
            await guest.gets(1)
        await room.tell(Room.say, ann.ref, "a", "psst", "bob")
        await room.tell(Room.say, ann.ref, "b", "hello all")
        for guest in (ann, bob):
            private, open_ = await guest.hears(2)
            assert (private["seq"], private["text"], private["to"]) == (1, "psst", "bob")
            assert (open_["seq"], open_["text"], "to" in open_) == (2, "hello all", False)
        assert [said["seq"] for said in await eve.hears(2)] == [1, 2]
        assert "psst" not in str(eve.heard)
        assert eve.heard[0] == {"type": "hidden", "seq": 1}


@pytest.mark.parametrize("recent", [1, 256], ids=["from the file", "from memory"])
async def test_who_comes_back_gets_the_private_messages_that_came_meanwhile(
    system: actors.System, path: str, monkeypatch: pytest.MonkeyPatch, recent: int
) -> None:
    monkeypatch.setattr(room_module, "_RECENT", recent)
    room = await open_room(system, path)
    async with attending(system, room, "ann") as ann:
        await room.tell(Room.say, ann.ref, "a", "psst", "bob")
        await room.tell(Room.say, ann.ref, "b", "hello all")
        await ann.hears(2)
        async with attending(system, room, "bob", after=0) as bob:
            assert [said["text"] for said in await bob.hears(2)] == ["psst", "hello all"]
        async with attending(system, room, "eve", after=0) as eve:
            assert [said.get("text") for said in await eve.hears(2)] == [None, "hello all"]


async def test_saying_somebody_elses_id_does_not_give_away_what_it_was(
    system: actors.System, path: str
) -> None:
    room = await open_room(system, path)
    async with attending(system, room, "ann") as ann, attending(system, room, "eve") as eve:
        await room.tell(Room.say, ann.ref, "a", "psst", "bob")
        await eve.hears(1)
        await room.tell(Room.say, eve.ref, "a", "what was it?")
        assert await eve.hears(1) == [{"type": "hidden", "seq": 1}]


async def test_a_full_room_lets_nobody_in_until_somebody_leaves(
    system: actors.System, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room_module, "_MOST_MEMBERS", 1)
    room = await open_room(system, path)
    async with attending(system, room, "ann") as ann:
        with (
            pytest.raises(Full, match=r"^1 people are here already: try again later$"),
            anyio.fail_after(10),
        ):
            await room.ask(Room.attend, ann.ref, "bob", None)
    async with attending(system, room, "bob") as bob:
        assert (await bob.gets(1))[0]["people"] == ["bob"]


async def test_members_hear_who_comes_and_who_leaves(system: actors.System, path: str) -> None:
    room = await open_room(system, path)
    async with attending(system, room, "ann") as ann:
        await ann.gets(1)
        async with attending(system, room, "bob") as bob:
            assert (await bob.gets(1))[0]["people"] == ["ann", "bob"]
            assert await ann.gets(1) == [{"type": "people", "people": ["ann", "bob"]}]
        assert await ann.gets(1) == [{"type": "people", "people": ["ann"]}]


@pytest.mark.parametrize("recent", [8, 256], ids=["from the file", "from memory"])
@pytest.mark.parametrize("after,first", [(None, 151), (0, 1), (120, 121), (199, 200)], ids=str)
async def test_a_newcomer_gets_all_after_a_number_or_the_last_fifty(
    system: actors.System,
    path: str,
    monkeypatch: pytest.MonkeyPatch,
    after: int | None,
    first: int,
    recent: int,
) -> None:
    monkeypatch.setattr(room_module, "_RECENT", recent)
    room = await open_room(system, path)
    async with attending(system, room, "ann") as ann:
        for number in range(200):
            await room.tell(Room.say, ann.ref, None, f"line {number}")
            assert (await ann.gets(2 if number == 0 else 1))[-1]["seq"] == number + 1
        async with attending(system, room, "bob", after) as bob:
            welcome, *said = await bob.gets(202 - first)
            assert welcome["seq"] == 200
            assert seqs(said) == list(range(first, 201))


async def test_what_was_said_twice_is_answered_twice_and_heard_once(
    system: actors.System, path: str
) -> None:
    room = await open_room(system, path)
    async with attending(system, room, "ann") as ann, attending(system, room, "bob") as bob:
        await bob.gets(1)
        await room.tell(Room.say, ann.ref, "a", "hello")
        assert seqs(await bob.gets(1)) == [1]
        await room.tell(Room.say, ann.ref, "a", "hello")
        await room.tell(Room.say, ann.ref, "b", "bye")
        assert seqs(await bob.gets(1)) == [2]
        heard = [message for message in await ann.gets(5) if message["type"] == "said"]
        assert sorted(seqs(heard)) == [1, 1, 2]
        assert (heard[0]["id"], heard[0]["name"], heard[0]["text"]) == ("a", "ann", "hello")


async def test_a_member_who_does_not_read_holds_up_nobody(system: actors.System, path: str) -> None:
    room = await open_room(system, path)
    async with attending(system, room, "ann") as ann, attending(system, room, "bob") as bob:
        for number in range(500):
            await room.tell(Room.say, ann.ref, None, f"line {number}")
        said = [message for message in await ann.gets(501) if message["type"] == "said"]
        assert seqs(said) == list(range(1, len(said) + 1))
        welcome, *late = await bob.gets(501)
        assert welcome["type"] == "welcome"
        assert seqs(late) == list(range(1, 501))


async def test_a_message_that_cannot_be_written_is_refused_by_its_id(
    system: actors.System, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    room = await open_room(system, path)
    async with attending(system, room, "ann") as ann:
        await ann.gets(1)
        with monkeypatch.context() as patched:
            patched.setattr(Store, "append", fail)
            await room.tell(Room.say, ann.ref, "a", "hello")
            assert await ann.gets(1) == [
                {"type": "error", "error": "not written: database or disk is full", "id": "a"}
            ]
        await room.tell(Room.say, ann.ref, "a", "hello")
        assert seqs(await ann.gets(1)) == [1]


async def test_whoever_attends_is_told_at_once_when_the_room_crashes(
    system: actors.System, path: str
) -> None:
    room = await open_room(system, path)
    outbox, inbox = anyio.create_memory_object_stream[list[dict[str, Any]]](16)
    with outbox, inbox:
        ann = await system.spawn(Member, "den", actors.local(outbox))
        async with anyio.create_task_group() as tasks:

            async def attend() -> None:
                with pytest.raises(actors.ActorCrashed):
                    await room.ask(Room.attend, ann, "ann", None)

            tasks.start_soon(attend)
            await inbox.receive()
            room.kill()
    async with attending(system, room, "bob") as bob:
        assert (await bob.gets(1))[0]["people"] == ["bob"]


async def test_a_room_that_nobody_attends_ends_and_the_next_one_goes_on_counting(
    system: actors.System, path: str
) -> None:
    book = await system.start(actors.keyed(partial(Room, path=path), name="rooms", idle=0.05))
    room = await book["den"].ref()
    async with attending(system, room, "ann") as ann:
        await room.tell(Room.say, ann.ref, None, "hello")
        await ann.gets(2)
        await anyio.sleep(0.2)
        await room.tell(Room.say, ann.ref, None, "still here")
        await ann.gets(1)
    with anyio.fail_after(10):
        assert not (await room.wait()).abnormal
    again = await book["den"].ref()
    assert again != room
    async with attending(system, again, "bob") as bob:
        assert seqs(await bob.gets(3)) == [2, 1, 2]
