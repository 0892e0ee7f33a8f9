"""What newcomers get wrong: each mistake is one error where it was made, and the pool goes on."""

from __future__ import annotations

import math
import sys
from typing import Any

import anyio
import pytest

from actors import Actor, System, nodes, pool
from actors.errors import InvalidSpec, NotAMessage, NotSendable, StartFailed
from tests.pools.functions import fail, square, square_later


class Member(Actor):
    """A member of a pool."""

    async def hello(self) -> str:
        return "hello"


class Unsendable:
    """Holds nothing, and no node knows how to send it."""

    def method(self) -> None:
        """Do nothing."""


def generator() -> Any:
    """Yield."""
    yield 1


def no_model() -> None:
    """Fail to prepare a worker."""
    raise RuntimeError("no model")


async def test_each_mistake_of_a_call_is_refused_at_the_call_and_the_pool_goes_on() -> None:
    with anyio.fail_after(60):
        async with System() as system:
            work: Any = await system.start(pool(size=1, name="work", kind="thread"))
            coroutine = square_later(3)
            mistakes: list[tuple[Any, type[Exception], str]] = [
                (
                    (coroutine,),
                    InvalidSpec,
                    "give run the function and its arguments, not a coroutine",
                ),
                (("fns.square", 3), InvalidSpec, "got 'fns.square'"),
                ((generator,), InvalidSpec, "is a generator function"),
                ((lambda: 1,), NotSendable, "is a lambda"),
                ((Unsendable().method,), NotSendable, "bound to Unsendable"),
                ((square, sys.stdout.buffer), NotSendable, r"^args\[0\]: cannot send"),
                ((square, 1, 2), TypeError, "takes 1 positional argument but 2 were given"),
            ]
            for call, kind, message in mistakes:
                with pytest.raises(kind, match=message):
                    await work.run(*call)
            coroutine.close()
            for option, message in (
                ({"timeout": 0}, "timeout must be more than 0 seconds, or None, got 0"),
                ({"timeout": 1}, "a worker of kind='thread' cannot be ended"),
                ({"retry": -1}, "retry must be a whole number of 0 or more, got -1"),
                ({"priority": "high"}, "priority must be a whole number"),
                (
                    {"priority": 2**63},
                    "of 64 bits at most; higher runs first, got 92233720368547758",
                ),
            ):
                with pytest.raises(InvalidSpec, match=message):
                    await work.run(square, 3, **option)
            for seconds in (0, -1, math.nan, "1", None, True):
                with pytest.raises(ValueError, match=f"must be more than 0, got {seconds!r}"):
                    work.within(seconds)
            for inputs, options, message in (
                ((), {}, "needs an iterable of inputs"),
                ((5,), {}, "inputs must be iterable, got 5"),
                (([1],), {"chunk": 0}, "chunk must be a whole number of 1 or more, got 0"),
                (([1],), {"window": 0}, "window must be a whole number of 1 or more, got 0"),
            ):
                with pytest.raises(InvalidSpec, match=message):
                    work.map(square, *inputs, **options)
            with pytest.raises(TypeError, match="multiple values for keyword argument 'ordered'"):
                work.as_completed(square, [1], ordered=True)
            for size in (0, 1.5, "2"):
                with pytest.raises(ValueError, match=f"whole number of 1 or more, got {size!r}"):
                    work.executor().map(square, [1], chunksize=size)
            with pytest.raises(InvalidSpec, match="has no class and takes functions"):
                await work.ask(Member.hello)
            assert await work.run(square, 3) == 9


async def test_each_mistake_of_a_pool_is_refused_where_it_is_started() -> None:
    with anyio.fail_after(60):
        async with System() as system:
            members: Any = await system.start(pool(Member, size=1, kind="thread"))
            with pytest.raises(NotAMessage, match="square is not a method of Member"):
                await members.ask(square, 3)
            with pytest.raises(InvalidSpec, match="there is a pool 'member' already"):
                await system.start(pool(Member, size=1, kind="thread"))
            with pytest.raises(InvalidSpec, match="on='nowhere' is no node or group"):
                await system.start(pool(size=1, name="lost", on="nowhere"))
            with pytest.raises(StartFailed, match="no model"):
                await system.start(pool(size=1, name="broken", kind="thread", init=no_model))
            assert await system.pool("broken") is None
            await system.start(nodes("web", kind="thread"))
            shared = await system.start(pool(size=1, name="own", kind="thread", per_node="web"))
            with pytest.raises(InvalidSpec, match="is one for each node of 'web'"):
                await shared.run(square, 3)
            assert [node.name for node in system.nodes] == ["local", "member/0", "web/0"]


@pytest.mark.parametrize(
    "options, message",
    [
        ({"nme": "work"}, "has no option 'nme'; did you mean 'name'"),
        ({"size": 1.5}, "size must be a whole number of 1 or more, got 1.5"),
        ({"name": "a b"}, "named with letters, digits, - and _; got 'a b'"),
        ({"preload": "numpy"}, "preload must be a list of names of modules, got 'numpy'"),
        ({"kind": "thread", "recycle": 5}, "recycle=5 needs workers with process nodes"),
        ({"on": "box", "kind": "process"}, "kind='process' is of nodes of its own"),
        ({"init": lambda: 1}, "is a lambda"),
        ({"size": 5, "max": 4}, "size=5 is not between min=5 and max=4"),
        ({"grace": -1}, "grace must be 0 or more seconds, got -1"),
        ({"grace": math.nan}, "grace must be 0 or more seconds, got nan"),
        ({"name": ""}, "name must be a non-empty text, got ''"),
        ({"on": 3}, "on must be a non-empty text, got 3"),
        ({"per_node": ""}, "per_node must be a non-empty text, got ''"),
        ({"init": 3}, "init must be a function without arguments, got 3"),
        ({"init": square}, "init= is called without arguments: missing a required argument"),
    ],
)
def test_an_option_that_can_never_work_is_refused_by_name(
    options: dict[str, Any], message: str
) -> None:
    with pytest.raises((InvalidSpec, NotSendable), match=message):
        pool(**options)


def test_without_a_class_there_is_nothing_that_takes_arguments() -> None:
    made: Any = pool
    with pytest.raises(InvalidSpec, match="without a class there is no constructor to take 3"):
        made(None, 3, name="work")
    with pytest.raises(InvalidSpec, match=r"init= is for functions; Member has a constructor"):
        made(Member, init=fail)
