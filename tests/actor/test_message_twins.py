"""The message path in C does what its twin in Python does; and what its coroutines are to who holds them."""

from __future__ import annotations

import asyncio
import gc
import inspect
import json
import os
import subprocess
import sys
import warnings
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any
from unittest.mock import AsyncMock, create_autospec

import anyio
import pytest
from hypothesis import given, settings, strategies as st

from actors import Actor, Ref, System
from actors._actor.cell import Cell
from actors._actor.message_loop import MessageLoop
from actors._base.twins import COMPILED
from actors._messaging.mailbox import Envelope, Mailbox
from actors._messaging.mailbox_options import Bounded
from actors._messaging.message_table import Handler, MessageKind
from tests.docs.pages import ROOT

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

needs_c = pytest.mark.skipif(COMPILED is None, reason="the C extensions are not compiled here")
NOTE = Handler("note", lambda: None, MessageKind.CALL)


class Echo(Actor):
    def __init__(self) -> None:
        self.seen: list[Any] = []

    async def say(self, value: Any = None) -> Any:
        self.seen.append(value)
        return value

    async def all(self) -> list[Any]:
        return self.seen

    async def wait(self) -> None:
        await anyio.sleep_forever()


@pytest.fixture
async def echo() -> AsyncIterator[Ref[Echo]]:
    async with System() as system:
        ref = await system.spawn(Echo)
        await ref.wait_ready()
        yield ref


# -- both twins ------------------------------------------------------------------------

METHODS = ["note", "count", "wait", "pause", "fail", "defer", "beside", "tell_itself"]
SENT = st.tuples(
    st.sampled_from(["tell", "ask", "nowait"]),
    st.sampled_from(METHODS),
    st.one_of(st.integers(0, 9), st.lists(st.integers(0, 9), max_size=2), st.text(max_size=3)),
    st.booleans(),
)
STEP = st.one_of(
    SENT,
    st.tuples(st.just("turns"), st.integers(1, 4)),
    st.tuples(st.just("cancel"), st.integers(0, 9)),
    st.just(("open",)),
)


class Twin:
    """A process that runs schedules with the C methods, or without."""

    def __init__(self, switch: str) -> None:
        self._process = subprocess.Popen(
            # -P: where the sanitizers run, the package comes from another folder than the tests.
            [sys.executable, "-P", "-m", "tests.actor.schedule_runner"],
            env=os.environ
            | {
                "ACTORS_SPEEDUPS": switch,
                "PYTHONPATH": f"{os.environ.get('PYTHONPATH', '')}{os.pathsep}{ROOT}",
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self.kind = self.read()

    def read(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def write(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()

    def close(self) -> None:
        self._process.communicate()


@pytest.fixture(scope="module")
def twins() -> Iterator[tuple[Twin, Twin]]:
    both = Twin("0"), Twin("1")
    yield both
    for twin in both:
        twin.close()


@needs_c
@settings(max_examples=30)
@given(schedule=st.lists(STEP, max_size=20))
def test_a_schedule_of_messages_has_the_same_outcome(
    twins: tuple[Twin, Twin], schedule: list[tuple[Any, ...]]
) -> None:
    assert [twin.kind for twin in twins] == ["Python", "C"]
    # A turn ends after 10 ms, too, so that a busy machine may change the order: but not each time.
    for _ in range(8):
        for twin in twins:
            twin.write(json.dumps(schedule))
        outcomes = [json.loads(twin.read()) for twin in twins]
        if outcomes[0] == outcomes[1]:
            return
    assert outcomes[0] == outcomes[1]


# -- the coroutine of a message ----------------------------------------------------------


async def test_a_message_is_a_coroutine_that_a_task_can_be_made_of(echo: Ref[Echo]) -> None:
    message: Any = echo.ask(Echo.say, 5)

    assert (message.__name__, message.__qualname__) == ("ask", "Ref.ask")
    assert isinstance(message, Coroutine)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(echo.tell, Echo.say, 4)
    assert await message == 5


@pytest.mark.parametrize("verb", ["ask", "tell"])
async def test_a_message_that_is_not_awaited_is_warned_of_and_not_sent(
    echo: Ref[Echo], verb: str
) -> None:
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        getattr(echo, verb)(Echo.say, 1)
        gc.collect()

    assert [str(warning.message) for warning in found] == [
        f"coroutine 'Ref.{verb}' was never awaited"
    ]
    assert await echo.ask(Echo.all) == []


async def test_what_is_closed_before_it_begins_sends_nothing(echo: Ref[Echo]) -> None:
    closed, thrown = echo.ask(Echo.say, 1), echo.tell(Echo.say, 2)

    closed.close()
    with pytest.raises(LookupError):
        thrown.throw(LookupError("thrown"))
    for message in (closed, thrown):
        with pytest.raises(RuntimeError, match="cannot reuse already awaited coroutine"):
            await message
    assert await echo.ask(Echo.all) == []


async def test_a_message_that_was_awaited_cannot_be_awaited_again(echo: Ref[Echo]) -> None:
    message = echo.ask(Echo.say, 1)
    await message

    with pytest.raises(RuntimeError, match="cannot reuse already awaited coroutine"):
        await message
    assert await echo.ask(Echo.all) == [1]


async def test_a_message_takes_a_snapshot_when_it_begins_not_when_it_is_made(
    echo: Ref[Echo],
) -> None:
    values = [1]
    message = echo.ask(Echo.say, values)
    values.append(2)

    assert await message == [1, 2]


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_task_that_is_cancelled_before_its_ask_begins_sends_nothing(
    echo: Ref[Echo],
) -> None:
    task = asyncio.ensure_future(echo.ask(Echo.say, 1))
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task
    assert await echo.ask(Echo.all) == []


@pytest.mark.parametrize("verb", ["tell", "ask"])
def test_a_verb_is_an_async_function_to_who_looks(verb: str) -> None:
    function = getattr(Ref, verb)

    assert inspect.iscoroutinefunction(function)
    assert list(inspect.signature(function).parameters) == ["self", "method", "args", "kwargs"]
    assert (function.__name__, function.__qualname__) == (verb, f"Ref.{verb}")
    assert str(inspect.getdoc(function)).startswith("Send a message and ")
    assert f"async def {verb}(" in inspect.getsource(function)
    assert isinstance(getattr(create_autospec(Ref), verb), AsyncMock)


async def test_a_bound_verb_is_an_async_method(echo: Ref[Echo]) -> None:
    verb = echo.ask

    assert inspect.iscoroutinefunction(verb)
    assert await verb(Echo.say, 3) == 3
    assert await Ref.ask(echo, Echo.say, value=4) == 4
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'method'"):
        await Ref.ask(echo)  # type: ignore[call-overload]


def test_a_message_without_a_method_is_an_error_of_the_call() -> None:
    async def main() -> None:
        async with System() as system:
            ref: Any = await system.spawn(Echo)
            with pytest.raises(TypeError, match="missing 1 required positional argument: 'method'"):
                ref.tell()

    asyncio.run(main())


# -- what C is given ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "args,kwargs",
    [((NOTE, (), {}, None, 1.5), {}), ((NOTE, (1,), {"a": 2}), {"reply": 3, "hooks": 4})],
)
def test_an_envelope_has_the_fields_it_is_made_with(
    args: tuple[Any, ...], kwargs: dict[str, Any]
) -> None:
    envelope = Envelope(*args, **kwargs)
    names = ("handler", "args", "kwargs", "reply", "deadline", "hooks")
    expected = dict(zip(names, (*args, *[None] * 6), strict=False)) | kwargs

    assert {name: getattr(envelope, name) for name in names} == expected
    assert envelope.request == 0


@pytest.mark.parametrize("args", [(), (NOTE,), (NOTE, (), {}, None, None, None, None)])
def test_an_envelope_takes_from_three_to_six_fields(args: Any) -> None:
    with pytest.raises(TypeError):
        Envelope(*args)


@needs_c
@pytest.mark.parametrize("cls", [int, Echo], ids=["no class of ours", "no such name"])
def test_only_classes_whose_slots_are_known_can_be_bound(cls: type) -> None:
    with pytest.raises(TypeError, match="nothing is known of the slots"):
        COMPILED.bind(cls)
    with pytest.raises(TypeError, match="bind takes no"):
        COMPILED.bind(nothing=1)
    with pytest.raises(TypeError, match="bind takes classes, got 5"):
        COMPILED.bind(5)


@needs_c
def test_a_class_without_the_slots_of_its_name_cannot_be_bound() -> None:
    with pytest.raises(TypeError, match="has no slot queue"):
        COMPILED.bind(type("Mailbox", (), {"queue": 1}))


@needs_c
@pytest.mark.parametrize(
    "twin,method,arguments",
    [
        ("MailboxMethods", "put", (1,)),
        ("MailboxMethods", "wake", ()),
        ("CellMethods", "send", (NOTE, (), {})),
        ("CellMethods", "try_send", (1,)),
        ("CellMethods", "deliver", (1,)),
        ("MessageLoopMethods", "_step_now", (1,)),
        ("MessageLoopMethods", "_drain", (0.0,)),
        ("EnvelopeMethods", "__init__", (1, 2, 3)),
    ],
)
def test_a_method_refuses_an_object_without_the_slots(
    twin: str, method: str, arguments: tuple[Any, ...]
) -> None:
    bare: Any = object.__new__(type("Bare", (getattr(COMPILED, twin),), {}))
    with pytest.raises(TypeError, match="not of the class that has its C twin"):
        getattr(bare, method)(*arguments)


@needs_c
@pytest.mark.parametrize("cls", [Cell, Mailbox, MessageLoop])
def test_an_object_that_was_not_initialised_is_an_error_and_no_crash(cls: Any) -> None:
    empty = object.__new__(cls)
    calls: dict[Any, list[Any]] = {
        Cell: [("send", NOTE, (), {}), ("try_send", Envelope(NOTE, (), {}))],
        Mailbox: [("put", 1)],
        MessageLoop: [("_step_now", Envelope(NOTE, (), {})), ("_drain", 0.0)],
    }
    for name, *arguments in calls[cls]:
        with pytest.raises((TypeError, AttributeError)):
            getattr(empty, name)(*arguments)


def test_a_mailbox_wakes_its_waiter_once() -> None:
    loop = asyncio.new_event_loop()
    mailbox = Mailbox(Bounded(2), loop.create_future)
    waker = loop.create_future()
    setattr(mailbox, "waker", waker)  # noqa: B010 - a checker would believe that it stays

    mailbox.put(Envelope(NOTE, (1,), {}))
    mailbox.wake()

    assert waker.done()
    assert mailbox.waker is None
    assert len(mailbox) == 1
    loop.close()
