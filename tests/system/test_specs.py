"""Descriptions that can never work are refused where they are written, and show the bad value."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from actors import (
    Actor,
    Bounded,
    Priority,
    Restart,
    System,
    Topology,
    child,
    dynamic,
    listen,
    nodes,
    supervisor,
)
from actors.errors import ActorsError, InvalidSpec, NodeDown, SystemStopped
from actors.testing import crash, running_system
from tests.nodes.node_actors import Victim

a_child = child(Victim, name="a")
ODD: Any = "one_for_al"

REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "nodes: no name": (
        lambda: nodes(""),
        "a group of nodes is named with letters, digits, - and _",
    ),
    "nodes: a list": (lambda: nodes(["web"]), "named with letters, digits, - and _; got ['web']"),  # type: ignore[arg-type] # that is the test
    "nodes: a slash": (lambda: nodes("web/0"), "named with letters, digits, - and _; got 'web/0'"),
    "nodes: count 0": (
        lambda: nodes("web", count=0),
        "nodes('web'): count must be 1 to 1024, got 0",
    ),
    "nodes: count True": (lambda: nodes("web", count=True), "count must be 1 to 1024, got True"),
    "nodes: count 2.5": (lambda: nodes("web", count=2.5), "count must be 1 to 1024, got 2.5"),  # type: ignore[arg-type] # that is the test
    "nodes: count big": (lambda: nodes("web", count=5000), "count must be 1 to 1024, got 5000"),
    "nodes: kind": (
        lambda: nodes("web", kind="fork"),  # type: ignore[arg-type] # that is the test
        "kind must be 'process', 'thread' or 'interpreter', got 'fork'",
    ),
    "nodes: backend": (
        lambda: nodes("web", backend="curio"),  # type: ignore[arg-type] # that is the test
        "backend must be 'asyncio' or 'trio', got 'curio'",
    ),
    "nodes: boot_timeout": (
        lambda: nodes("web", boot_timeout=0),
        "nodes('web'): boot_timeout must be more than 0 seconds, got 0",
    ),
    "nodes: shutdown": (
        lambda: nodes("web", shutdown=-1),
        "shutdown must be more than 0 seconds, got -1",
    ),
    "nodes: hang_after": (
        lambda: nodes("web", hang_after=-1),
        "nodes('web'): hang_after must be more than 0 seconds or None, got -1",
    ),
    "nodes: hang_after 0": (
        lambda: nodes("web", hang_after=0.0),
        "hang_after must be more than 0 seconds or None, got 0.0",
    ),
    "nodes: hang_after inf": (
        lambda: nodes("web", hang_after=float("inf")),
        "hang_after must be more than 0 seconds or None, got inf",
    ),
    "nodes: hang_after True": (
        lambda: nodes("web", hang_after=True),
        "hang_after must be more than 0 seconds or None, got True",
    ),
    "nodes: max_rss": (
        lambda: nodes("web", max_rss=0),
        "nodes('web'): max_rss must be a whole number of bytes above 0 or None, got 0",
    ),
    "nodes: max_rss 1.5": (
        lambda: nodes("web", max_rss=1.5),  # type: ignore[arg-type] # that is the test
        "max_rss must be a whole number of bytes above 0 or None, got 1.5",
    ),
    "nodes: max_rss of a thread": (
        lambda: nodes("web", kind="thread", max_rss=1 << 30),
        "nodes('web'): max_rss=1073741824 needs kind='process': a thread shares the memory of its",
    ),
    "nodes: env": (lambda: nodes("web", env={"A": 1}), "env must map text to text, got 'A': 1"),  # type: ignore[dict-item] # that is the test
    "child: no class": (
        lambda: child(int),
        "spawn takes a subclass of actors.Actor, got <class 'int'>",
    ),
    "child: Actor": (lambda: child(Actor), "spawn takes a subclass of actors.Actor, got <class"),
    "child: mailbox": (
        lambda: child(Victim, mailbox=0),
        "Victim: mailbox must be a whole number of 1",
    ),
    "child: a class for a mailbox": (
        lambda: child(Victim, mailbox=Priority),  # type: ignore[arg-type] # that is the test
        "Bounded(...) or Priority(...), got <class 'actors._messaging.mailbox_options.Priority'>",
    ),
    "Bounded: messages": (
        lambda: Bounded(messages=0),
        "Bounded: messages must be a whole number of 1 or more, got 0",
    ),
    "Priority: bytes": (
        lambda: Priority(bytes=65_535),
        "Priority: bytes must be a whole number of 65536 or more, got 65535",
    ),
    "Priority: no such option": (
        lambda: Priority(message=1),  # type: ignore[call-arg] # that is the test
        "Priority() has no option 'message'; did you mean 'messages'?",
    ),
    "child: name": (
        lambda: child(Victim, name=""),
        "Victim: name must be a non-empty text, got ''",
    ),
    "child: restart": (
        lambda: child(Victim, restart="transient"),  # type: ignore[arg-type] # that is the test
        "restart must be a Restart, got 'transient'; did you mean Restart.TRANSIENT?",
    ),
    "child: shutdown": (
        lambda: child(Victim, shutdown=-1),
        "shutdown must be 0 or more seconds, got -1",
    ),
    "supervisor: a class": (
        lambda: supervisor("s", [Victim]),  # type: ignore[list-item] # that is the test
        "supervisor('s'): children are made by child(), supervisor() or dynamic(), got <class",
    ),
    "supervisor: twice": (
        lambda: supervisor("s", [a_child, a_child]),
        "supervisor('s'): two children are called 'a'; names are unique",
    ),
    "topology: twice": (
        lambda: Topology(children=[a_child, dynamic("a")]),
        "Topology: two children are called 'a'; names are unique",
    ),
    "topology: groups": (
        lambda: Topology(nodes=[nodes("web"), nodes("web")]),
        "Topology: two groups of nodes are called 'web'; names are unique",
    ),
    "topology: a name": (
        lambda: Topology(nodes=["web"]),  # type: ignore[list-item] # that is the test
        "Topology: nodes are made by nodes(...), got 'web'",
    ),
    "topology: placement": (
        lambda: Topology(nodes=[nodes("web")], children=[child(Victim, on="wbe")]),
        "Topology: child 'victim' runs on 'wbe', but the groups are 'web'",
    ),
    "child: on": (
        lambda: child(Victim, on=["web"]),  # type: ignore[arg-type] # that is the test
        "child(Victim): on must be the name of a node or of a group, got ['web']",
    ),
    "child: on nothing": (
        lambda: child(Victim, on=""),
        "child(Victim): on must be the name of a node or of a group, got ''",
    ),
    "topology: deep placement": (
        lambda: Topology(children=[supervisor("s", [child(Victim, on="web/0")])]),
        "Topology: child 'victim' runs on 'web/0', but the groups are none",
    ),
    "topology: listener": (
        lambda: Topology(nodes=[nodes("web")], listeners=[listen("a:b", "127.0.0.1:0", nodes="x")]),
        "is served by nodes 'x', but the groups are 'web'",
    ),
    "topology: no listener": (
        lambda: Topology(listeners=["127.0.0.1:80"]),  # type: ignore[list-item] # that is the test
        "Topology: listeners are made by listen(...), got '127.0.0.1:80'",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_c08_what_can_never_work_is_refused_with_the_bad_value(what: str) -> None:
    make, why = REFUSED[what]
    with pytest.raises(InvalidSpec) as caught:
        make()
    for part in why.split(" … "):
        assert part in str(caught.value)
    assert isinstance(caught.value, ValueError)


UNKNOWN: dict[str, tuple[Callable[[], Any], str]] = {
    "nodes": (
        lambda: nodes("web", cuont=4),  # type: ignore[call-arg] # that is the test
        "nodes() has no option 'cuont'; did you mean 'count'?",
    ),
    "supervisor": (
        lambda: supervisor("s", [], stratgy=4),  # type: ignore[call-arg] # that is the test
        "supervisor() has no option 'stratgy'; did you mean 'strategy'?",
    ),
    "dynamic": (
        lambda: dynamic("d", wholly_unlike=4),  # type: ignore[call-arg] # that is the test
        "dynamic() has no option 'wholly_unlike'; it has name, budget, max_children, restart, significant",
    ),
}


@pytest.mark.parametrize("what", UNKNOWN)
def test_an_unknown_option_is_refused_with_a_suggestion(what: str) -> None:
    make, why = UNKNOWN[what]
    with pytest.raises(InvalidSpec) as caught:
        make()
    assert str(caught.value) == why


def test_c07_a_spec_has_the_defaults_of_the_design() -> None:
    group = nodes("web")
    assert (group.count, group.kind, group.backend, group.uvloop) == (1, "process", "asyncio", True)
    assert [group.named(slot) for slot in range(2)] == ["web/0", "web/1"]
    assert (a_child.restart, a_child.shutdown, a_child.mailbox) == (Restart.PERMANENT, 5.0, 1024)
    assert child(Victim).name == "victim"


def test_a_system_takes_a_topology() -> None:
    with pytest.raises(ActorsError, match=r"System takes a Topology, got \[\]"):
        System([])  # type: ignore[arg-type] # that is the test


async def test_a_system_that_is_not_entered_runs_nothing() -> None:
    system = System()
    with pytest.raises(ActorsError, match="this System is not running: use `async with"):
        await system.spawn(Victim)
    with pytest.raises(ActorsError, match="this System is not running"):
        _ = system.nodes


async def test_a_system_runs_once() -> None:
    async with running_system() as system:
        with pytest.raises(ActorsError, match="is already running, or has run: make a new one"):
            await system.__aenter__()
        with pytest.raises(ActorsError, match="crash takes a process node that is running"):
            await crash(system.node)
    with pytest.raises(SystemStopped, match="the system has stopped"):
        await system.spawn(Victim)
    assert issubclass(NodeDown, ActorsError)


@pytest.mark.parametrize(
    "make, message",
    [
        (
            lambda: child(Victim, significant=True),
            r"child\(Victim\): a significant child must be TRANSIENT or TEMPORARY",
        ),
        (lambda: child(Victim, significant=ODD), r"significant must be a bool, got 'one_for_al'"),
        (lambda: child(Victim, backoff=ODD), "backoff must be a Backoff, got 'one_for_al'"),
        (
            lambda: supervisor("s", [], strategy=ODD),
            r"strategy must be a Strategy, got 'one_for_al'; did you mean Strategy.ONE_FOR_ALL\?",
        ),
        (lambda: supervisor("s", [], budget=ODD), "budget must be a Budget, got 'one_for_al'"),
        (
            lambda: supervisor("s", [], auto_shutdown=ODD),
            "auto_shutdown must be a AutoShutdown, got 'one_for_al'",
        ),
        (
            lambda: supervisor("s", [child(Victim, significant=True, restart=Restart.TRANSIENT)]),
            r"supervisor\('s'\): child 'victim' is significant, which needs an auto_shutdown",
        ),
        (lambda: dynamic("d", max_children=-1), r"dynamic\('d'\): max_children must be 0 or more"),
        (
            lambda: Topology(
                children=[
                    supervisor("a", [child(Victim, name="same")]),
                    supervisor("b", [child(Victim, name="same")]),
                ]
            ),
            "two actors are called 'same'",
        ),
        (
            lambda: Topology(children=[supervisor("spawned", [])]),
            "'spawned' is the name of a supervisor of the system's own",
        ),
    ],
)
def test_a_tree_that_can_never_work_is_refused_where_it_is_written(
    make: Callable[[], object], message: str
) -> None:
    with pytest.raises(InvalidSpec, match=message):
        make()
