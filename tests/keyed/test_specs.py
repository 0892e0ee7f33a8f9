"""What can never work as a book is refused where it is written down."""

from __future__ import annotations

import pickle
from functools import partial
from typing import Any

import pytest

from actors import Actor, Restart, System, Topology, keyed, nodes, pool, supervisor
from actors.errors import InvalidSpec
from tests.keyed.rooms import Room

make_keyed: Any = keyed
wrong: Any = partial
"""As whoever uses no type checker calls it."""


class Keyless(Actor):
    """Has no place for a key."""


class Two(Actor):
    def __init__(self, key: str, other: int) -> None:
        self.both = key, other


@pytest.mark.parametrize(
    "make, why",
    [
        (
            lambda: make_keyed(Room, idle=0),
            r"keyed\('room'\): idle must be more than 0 seconds, or None, got 0",
        ),
        (
            lambda: make_keyed(Room, idle="1"),
            r"idle must be more than 0 seconds, or None, got '1'",
        ),
        (lambda: make_keyed(Room, limit=0), r"limit must be a whole number of 1 or more, got 0"),
        (lambda: make_keyed(Room, name=""), "name must be a non-empty text, got ''"),
        (
            lambda: make_keyed(Room, mailbox=0),
            r"1 or more, Bounded\(...\) or Priority\(...\), got 0",
        ),
        (lambda: make_keyed(Room, restart="no"), "restart must be a Restart, got 'no'"),
        (lambda: make_keyed(Room, iddle=3), "no option 'iddle'; did you mean 'idle'"),
        (lambda: make_keyed("Room"), "a subclass of actors.Actor, got 'Room'"),
        (lambda: make_keyed(Keyless), r"keyed\(Keyless\): the constructor gets the key first"),
        (lambda: make_keyed(Two), "missing a required argument: 'other'"),
        (
            lambda: make_keyed(wrong(Two, "key", 2)),
            r"further ones go by name in the partial, got 'key' before it",
        ),
        (lambda: make_keyed(wrong(Two, othr=2)), "missing a required argument: 'other'"),
        (lambda: Topology(children=[make_keyed(Room, on="attic")]), "child 'room' runs on 'attic'"),
        (lambda: make_keyed(Room, on=5), "on must be the name of a node or of a group, got 5"),
    ],
)
def test_a_mistake_is_one_error_with_the_value(make: Any, why: str) -> None:
    with pytest.raises(InvalidSpec, match=why):
        make()


def test_the_name_is_that_of_the_class_unless_it_is_given() -> None:
    assert keyed(Room).name == "room"
    assert keyed(partial(Two, other=2)).name == "two"
    assert keyed(Room, name="rooms").name == "rooms"


def test_keywords_of_nested_partials_come_together_the_outer_ones_first() -> None:
    spec = keyed(partial(partial(Room, greeting="a", folder="b"), greeting="c"))

    assert spec.arguments == ((), {"greeting": "c", "folder": "b"})


async def test_books_in_a_topology_start_with_it_also_inside_a_supervisor() -> None:
    topology = Topology(
        nodes=[nodes("box", kind="thread")],
        children=[
            keyed(Room, name="outer", on="box"),
            supervisor("above", [keyed(Room, name="inner"), pool(size=1, on="box", name="work")]),
        ],
    )
    async with System(topology) as system:
        for name, place in (("outer", "box/0"), ("inner", "local")):
            book = await system.keyed(name)
            assert book is not None
            assert await book["x"].ask(Room.where) == place


async def test_two_books_of_one_name_are_refused() -> None:
    inner = supervisor("above", [keyed(Room, name="rooms")])
    with pytest.raises(InvalidSpec, match=r"there is a keyed\('rooms'\) already"):
        async with System(Topology(children=[keyed(Room, name="rooms"), inner])):
            raise AssertionError("it has started")


async def test_addresses_of_books_are_for_messages_and_not_for_pickle() -> None:
    async with System() as system:
        book = await system.start(keyed(Room, restart=Restart.TEMPORARY))
        for address in (book, book["x"]):
            with pytest.raises(TypeError, match="send it in a message"):
                pickle.dumps(address)
