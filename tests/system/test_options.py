"""A constructor's arguments and the options beside them are checked at the call, with a suggestion."""

from __future__ import annotations

import dataclasses
import functools
from functools import partial
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
from actors._system.tree_specs import ActorSpec
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
        await self.context.spawn(Named, "child", **options)


class Loose(Actor):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.facts = (args, kwargs)


class Strict(Actor):
    def __init__(self, *, size: int) -> None:
        self.size = size


class Bare(Actor):
    pass


class Stack(Actor, Generic[T]):
    async def push(self, item: T) -> T:
        return item


def _made(**_options: Any) -> Room:
    return Room()


MISSPELT: Any = {"titel": "x"}
WRONG: dict[str, tuple[Any, tuple[Any, ...], dict[str, Any], str]] = {
    "misspelt": (Room, (), {"mialbox": 1}, "has no option 'mialbox'; did you mean 'mailbox'?"),
    "of the constructor": (Room, (), {"title": "x"}, "goes in functools.partial(Room, title=...)"),
    "misspelt parameter": (Room, (), {"titel": "x"}, "goes in functools.partial(Room, title=...)"),
    "any keyword": (Loose, (), {"colour": 1}, "goes in functools.partial(Loose, colour=...)"),
    "unknown": (Bare, (), {"colour": 1}, "has no option 'colour'; it has "),
    "too many": (Bare, (1,), {}, "its constructor: too many positional arguments"),
    "missing": (Named, (), {}, "its constructor: missing a required argument: 'name'"),
    "missing keyword": (Strict, (), {}, "'size'; it goes in functools.partial(Strict, size=...)"),
    "of a partial": (partial(Room, title="x"), (), {"titel": 1}, "has no option 'titel'; a keyword"),
    "misspelt in a partial": (partial(Room, **MISSPELT), (), {}, "parameter 'titel'; did you mean"),
    "taken by an option": (Named, (), {"name": "x"}, "in functools.partial(Named, name=...)"),
    "twice": (partial(Room, title="x"), ("y",), {}, "multiple values for argument 'title'"),
    "too many in a partial": (partial(Room, "x"), ("y",), {}, "too many positional arguments"),
}  # fmt: skip
NO_CLASSES: dict[str, tuple[Any, str]] = {
    "another class": (partial(int, "3"), "got <class 'int'>"),
    "a function": (partial(_made, name="x"), "got <function _made"),
    "an actor that is made already": (Bare(), "give its class and arguments, spawn(Bare, ...)"),
    "a function without a partial": (_made, "got <function _made"),
    "a name": ("Room", "got 'Room'"),
}


@pytest.mark.parametrize("case", WRONG)
async def test_what_the_constructor_does_not_take_is_refused_at_the_call(case: str) -> None:
    cls, args, kwargs, text = WRONG[case]
    calls: dict[str, Any] = {"child": child, "spawn": System().spawn, "pool": pool}
    for name, call in calls.items():
        with pytest.raises(InvalidSpec) as caught:
            call(cls, *args, **kwargs)
        called = cls.func.__name__ if isinstance(cls, partial) else cls.__name__
        assert str(caught.value).startswith(f"{name}({called})")
        assert text in str(caught.value)


@pytest.mark.parametrize("case", NO_CLASSES)
async def test_what_is_no_class_of_actors_is_refused_also_in_a_partial(case: str) -> None:
    cls, text = NO_CLASSES[case]
    async with System() as system:
        for make in (child, pool):
            with pytest.raises(InvalidSpec, match=r"takes a subclass of actors\.Actor") as caught:
                make(cls)
            assert text in str(caught.value)
        with pytest.raises(InvalidSpec, match=r"takes a subclass of actors\.Actor") as caught:
            await system.spawn(cls)
        assert text in str(caught.value)


def test_keywords_of_the_constructor_and_options_never_collide() -> None:
    spec = child(partial(Named, name="kitchen"), name="x", on="web")
    assert (spec.cls, spec.args, spec.kwargs) == (Named, (), {"name": "kitchen"})
    assert (spec.name, spec.on) == ("x", "web")
    members = pool(partial(Room, size=3, mailbox=5), "hall", size=2, on="web")
    assert (members.cls, members.size) == (Room, 2)
    assert members.name == "room"
    assert {child.args for child in members.children if isinstance(child, ActorSpec)} == {
        ("hall",),
        (),
    }
    assert child(partial(Loose, colour=2), 1).kwargs == {"colour": 2}


def test_partials_of_partials_are_one_constructor() -> None:
    class Own(partial[Any]):
        """Is not merged with the partial in it."""

    inner = Own(Room, "hall", size=1, mailbox=2)
    spec = child(Own(inner, size=3))
    assert (spec.args, spec.kwargs) == (("hall",), {"size": 3, "mailbox": 2})
    assert child(partial(Stack[int])).cls is Stack


@pytest.mark.skipif(not hasattr(functools, "Placeholder"), reason="from Python 3.14 on")
def test_a_placeholder_of_a_partial_is_filled_by_position() -> None:
    later = partial(Named, getattr(functools, "Placeholder"), 3)  # noqa: B009 - not there everywhere
    assert child(later, "kitchen").args == ("kitchen", 3)
    with pytest.raises(
        InvalidSpec, match="has a Placeholder, and no argument is given in its plac"
    ):
        child(later)


async def test_a_child_of_an_actor_is_checked_too() -> None:
    async with System() as system:
        named = await system.spawn(Named, "x")
        with pytest.raises(
            InvalidSpec, match=r"^spawn\(Named\) has no option 'nam'; did you mean 'name'\?$"
        ):
            await named.ask(Named.spawn_child, {"nam": "y"})


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


@pytest.mark.parametrize("make", [LeastConnections, RoundRobin, policies.ReusePort, keys.ip])
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
