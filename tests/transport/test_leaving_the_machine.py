"""Between machines everything is copied, and what cannot be is refused by its path before anything moves."""

import gc
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from anyio.abc import UNIXSocketStream

from actors.transport import (
    Buffer,
    Moved,
    SharedArray,
    SharedBuffer,
    Unsendable,
    move,
    set_thread_pool,
)
from tests.transport.attachment_link import AttachmentLink

BIG = 300_000


@pytest.fixture
def link() -> Iterator[AttachmentLink]:
    made = AttachmentLink()
    made.here.refuse_descriptors()
    set_thread_pool(made.pool)
    yield made
    gc.collect()
    made.close()


@dataclass
class Order:
    number: int
    items: list[Any]


def test_memory_is_never_lent(link: AttachmentLink) -> None:
    link.warm(BIG, 3)
    values = [
        bytes(BIG),
        bytearray(BIG),
        memoryview(bytes(BIG)),
        np.zeros(BIG, np.uint8),
        Buffer(BIG),
    ]
    got = link.ship(values)
    assert [len(value) for value in got] == [BIG] * 5
    assert link.pool.stats().leases == link.here.bytes_lent == 0


def test_a_moved_buffer_and_bytearray_are_copied_and_gone(link: AttachmentLink) -> None:
    link.warm(BIG, 3)
    buffer, array, small = Buffer(BIG), bytearray(b"x" * BIG), bytearray(b"abc")
    buffer[:4] = b"mine"
    got = link.ship(Order(1, [move(buffer), move(array), move(small)])).items
    assert (bytes(got[0][:4]), bytes(got[1]), bytes(got[2])) == (b"mine", b"x" * BIG, b"abc")
    assert (buffer.moved, len(array), len(small)) == (True, 0, 0)
    with pytest.raises(Moved):
        buffer.view()
    assert link.pool.stats().leases == 0


def test_a_buffer_that_another_node_of_this_machine_lent_is_copied_on(link: AttachmentLink) -> None:
    local = AttachmentLink()
    local.warm(BIG)
    buffer = Buffer(BIG)
    buffer[:4] = b"mine"
    here = local.ship(move(buffer))
    assert bytes(link.ship(move(here))[:4]) == b"mine"
    assert here.moved
    local.settle()
    assert local.pool.stats().leases == 0
    local.close()


@pytest.mark.parametrize("kind", ["socket", "SharedBuffer", "SharedArray"])
def test_what_has_descriptors_is_refused_by_its_path_and_nothing_has_moved(
    link: AttachmentLink, kind: str
) -> None:
    ours, theirs = socket.socketpair()
    values: dict[str, Any] = {
        "socket": move(theirs),
        "SharedBuffer": SharedBuffer(64),
        "SharedArray": SharedArray.from_array(np.zeros((4, 4))),
    }
    buffer = Buffer(BIG)
    with ours, theirs:
        with pytest.raises(Unsendable, match="it cannot leave this machine") as caught:
            link.encoder.encode_args((Order(1, [move(buffer), values[kind]]),), {})
        link.here.transaction.undo()
        assert caught.value.path == "args[0].items[1]"
        assert theirs.fileno() >= 0
    assert not buffer.moved


def test_inside_of_an_answer_the_reason_is_the_same(link: AttachmentLink) -> None:
    with link.here.only_copies(), pytest.raises(Unsendable, match="it cannot leave this machine"):
        link.encoder.encode_value(SharedBuffer(8))
    with (
        link.here.only_copies(descriptors=True),
        pytest.raises(Unsendable, match="it cannot leave this machine"),
    ):
        link.encoder.encode_value(SharedBuffer(8))


async def test_a_stream_is_refused_and_stays_open(link: AttachmentLink) -> None:
    ours, theirs = socket.socketpair()
    cls: Any = UNIXSocketStream
    async with await cls.from_socket(ours) as near, await cls.from_socket(theirs) as far:
        with pytest.raises(Unsendable, match="it cannot leave this machine") as caught:
            link.encoder.encode_args(([move(far)],), {})
        link.here.transaction.undo()
        assert caught.value.path == "args[0][0]"
        await near.send(b"open")
        assert await far.receive() == b"open"
