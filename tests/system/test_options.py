"""A constructor's arguments and the options beside them are checked at the call, with a suggestion."""

from __future__ import annotations

import dataclasses
from typing import Any, Generic, TypeVar

import anyio
import pytest

from actors import (
    Actor,
    Backoff,
    Budget,
    LeastConnections,
    RoundRobin,
    Sticky,
    System,
    Topology,
    asgi,
    batched,
    child,
    concurrent,
    keys,
    listen,
    nodes,
    policies,
    pool,
    run,
)
from actors.errors import InvalidSpec, NameTaken
from actors.routing import BadListener, key
from actors.supervisors import ChildSpec, DynamicSupervisor, InvalidPolicy, Supervisor

T = TypeVar("T")


class Room(Actor):
    def __init__(self, title: str = "", *, size: int = 0, mailbox: int = 0, name: str = "") -> None:
        self.facts = (title, size, mailbox, name)

    async def show(self) -> tuple[str, int, int, str]:
        return self.facts


class Named(Actor):
    def __init__(self, name: str, on: int = 0) -> None:
        self.facts = (name, on)

    async def show(self) -> tuple[str, int]:
        return self.facts

    async def spawn_child(self, options: dict[str, Any]) -> None:
        await self.context.spawn(Named, **options)


class Loose(Actor):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.facts = (args, kwargs)


class Bare(Actor):
    pass


class Stack(Actor, Generic[T]):
    async def push(self, item: T) -> T:
        return item


WRONG: dict[str, tuple[Any, tuple[Any, ...], dict[str, Any], str]] = {
    "misspelt": (Room, (), {"restrat": 1}, "constructor; did you mean 'restart'?"),
    "misspelt parameter": (Room, (), {"titel": "x"}, "did you mean 'title'?"),
    "unknown": (Bare, (), {"colour": 1}, "'colour' is neither an option of {} nor a parameter of the "),
    "collision": (Named, (), {"name": "x"}, "name= is an option of {}, and a parameter of the constr"),
    "keyword only": (Room, (), {"mailbox": 5}, "mailbox= is an option of {}, and a parameter of the"),
    "too many": (Bare, (1,), {}, "its constructor: too many positional arguments"),
    "missing": (Named, (), {}, "its constructor: missing a required argument: 'name'"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
async def test_what_the_constructor_does_not_take_is_refused_at_the_call(case: str) -> None:
    cls, args, kwargs, text = WRONG[case]
    calls: dict[str, Any] = {"child": child, "spawn": System().spawn}
    if cls is not Room:  # which has a parameter size
        calls["pool"] = pool
    for name, call in calls.items():
        more = {"size": 2} if name == "pool" else {}
        with pytest.raises(InvalidSpec) as caught:
            call(cls, *args, **kwargs, **more)
        assert f"{name}({cls.__name__})" in str(caught.value)
        assert text.format(name) in str(caught.value)


def test_a_name_taken_by_an_option_can_be_given_by_position() -> None:
    assert child(Named, "kitchen", name="x").args == ("kitchen",)
    assert child(Named, "kitchen", name="x").name == "x"
    assert child(Named, "kitchen", 3, on="web").args == ("kitchen", 3)
    assert child(Loose, 1, colour=2).kwargs == {"colour": 2}
    assert child(Room, size=3).kwargs == {"size": 3}
    with pytest.raises(InvalidSpec, match="size= is an option of pool, and a parameter"):
        pool(Room, size=3)


async def test_a_child_of_an_actor_is_checked_too() -> None:
    async with System() as system:
        named = await system.spawn(Named, "x")
        with pytest.raises(InvalidSpec, match="name= is an option of spawn, and a parameter"):
            await named.ask(Named.spawn_child, {"name": "y"})


def test_unknown_fields_of_a_topology_and_options_of_a_system_are_refused_with_a_suggestion() -> (
    None
):
    make: Any
    for make, wrong, right in ((Topology, "node", "nodes"), (System, "traec", "trace")):
        with pytest.raises(
            InvalidSpec,
            match=rf"{make.__name__}\(\) has no option '{wrong}'; did you mean '{right}'",
        ):
            make(**{wrong: ()})


SPECS: list[tuple[Any, str, str, type[InvalidSpec]]] = [
    (Budget, "restart", "restarts", InvalidPolicy),
    (Backoff, "frist", "first", InvalidPolicy),
    (ChildSpec, "shutdwon", "shutdown", InvalidPolicy),
    (Supervisor, "stratgy", "strategy", InvalidPolicy),
    (DynamicSupervisor, "max_childs", "max_children", InvalidPolicy),
    (Sticky, "falback", "fallback", BadListener),
    (keys.cookie, "sett", "set", BadListener),
    (keys.query, "nam", "name", BadListener),
    (keys.header, "nam", "name", BadListener),
    (keys.path, "segment", "segments", BadListener),
    (keys.key, "fun", "fn", BadListener),
    (listen, "polcy", "policy", BadListener),
    (asgi, "factori", "factory", BadListener),
    (batched, "mots", "most", InvalidSpec),
    (concurrent, "limt", "limit", InvalidSpec),
    (run, "bakend", "backend", InvalidSpec),
]


@pytest.mark.parametrize("case", SPECS, ids=lambda case: case[0].__name__)
def test_a_misspelt_keyword_of_a_policy_a_spec_or_a_key_is_refused_with_a_suggestion(
    case: tuple[Any, str, str, type[InvalidSpec]],
) -> None:
    make, wrong, right, error = case
    with pytest.raises(error) as caught:
        make(**{wrong: 1})
    assert str(caught.value) == (
        f"{make.__name__}() has no option {wrong!r}; did you mean {right!r}?"
    )


@pytest.mark.parametrize(
    "make", [LeastConnections, RoundRobin, policies.ReusePort, policies.SharedListener, keys.ip]
)
def test_what_has_no_options_says_so(make: Any) -> None:
    with pytest.raises(BadListener, match=rf"^{make.__name__}\(\) has no option 'x'; it has none$"):
        make(x=1)


def test_a_spec_that_is_copied_with_a_change_is_checked_too() -> None:
    assert dataclasses.replace(Budget(), restarts=7) == Budget(restarts=7)
    with pytest.raises(InvalidPolicy, match="did you mean 'restarts'"):
        dataclasses.replace(Budget(), restart=7)  # type: ignore[call-arg] # that is the test


async def test_get_or_spawn_of_another_class_is_refused() -> None:
    async with System() as system:
        first = await system.spawn(Bare, name="x", if_exists="return")
        assert await system.spawn(Bare, name="x", if_exists="return") == first
        with pytest.raises(NameTaken, match=r"that is no .*:Loose, so it is not returned"):
            await system.spawn(Loose, name="x", if_exists="return")


async def test_a_class_with_type_parameters_is_spawned_as_the_class() -> None:
    topology = Topology(nodes=[nodes("box")], children=[child(Stack[int], name="stack")])
    with anyio.fail_after(20):
        async with System(topology) as system:
            for on in (None, "box"):
                stack = await system.spawn(Stack[str], on=on)
                assert await stack.ask(Stack.push, "x") == "x"
            members = await system.start(pool(Stack[int], size=2, name="stacks"))
            assert await members.ask(Stack.push, 3) == 3


def _three(data: bytes, peer: Any, more: int) -> bytes:
    return data + bytes(peer) + bytes(more)


def _two(data: bytes, peer: Any, more: int = 0) -> bytes:
    return _three(data, peer, more)


def test_a_key_function_that_cannot_be_called_with_data_and_peer_is_refused() -> None:
    async def later(_data: bytes, _peer: Any) -> bytes:
        return b""

    wrong: list[tuple[Any, str]] = [
        (lambda data: data, r"key\(\) calls fn\(data, peer\), and key:.* cannot be: too many"),
        (_three, "missing a required argument: 'more'"),
        (later, "a function that is not async"),
    ]
    for fn, text in wrong:
        with pytest.raises(BadListener, match=text):
            key(fn)
    key(_two)
    key(lambda *_: b"")


async def test_refs_of_two_systems_are_not_equal_and_those_of_one_are() -> None:
    topology = Topology(nodes=[nodes("beside", kind="thread")])
    async with System(topology) as one, System() as other:
        first, second = await one.spawn(Bare), await other.spawn(Bare)
        assert (first.uid, first.node) == (second.uid, second.node)
        assert first != second
        assert len({first, second}) == 2
        echo: Any = await one.spawn(Stack, on="beside")
        assert await echo.ask(Stack.push, first) == first
