"""Arguments that a method does not take are the sender's error, on every kind of node."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import anyio
import pytest

from actors import Actor, OnError, concurrent
from actors._messaging.mailbox import Envelope
from actors._messaging.message_table import handlers_of
from actors._messaging.stream import Stream
from tests.contracts.node_under_test import NodeUnderTest


def _logged(fn: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    @functools.wraps(fn)
    async def wrapper(self: Any, *args: Any, extra: int = 0, **kwargs: Any) -> Any:
        return await fn(self, *args, **kwargs), extra

    return wrapper


class Ledger(Actor, on_error={TypeError: OnError.RESTART}):
    def __init__(self) -> None:
        self.total = 0

    async def add(self, by: int, /, times: int = 1, *, bonus: int = 0) -> int:
        self.total += by * times + bonus
        return self.total

    async def needs_key(self, *, key: str) -> str:
        return key

    async def any_number(self, first: int, *rest: int, **named: int) -> int:
        return first + sum(rest) + sum(named.values())

    async def captured(self, name: str) -> str:
        return (lambda: name)()  # noqa: PLC3002 - makes it a variable of a closure

    @concurrent
    async def beside(self, by: int) -> int:
        return by

    async def upto(self, n: int) -> AsyncIterator[int]:
        for number in range(n):
            yield number

    @_logged
    async def wrapped(self, by: int) -> int:
        return by


class Generous(Ledger):
    """Takes more than the class its senders name."""

    async def add(self, by: int, /, times: int = 1, *more: int, bonus: int = 0) -> int:
        self.total += by * times + bonus + sum(more)
        return self.total


WRONG: dict[str, tuple[Any, tuple[Any, ...], dict[str, Any], str]] = {
    "too many": (Ledger.add, (1, 2, 3), {}, "Ledger.add() takes from 2 to 3 positional arguments"),
    "too few": (Ledger.add, (), {}, "Ledger.add() missing 1 required positional argument: 'by'"),
    "unknown": (Ledger.add, (1,), {"tmies": 2}, "unexpected keyword argument 'tmies'"),
    "twice": (Ledger.add, (1, 2), {"times": 2}, "multiple values for argument 'times'"),
    "no keyword": (
        Ledger.add,
        (),
        {"by": 2},
        "positional-only arguments passed as keyword arguments",
    ),
    "keyword missing": (Ledger.needs_key, (), {}, "missing 1 required keyword-only argument"),
    "captured": (Ledger.captured, (), {}, "missing 1 required positional argument: 'name'"),
    "concurrent": (Ledger.beside, (), {}, "Ledger.beside() missing 1 required positional argument"),
}


@pytest.mark.parametrize("case", WRONG)
async def test_wrong_arguments_are_a_type_error_at_the_sender_and_nothing_is_sent(
    node: NodeUnderTest, case: str
) -> None:
    method, args, kwargs, text = WRONG[case]
    ledger = await node.spawn(Ledger)
    await ledger.ask(Ledger.add, 5)
    for target in (ledger, ledger.within(5)):
        for verb in (target.tell, target.ask):
            with pytest.raises(TypeError) as caught:
                await verb(method, *args, **kwargs)
            assert text in str(caught.value)
    with pytest.raises(TypeError):
        ledger.tell_nowait(method, *args, **kwargs)
    assert await ledger.ask(Ledger.add, 0) == 5


async def test_whatever_the_method_itself_takes_is_sent(node: NodeUnderTest) -> None:
    ledger = await node.spawn(Ledger)
    with anyio.fail_after(5):
        assert await ledger.ask(Ledger.add, 1, times=2, bonus=1) == 3
        assert await ledger.ask(Ledger.needs_key, key="k") == "k"
        assert await ledger.ask(Ledger.any_number, 1, 2, 3, a=4) == 10  # type: ignore[arg-type]
        assert await ledger.ask(Ledger.wrapped, 1, extra=2) == (1, 2)  # type: ignore[comparison-overlap]
        generous = await node.spawn(Generous)
        assert await generous.ask(Ledger.add, 1, 1, 5) == 6  # type: ignore[call-overload]


async def test_a_stream_or_timer_with_wrong_arguments_is_a_type_error_at_the_call(
    node: NodeUnderTest,
) -> None:
    class Clock(Actor):
        async def start(self) -> None:
            self.context.timers.once(0, Clock.tick, 1)  # type: ignore[call-overload]

        async def tick(self) -> None: ...

    ledger = await node.spawn(Ledger)
    with pytest.raises(TypeError, match=r"Ledger.upto\(\) missing 1 required"):
        async with ledger.stream(Ledger.upto):  # type: ignore[call-arg]
            pass
    clock = await node.spawn(Clock, on=node.system.node.name)
    with pytest.raises(TypeError, match=r"Clock.tick\(\) takes 1 positional argument but 2"):
        await clock.ask(Clock.start)


@pytest.mark.parametrize("method", [Ledger.add, Ledger.beside])
async def test_what_does_not_fit_at_the_receiver_fails_its_asker_or_is_a_dead_letter(
    node: NodeUnderTest, method: Any
) -> None:
    """A sender whose class is another version of the receiver's sends what that does not take."""
    events = node.system.events()
    ledger = await node.spawn(Ledger)
    await ledger.ask(Ledger.add, 5)
    handler = handlers_of(Ledger)[method]
    target = ledger.host.resolve(ledger)
    with anyio.fail_after(5):
        assert target.try_send(Envelope(handler, (1, 2, 3, 4), {}))
        async for event in events:
            if event.kind == "dead_letter" and event.facts["actor"] == ledger.name:
                break
        events.close()
        assert f"{handler.name}() takes" in event.facts["reason"]
        reply = ledger.host.loop.waiter()
        assert target.try_send(Envelope(handler, (), {}, reply))
        with pytest.raises(TypeError, match="missing 1 required"):
            await reply
        assert await ledger.ask(Ledger.add, 0) == 5
        items: Any = Stream(ledger.host.loop.waiter)
        assert target.try_send(Envelope(handlers_of(Ledger)[Ledger.upto], (), {}, items))
        with pytest.raises(TypeError, match="missing 1 required"):
            await anext(items)
        assert await ledger.ask(Ledger.add, 0) == 5
