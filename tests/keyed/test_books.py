"""An address book starts the actor of a key when it is first used, once, wherever it is used."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest

from actors import ActorStopped, Keyed, System, keyed
from actors.errors import (
    ActorCrashed,
    ActorsError,
    CallCycle,
    DeadlineExceeded,
    InvalidSpec,
    LimitReached,
    MailboxFull,
    NameTaken,
    StartFailed,
)
from actors.testing import eventually
from tests.keyed.conftest import Open
from tests.keyed.rooms import Fleeting, Fussy, Room, Visitor

pytestmark = pytest.mark.within(30)


async def test_the_first_message_starts_the_actor_with_its_key_as_the_first_argument(
    book: Open, place: str
) -> None:
    rooms = await book(partial(Room, greeting="welcome"), on=place)

    assert await rooms.keys() == []
    greeting, key, node = await rooms["kitchen"].ask(Room.greet)

    assert (greeting, key) == ("welcome", "kitchen")
    assert node.partition("/")[0] == place
    assert await rooms.keys() == ["kitchen"]


async def test_every_verb_starts_the_actor(book: Open, place: str) -> None:
    rooms = await book(on=place)

    await rooms["tell"].tell(Room.say, 1)
    assert await rooms["tell"].ask(Room.all) == [1]
    async with rooms["stream"].stream(Room.count, 3) as numbers:
        assert [number async for number in numbers] == [0, 1, 2]
    assert await rooms["within"].within(5).ask(Room.greet) is not None
    await rooms["within tell"].within(5).tell(Room.say, 1)
    async with rooms["within stream"].within(5).stream(Room.count, 1) as numbers:
        assert [number async for number in numbers] == [0]
    ref = await rooms["ref"].ref()
    assert ref.name == rooms["ref"].name == "rooms/ref"
    assert await rooms.count() == 6


async def test_tells_that_do_not_wait_are_kept_in_order_until_the_actor_is_there(
    book: Open, place: str
) -> None:
    rooms = await book(on=place)
    for number in range(10):
        rooms["kitchen"].tell_nowait(Room.say, [number])
    await rooms["kitchen"].tell(Room.say, "last")

    assert await rooms["kitchen"].ask(Room.all) == [*([n] for n in range(10)), "last"]


async def test_so_many_tells_that_do_not_wait_are_kept_as_the_mailbox_holds(book: Open) -> None:
    rooms = await book(on="box", mailbox=3)
    for number in range(3):
        rooms["kitchen"].tell_nowait(Room.say, number)

    with pytest.raises(MailboxFull, match=r"rooms\['kitchen'\]: 3 messages wait") as full:
        rooms["kitchen"].tell_nowait(Room.say, 3)

    assert full.value.message == ("say", (3,), {})
    assert await rooms["kitchen"].ask(Room.all) == [0, 1, 2]


async def test_a_value_is_sent_as_it_was_when_the_actor_was_first_asked_for(
    book: Open, place: str
) -> None:
    rooms = await book(on=place)
    value = [1]
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(rooms["kitchen"].tell, Room.say, value)
        rooms["hall"].tell_nowait(Room.say, value)
        await eventually(partial(rooms.has, "kitchen"))
        value.append(2)

    assert await rooms["kitchen"].ask(Room.all) == [[1]]
    assert await rooms["hall"].ask(Room.all) == [[1]]


@pytest.mark.parametrize(
    "key",
    ["kitchen", "Küche 7", 7, -7, b"\x00\xff", ("a", 1), frozenset({1, "b"}), "7", "('a', 1)"],
)
async def test_every_kind_of_key_reaches_its_actor_and_its_constructor(
    book: Open, system: System, key: Any
) -> None:
    rooms = await book(on="box")
    _, got, _ = await rooms[key].ask(Room.greet)
    visitor = await system.spawn(Visitor, on="box")
    _, same, _ = await visitor.ask(Visitor.greet, rooms, key)

    assert got == same == key
    assert type(got) is type(key)
    assert await rooms.keys() == [key]
    await visitor.stop()


async def test_keys_that_look_alike_have_different_actors(book: Open) -> None:
    rooms = await book()
    keys = [7, "7", b"7", ("7",), frozenset({"7"}), (7,)]
    runs = {await rooms[key].ask(Room.run) for key in keys}

    assert len(runs) == len({rooms[key].name for key in keys}) == len(keys)


async def test_all_who_use_a_key_first_at_the_same_time_reach_one_actor(
    book: Open, system: System, tmp_path: Path
) -> None:
    rooms = await book(partial(Room, folder=str(tmp_path)), on="box")
    keys = [*range(5)] * 4
    visitors = [await system.spawn(Visitor, on=on) for on in ("box/0", "box/1", "local")]
    results: list[list[tuple[int, int]]] = []

    async def use(visitor: Any) -> None:
        results.append(await visitor.ask(Visitor.runs, rooms, keys))

    async with anyio.create_task_group() as tasks:
        for visitor in visitors:
            tasks.start_soon(use, visitor)

    assert len({run for runs in results for run in runs}) == 5
    assert results[0] == results[1] == results[2]
    for visitor in visitors:
        await visitor.stop()


async def test_a_book_is_started_and_found_from_a_node(system: System) -> None:
    visitor = await system.spawn(Visitor, on="box/0")
    try:
        rooms = await visitor.ask(Visitor.open, "theirs", "box")
        assert rooms == await system.keyed("theirs")
        assert await visitor.ask(Visitor.find, "theirs") == rooms
        assert (await rooms["kitchen"].ask(Room.greet))[:2] == ("hello", "kitchen")
        assert await visitor.ask(Visitor.find, "nobody's") is None
        with pytest.raises(InvalidSpec, match="there is a keyed\\('theirs'\\) already"):
            await visitor.ask(Visitor.open, "theirs", None)
    finally:
        await visitor.stop()
        await system.supervisor("").stop_child("theirs")
        await system.supervisor("").delete_child("theirs")


async def test_a_node_sees_what_lives_and_stops_it(book: Open, system: System) -> None:
    rooms = await book(on="box")
    visitor = await system.spawn(Visitor, on="box/1")
    await rooms["kitchen"].tell(Room.say, 1)

    assert await visitor.ask(Visitor.keys, rooms) == (["kitchen"], 1, True, False)
    assert await visitor.ask(Visitor.stop, rooms, "kitchen") is True
    assert await visitor.ask(Visitor.stop, rooms, "kitchen") is False
    assert await rooms.keys() == []
    await visitor.stop()


async def test_the_address_of_a_key_can_be_sent(book: Open, system: System) -> None:
    rooms = await book(on="box")
    room = await system.spawn(Room, "other", on="box/1")
    await room.ask(Room.say, rooms["kitchen"])
    await room.ask(Room.say, rooms[("a", frozenset({1}))])

    assert await room.ask(Room.all) == [rooms["kitchen"], rooms[("a", frozenset({1}))]]
    await room.stop()


async def test_stopping_a_key_handles_first_what_was_sent_to_it(book: Open, place: str) -> None:
    rooms = await book(on=place)
    ref = await rooms["kitchen"].ref()
    for number in range(5):
        await rooms["kitchen"].tell(Room.say_slowly, number)

    assert await rooms.stop("kitchen") is True
    assert (await ref.wait()).abnormal is False
    with pytest.raises(ActorStopped):
        await ref.ask(Room.all)
    assert await rooms["kitchen"].ask(Room.all) == []  # another actor


async def test_what_is_sent_while_a_key_is_stopped_reaches_the_next_actor(
    book: Open, place: str
) -> None:
    rooms = await book(on=place)
    first, _ = await rooms["kitchen"].ask(Room.run)
    await rooms["kitchen"].tell(Room.say_slowly, "first")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(rooms.stop, "kitchen")
        await anyio.sleep(0.01)
        for number in range(5):
            tasks.start_soon(rooms["kitchen"].tell, Room.say, number)

    assert sorted(await rooms["kitchen"].ask(Room.all)) == [*range(5)]
    assert (await rooms["kitchen"].ask(Room.run))[0] != first


async def test_a_message_that_an_actor_refuses_as_it_ends_starts_the_next(
    book: Open, system: System, place: str
) -> None:
    rooms = await book(on=place)
    for _ in range(20):
        await rooms["kitchen"].ask(Room.leave)
        assert await rooms["kitchen"].ask(Room.greet) is not None


async def test_an_actor_that_crashes_is_restarted_and_keeps_its_address(
    book: Open, place: str
) -> None:
    rooms = await book(on=place)
    uid, _ = await rooms["kitchen"].ask(Room.run)
    await rooms["kitchen"].tell(Room.crash)

    assert await rooms["kitchen"].ask(Room.run) == (uid, 2)


async def test_a_start_that_fails_is_raised_and_the_next_use_tries_again(
    book: Open, tmp_path: Path, place: str
) -> None:
    fussy = await book(partial(Fussy, folder=str(tmp_path)), name="fussy", on=place)
    for _ in range(2):
        with pytest.raises(StartFailed, match="there is no milk yet") as failed:
            await fussy["milk"].ask(Fussy.hello)
        assert isinstance(failed.value.__cause__, FileNotFoundError)
    (tmp_path / "milk").touch()

    assert await fussy["milk"].ask(Fussy.hello) == "hello"
    assert (tmp_path / "tries").read_text().splitlines() == ["milk"] * 3


async def test_who_waits_for_one_failing_start_costs_one_try(book: Open, tmp_path: Path) -> None:
    fussy = await book(partial(Fussy, folder=str(tmp_path)), name="fussy", on="box")
    failures: list[StartFailed] = []

    async def use() -> None:
        try:
            await fussy["milk"].ask(Fussy.hello)
        except StartFailed as error:
            failures.append(error)

    async with anyio.create_task_group() as tasks:
        for _ in range(5):
            tasks.start_soon(use)

    assert len(failures) == 5
    assert (tmp_path / "tries").read_text().splitlines() == ["milk"]


async def test_a_deadline_also_counts_for_the_start(book: Open, tmp_path: Path) -> None:
    fussy = await book(partial(Fussy, folder=str(tmp_path)), name="fussy")
    for _ in range(4):  # the next try is more than 0.2 s away
        with pytest.raises(StartFailed):
            await fussy["milk"].ask(Fussy.hello)

    with pytest.raises(DeadlineExceeded, match="before its actor was found"):
        await fussy["milk"].within(0.05).ask(Fussy.hello)


async def test_tells_without_waiting_to_an_actor_that_does_not_start_are_dead_letters(
    book: Open, system: System, tmp_path: Path
) -> None:
    fussy = await book(partial(Fussy, folder=str(tmp_path)), name="fussy", on="box")
    events = system.events()
    fussy["milk"].tell_nowait(Fussy.hello)

    async for event in events:
        if event.kind == "dead_letter":
            assert (event.facts["actor"], event.facts["message"]) == ("fussy/milk", "hello")
            return


async def test_an_actor_that_ends_at_once_is_an_error_and_not_a_loop(book: Open) -> None:
    fleeting = await book(Fleeting, name="fleeting")

    with pytest.raises((StartFailed, ActorStopped)):
        await fleeting["x"].ask(Fleeting.hello)


async def test_the_limit_counts_living_actors(book: Open) -> None:
    rooms = await book(on="box", limit=2)
    await rooms["a"].tell(Room.say, 1)
    await rooms["b"].tell(Room.say, 1)

    with pytest.raises(LimitReached, match=r"rooms\['c'\]: 2 actors live"):
        await rooms["c"].tell(Room.say, 1)
    await rooms.stop("a")
    await rooms["c"].tell(Room.say, 1)
    assert await rooms.keys() == ["b", "c"]


async def test_a_name_that_another_actor_has_is_refused(book: Open, system: System) -> None:
    rooms = await book()
    other = await system.spawn(Room, "x", name="rooms/kitchen")

    with pytest.raises(NameTaken, match="rooms/kitchen"):
        await rooms["kitchen"].ask(Room.greet)
    await other.stop()
    await other.wait()
    assert await rooms["kitchen"].ask(Room.greet) is not None
    assert await system.lookup("rooms/kitchen") == await rooms["kitchen"].ref()


async def test_an_actor_may_use_other_keys_but_not_wait_for_its_own(book: Open, place: str) -> None:
    rooms = await book(on=place)

    assert (await rooms["a"].ask(Room.ask_other, "rooms", "b"))[1] == "b"
    with pytest.raises(CallCycle):
        await rooms["a"].ask(Room.ask_other, "rooms", "a")
    with pytest.raises(CallCycle, match="to be stopped"):
        await rooms["a"].ask(Room.stop_other, "rooms", "a")


async def test_who_gives_up_waiting_does_not_fail_the_start_for_others(
    book: Open, place: str
) -> None:
    rooms = await book(on=place)
    with anyio.move_on_after(0):
        await rooms["kitchen"].ask(Room.greet)
    assert await rooms["kitchen"].ask(Room.greet) is not None
    assert await rooms.keys() == ["kitchen"]


@pytest.mark.parametrize(
    "key, why",
    [
        (
            ["a"],
            r"rooms\[\.\.\.\]: a key is a str, an int, bytes, or a tuple or frozenset .* got \['a'\]",
        ),
        (None, "got None"),
        (True, "got True"),
        (1.5, "got 1.5"),
        (("a", ["b"]), r"got \('a', \['b'\]\)"),
        ("\ud800", r"got '\\ud800'"),
        ("x" * 257, "1 to 256 bytes, got 257: 'xxx"),
        ("", "got 0: ''"),
        (2**64, "an int of 65 bits"),
    ],
)
async def test_what_cannot_be_a_key_is_refused_where_it_is_used(
    book: Open, key: Any, why: str
) -> None:
    rooms = await book()
    with pytest.raises(InvalidSpec, match=why):
        rooms[key]
    for use in (rooms.has, rooms.stop):
        with pytest.raises(InvalidSpec, match=why):
            await use(key)


async def test_what_needs_the_parents_answer_says_what_to_await(book: Open) -> None:
    rooms = await book()

    with pytest.raises(TypeError, match=r"await rooms.has\('kitchen'\)"):
        "kitchen" in rooms  # noqa: B015 - it raises
    with pytest.raises(TypeError, match=r"await rooms.count\(\)"):
        len(rooms)
    with pytest.raises(TypeError, match=r"await rooms.keys\(\)"):
        list(rooms)
    with pytest.raises(AttributeError, match=r"await ref.ask\(Room.greet, ...\)"):
        getattr(rooms["kitchen"], "greet")  # noqa: B009 - a checker knows that there is none
    assert bool(rooms)


async def test_a_book_that_was_stopped_says_so_and_another_may_have_its_name(
    system: System,
) -> None:
    top = system.supervisor("")
    rooms = await system.start(keyed(Room, name="brief", on="box"))
    visitor = await system.spawn(Visitor, on="box/0")
    ref = await rooms["kitchen"].ref()
    await visitor.ask(Visitor.greet, rooms, "kitchen")
    await top.stop_child("brief")

    assert (await ref.wait()).abnormal is False
    with pytest.raises(ActorsError, match="keyed 'brief': it has ended"):
        await rooms["kitchen"].ask(Room.greet)
    with pytest.raises(ActorsError, match="has ended"):
        await visitor.ask(Visitor.greet, rooms, "kitchen")
    assert await system.keyed("brief") is None
    await top.restart_child("brief")
    again = await system.keyed("brief")
    assert isinstance(again, Keyed)
    assert await again["kitchen"].ask(Room.greet) is not None
    await top.stop_child("brief")
    await top.delete_child("brief")
    await visitor.stop()


async def test_the_tree_shows_the_book_with_its_actors(book: Open, system: System) -> None:
    rooms = await book(on="box")
    await rooms["kitchen"].tell(Room.say, 1)

    tree = await system.tree()
    shown = next(item for item in tree["children"] if item["name"] == "rooms")
    assert [child["name"] for child in shown["children"]] == ["rooms/kitchen"]


async def test_an_ask_that_was_being_handled_fails_and_is_not_repeated(
    book: Open, place: str
) -> None:
    rooms = await book(on=place)
    failed: list[Exception] = []

    async def stay() -> None:
        try:
            await rooms["kitchen"].ask(Room.stay, 30)
        except ActorsError as error:
            failed.append(error)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(stay)
        await eventually(partial(rooms.has, "kitchen"))
        await rooms["kitchen"].ask(Room.greet)
        await rooms.stop("kitchen")

    assert isinstance(failed[0], ActorCrashed | ActorStopped)
    assert await rooms.keys() == []
