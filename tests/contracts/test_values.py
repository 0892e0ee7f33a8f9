"""What travels means the same on every kind of node: snapshots, refusals, errors, messages."""

from __future__ import annotations

import functools
import operator
import socket
import threading
from collections.abc import Callable, Iterable
from typing import Any

import anyio
import numpy as np
import pytest

from actors import Actor
from actors.errors import MessageTooBig, NotAMessage, NotSendable, RemoteError
from actors.transport import ENVELOPE, FRAME_LIMIT
from tests.contracts.contract_actors import (
    Cart,
    Circle,
    Counting,
    Keeper,
    Other,
    OutOfStock,
    Shop,
    Worker,
)
from tests.contracts.node_under_test import NodeUnderTest, send
from tests.contracts.payloads import LARGEST

# -- snapshots


async def test_a_message_is_what_it_was_when_it_was_sent(node: NodeUnderTest) -> None:
    keeper = await node.spawn(Keeper)
    cart = Cart("ann", ["apple"])
    with anyio.fail_after(5):
        await keeper.tell(Keeper.take, cart)
        cart.items.append("added after the tell")
        assert await keeper.ask(Keeper.show) == Cart("ann", ["apple"])


async def test_a_receiver_changes_its_own_copy(node: NodeUnderTest) -> None:
    keeper = await node.spawn(Keeper)
    cart = Cart("ann", ["apple"])
    with anyio.fail_after(5):
        spoilt = await keeper.ask(Keeper.spoil, cart)
    assert cart == Cart("ann", ["apple"])
    assert spoilt == Cart("ann", ["apple", "spoilt by the receiver"])


async def test_a_result_is_a_copy_of_what_the_actor_keeps(node: NodeUnderTest) -> None:
    keeper = await node.spawn(Keeper)
    with anyio.fail_after(5):
        await keeper.tell(Keeper.take, Cart("ann", ["apple"]))
        shown = await keeper.ask(Keeper.show)
        shown.items.append("mine alone")
        await keeper.tell(Keeper.add, "pear")
        assert shown.items == ["apple", "mine alone"]
        assert (await keeper.ask(Keeper.show)).items == ["apple", "pear"]


async def test_constructor_arguments_are_copied_at_spawn_and_at_every_restart(
    node: NodeUnderTest,
) -> None:
    cart = Cart("ann", ["apple"])
    keeper = await node.spawn(Keeper, cart)
    cart.items.append("added after the spawn")
    with anyio.fail_after(5):
        await keeper.tell(Keeper.add, "of the first incarnation")
        assert len((await keeper.ask(Keeper.show)).items) == 2
        await keeper.tell(Keeper.crash)
        assert await keeper.ask(Keeper.show) == Cart("ann", ["apple"])


@pytest.mark.parametrize(
    "value",
    [1, 2**80, b"", bytearray(b"x"), (1, (2,)), [1], {"a": {1: None}}, {1, 2}, frozenset({3}), 1.5],
    ids=repr,
)
async def test_a_value_comes_back_equal_and_of_the_same_type(
    node: NodeUnderTest, value: Any
) -> None:
    keeper = await node.spawn(Keeper)
    with anyio.fail_after(5):
        back = await keeper.ask(Keeper.echo, value)
    assert back == value
    assert type(back) is type(value)


async def test_numpy_values_reach_a_node_that_has_not_imported_numpy(node: NodeUnderTest) -> None:
    np = pytest.importorskip("numpy")
    keeper = await node.spawn(Keeper)
    with anyio.fail_after(20):
        assert await keeper.ask(Keeper.echo, np.int64(3)) == 3
        back = await keeper.ask(Keeper.echo, np.arange(40_000)[::2])
    assert back.tolist() == list(range(0, 40_000, 2))


async def test_functions_classes_and_partials_arrive_and_can_be_called(node: NodeUnderTest) -> None:
    keeper = await node.spawn(Keeper, Cart("ann", [len]))  # type: ignore[list-item] # any value is an item
    items = [3, 1, 2]
    work: list[Any] = [functools.partial(divmod, 7), sorted, str.upper, Cart]
    work.append(functools.partial(sorted, items, key=operator.neg))
    with anyio.fail_after(5):
        for function in work:
            await keeper.tell(Keeper.add, function)
        items.clear()
        assert await keeper.ask(Keeper.call, 0, ["a", "b"]) == 2
        assert await keeper.ask(Keeper.call, 1, 4) == (1, 3)
        assert await keeper.ask(Keeper.call, 2, {2, 1}) == [1, 2]
        assert await keeper.ask(Keeper.call, 3, "up") == "UP"
        assert await keeper.ask(Keeper.call, 4, "eve") == Cart("eve")
        assert await keeper.ask(Keeper.call, 5) == [3, 2, 1]
        back = await keeper.ask(Keeper.echo, work[1:4])
    assert back == work[1:4]


async def test_a_class_registered_as_a_pickle_arrives_whole(node: NodeUnderTest) -> None:
    keeper = await node.spawn(Keeper)
    circle = Circle([np.arange(20_000), "x"])
    with anyio.fail_after(20):
        for _ in range(2):
            back = await keeper.ask(Keeper.echo, [circle])
            assert back[0].me is back[0]
            assert back[0].items[0].sum() == np.arange(20_000).sum()
            assert back[0].items[1] == "x"


# -- what does not travel


def every_kind_and_verb(kinds: Iterable[str]) -> list[tuple[str, str]]:
    """Each kind once, and each verb once."""
    first, *_ = listed = list(kinds)
    return [(kind, "ask") for kind in listed] + [(first, "tell"), (first, "tell_nowait")]


async def _coroutine() -> None: ...


UNSENDABLE: dict[str, tuple[Callable[[], Any], str]] = {
    "function": (lambda: lambda: None, "a lambda has no name to import it by"),
    "lock": (threading.Lock, "locks belong to one process"),
    "generator": (lambda: (i for i in [1]), "running code does not travel"),
    "coroutine": (_coroutine, "running code does not travel"),
    "socket": (socket.socket, "sockets are passed as descriptors"),
    "object": (object, "object is not a known type"),
}


@pytest.mark.parametrize("kind, verb", every_kind_and_verb(UNSENDABLE))
async def test_what_cannot_travel_is_refused_at_the_sender_by_its_path(
    node: NodeUnderTest, kind: str, verb: str
) -> None:
    keeper = await node.spawn(Keeper)
    make, why = UNSENDABLE[kind]
    value = make()
    message = Cart("ann", ["fine", {"deep": (1, value)}])  # type: ignore[list-item] # that is the test
    with anyio.fail_after(5):
        with pytest.raises(NotSendable) as caught:
            await send(keeper, verb, Keeper.take, message)
        # Nothing was delivered, and what comes next is.
        assert await keeper.ask(Keeper.show) == Cart("nobody")
    assert caught.value.path == "args[0].items[1]['deep'][1]"
    assert why in str(caught.value)
    if isinstance(value, socket.socket) or hasattr(value, "close"):
        value.close()


async def test_a_keyword_argument_that_cannot_travel_is_named(node: NodeUnderTest) -> None:
    keeper = await node.spawn(Keeper)
    with anyio.fail_after(5), pytest.raises(NotSendable) as caught:
        await keeper.ask(Keeper.echo, value=[object()])
    assert caught.value.path == "value[0]"


async def test_a_constructor_argument_that_cannot_travel_is_refused_at_the_spawn(
    node: NodeUnderTest,
) -> None:
    with pytest.raises(NotSendable) as caught:
        await node.spawn(Keeper, {"x": threading.Lock()}, name="never")
    assert caught.value.path == "args[0]['x']"
    assert await node.system.lookup("never") is None


async def test_a_result_that_cannot_travel_is_the_askers_error_and_the_actor_lives(
    node: NodeUnderTest,
) -> None:
    keeper = await node.spawn(Keeper)
    with anyio.fail_after(5):
        with pytest.raises(NotSendable, match="locks belong to one process") as caught:
            await keeper.ask(Keeper.lock)
        assert caught.value.path == "reply[0]"
        assert await keeper.ask(Keeper.echo, 1) == 1


async def test_what_is_over_the_largest_size_is_refused_to_whoever_asked(
    node: NodeUnderTest,
) -> None:
    keeper = await node.spawn(Keeper)
    size = LARGEST + ENVELOPE
    with anyio.fail_after(30):
        if not node.remote:
            assert len(await keeper.ask(Keeper.spaces, size)) == size
            return
        with pytest.raises(MessageTooBig) as caught:
            await keeper.ask(Keeper.echo, " " * size)
        assert str(caught.value).startswith(f"{keeper}: the message takes ")
        assert f"a message may have {LARGEST} (largest=); node " in str(caught.value)
        assert "bytes (lend_per_node=): " in str(caught.value)
        assert caught.value.message is not None
        with pytest.raises(MessageTooBig, match=r"its reply: .* \(largest=\); node ") as caught:
            await keeper.ask(Keeper.spaces, size)
        assert caught.value.message == ("spaces", (size,), {})
        assert await keeper.ask(Keeper.echo, 1) == 1


@pytest.mark.parametrize(
    "make",
    [lambda n: " " * n, bytes, bytearray, lambda n: [b"", b"x" * n]],
    ids=["str", "bytes", "bytearray", "list"],
)
async def test_what_fits_no_frame_arrives_all_the_same(
    node: NodeUnderTest, make: Callable[[int], Any]
) -> None:
    keeper = await node.spawn(Keeper)
    with anyio.fail_after(40):
        for size in (FRAME_LIMIT, FRAME_LIMIT + 1):
            value = make(size)
            assert await keeper.ask(Keeper.echo, value) == value


# -- errors


async def test_a_handlers_error_comes_with_all_it_holds_and_the_actor_lives(
    node: NodeUnderTest,
) -> None:
    shop = await node.spawn(Shop)
    with anyio.fail_after(5):
        with pytest.raises(OutOfStock, match="tea: 3 left") as caught:
            await shop.ask(Shop.buy, "tea")
        assert await shop.ask(Shop.alive)
    error = caught.value
    assert (error.item, error.left) == ("tea", 3)
    assert "order more on Monday" in error.__notes__
    assert isinstance(error.__cause__, KeyError)
    assert error.__cause__.args == ("tea",)


async def test_an_error_of_a_class_nobody_can_import_still_arrives(node: NodeUnderTest) -> None:
    shop = await node.spawn(Shop)
    with anyio.fail_after(5):
        with pytest.raises(Exception, match="of a class nobody can import") as caught:
            await shop.ask(Shop.local_error)
        assert await shop.ask(Shop.alive)
    if node.remote:
        assert type(caught.value) is RemoteError
        assert "Unheard" in str(caught.value)
    else:
        assert type(caught.value).__name__ == "Unheard"


# -- what is a message


class Unrelated:
    async def note(self, value: object) -> None: ...


NOT_MESSAGES: dict[str, tuple[Any, str]] = {
    "private": (Worker._secret, "Worker._secret is private"),
    "sync": (Worker.plain, "Worker.plain is not async"),
    "hook": (Actor.on_start, "Actor.on_start is a hook of Actor"),
    "of another actor": (Other.note, "Other.note is not a method of Worker"),
    "of no actor": (Unrelated.note, "Unrelated.note is not a method of Worker"),
    "stream of another": (Counting.upto, "Counting.upto is not a method of Worker"),
    "bound": (Unrelated().note, "a message is a method of the class, like Worker."),
    "text": ("note", "a message is a method of the class, like Worker."),
    "class": (Worker, "a message is a method of the class, like Worker."),
    "nothing": (None, "a message is a method of the class, like Worker."),
    "unhashable": ([], "a message is a method of the class, like Worker."),
}


@pytest.mark.parametrize("kind, verb", every_kind_and_verb(NOT_MESSAGES))
async def test_what_is_no_message_is_refused_with_what_would_be(
    node: NodeUnderTest, kind: str, verb: str
) -> None:
    worker = await node.spawn(Worker)
    method, why = NOT_MESSAGES[kind]
    with anyio.fail_after(5):
        with pytest.raises(NotAMessage) as caught:
            await send(worker, verb, method, 1)
        assert await worker.ask(Worker.logged) == []
    assert str(caught.value).startswith(why)
    assert isinstance(caught.value, TypeError)


async def test_a_message_called_like_a_method_is_refused_with_the_right_call(
    node: NodeUnderTest,
) -> None:
    counting = await node.spawn(Counting)
    with pytest.raises(
        AttributeError, match=r"to send a message: await ref\.ask\(Counting\.how_many"
    ):
        counting.how_many  # type: ignore[attr-defined] # noqa: B018 - the mistake is to look for it
