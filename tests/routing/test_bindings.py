"""What the router remembers of the ids that applications make, and how nodes read it."""

import os
from collections.abc import Iterator

import pytest

from actors.routing.sticky.bindings import DIGEST_SIZE, BindingTable, SharedBindings, digest_of


class Table:
    """A table, and its copy as a node has it."""

    def __init__(self, most: int) -> None:
        self.table = BindingTable(most, SharedBindings(most=most))
        self.seen = SharedBindings(os.dup(self.table.copy.fd))

    def bind(self, name: str, slot: int, client: str = "") -> None:
        self.table.bind(digest_of(name.encode()), slot, client)

    def slots(self, *names: str) -> list[int | None]:
        """Return the slots of these ids for the router, which are the same for the node."""
        digests = [digest_of(name.encode()) for name in names]
        seen = [self.seen.slot_of(digest) for digest in digests]
        assert [self.table.slot_of(digest) for digest in digests] == seen
        return seen

    def close(self) -> None:
        self.table.copy.close()
        self.seen.close()


@pytest.fixture
def table() -> Iterator[Table]:
    made = Table(64)
    yield made
    made.close()


def test_an_id_belongs_to_the_node_that_made_it_last(table: Table) -> None:
    table.bind("a", 3)
    table.bind("b", 1)
    assert table.slots("a", "b", "c") == [3, 1, None]
    table.bind("a", 0)
    assert table.slots("a", "b") == [0, 1]
    assert len(table.table) == 2


def test_the_least_recently_used_is_forgotten(table: Table) -> None:
    for number in range(64):
        table.bind(str(number), number % 4)
    assert table.slots("0") == [0]  # which is a use of it
    table.bind("one more", 2)
    assert table.slots("0", "1", "2", "one more") == [0, None, 2, 2]
    assert len(table.table) == 64


def test_one_client_has_a_16th_part_and_drives_out_nobody_else(table: Table) -> None:
    for number in range(40):
        table.bind(f"mine {number}", 1, f"10.0.0.{number}")
    for number in range(100_000 // 64):
        table.bind(f"theirs {number}", 2, "10.9.9.9")
    assert len(table.table) == 44
    assert table.slots(*(f"mine {number}" for number in range(40))) == [1] * 40
    last = [f"theirs {number}" for number in range(1557, 1562)]
    assert table.slots(*last) == [None, 2, 2, 2, 2]


def test_what_a_client_uses_is_the_last_that_its_own_ids_drive_out(table: Table) -> None:
    for name in "abcd":
        table.bind(name, 1, "10.9.9.9")
    assert table.slots("a") == [1]
    table.bind("e", 1, "10.9.9.9")
    assert table.slots("a", "b", "e") == [1, None, 1]


def test_a_client_with_a_network_of_ipv6_addresses_is_one_client(table: Table) -> None:
    for number in range(1, 30):
        table.bind(str(number), 1, f"2001:db8::{number:x}")
    assert len(table.table) == 4
    table.bind("other", 1, "2001:db8:0:1::1")
    assert len(table.table) == 5


def test_a_client_whose_address_nobody_knows_may_have_all_of_it(table: Table) -> None:
    for number in range(80):
        table.bind(str(number), 1)
    assert len(table.table) == 64


def test_the_ids_of_a_slot_that_was_scaled_away_are_forgotten(table: Table) -> None:
    for number in range(8):
        table.bind(str(number), number % 4, "10.9.9.9")
    table.table.keep_slots({0, 1})
    assert table.slots("4", "5", "6", "7") == [0, 1, None, None]
    table.bind("6", 2)
    assert table.slots("6") == [2]


def test_a_small_table_gives_every_client_room_for_one() -> None:
    table = Table(1)
    table.bind("a", 1, "10.0.0.1")
    table.bind("b", 2, "10.0.0.1")
    table.bind("c", 3, "10.0.0.2")
    assert table.slots("a", "b", "c") == [None, None, 3]
    table.close()


def test_long_ids_and_ids_of_any_bytes_take_as_much_room_as_others(table: Table) -> None:
    names = ["x" * 16_000, "", "\0" * 20, "é" * 300]
    for slot, name in enumerate(names):
        table.bind(name, slot)
    assert table.slots(*names) == [0, 1, 2, 3]
    assert {len(digest_of(name.encode())) for name in names} == {DIGEST_SIZE}


def test_a_full_table_has_its_copy_in_two_mebibytes() -> None:
    table = Table(65_536)
    assert os.fstat(table.seen.fd).st_size == 2 * 1024 * 1024
    digests = [digest_of(b"%d" % number) for number in range(65_536)]
    for number, digest in enumerate(digests):
        table.table.copy.put(digest, number % 4)
    read = [table.seen.slot_of(digest) for digest in digests]
    assert sum(slot != number % 4 for number, slot in enumerate(read)) < 50
    table.close()


def test_an_id_that_finds_no_room_in_the_copy_is_with_the_router(table: Table) -> None:
    digests = [bytes(4) + b"%010d" % number for number in range(40)]  # all of one bucket
    for digest in digests:
        table.table.bind(digest, 3, "")
    assert [table.table.slot_of(digest) for digest in digests] == [3] * 40
    assert [table.seen.slot_of(digest) for digest in digests] == [3] * 32 + [None] * 8
    for digest in digests:
        table.table.bind(digest, 1, "")
    assert {table.seen.slot_of(digest) for digest in digests[:20]} == {1}


def test_a_node_cannot_write_what_it_reads_or_make_it_shorter(table: Table) -> None:
    with pytest.raises(PermissionError):
        os.pwrite(table.seen.fd, b"x", 0)
    with pytest.raises(PermissionError):
        os.ftruncate(table.seen.fd, 0)
