"""A start that fails in any way is the answer to whoever asked; the launcher and the stop outlive it."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from typing import Any

import anyio
import pytest

from actors import System, Topology, nodes
from actors._base.run_loop import open_loop
from actors._system.supervision_tree import SupervisionTree
from actors.errors import BootFailed, InvalidSpec, SystemStopped
from actors.nodes import NodeKind
from actors.nodes.boot import launcher
from actors.nodes.boot.launch import Launch
from actors.testing import running_system
from tests.nodes.node_actors import Victim

PATIENCE = 20

pytestmark = pytest.mark.usefixtures("cold_nodes")


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, object]]:
    """One loop: the launcher's thread knows nothing of loops."""
    return "asyncio", {"use_uvloop": True}


@pytest.mark.parametrize(
    "env, problem",
    [
        ({"A": "a\0b"}, "env cannot have a NUL in a name or value, got 'A': 'a\\x00b'"),
        ({"A\0": "b"}, "env cannot have a NUL in a name or value, got 'A\\x00': 'b'"),
        ({"": "b"}, "env must have names that are not empty and have no '=', got '': 'b'"),
        ({"A=B": "c"}, "env must have names that are not empty and have no '=', got 'A=B': 'c'"),
        (
            {"A": "\ud800"},
            "env must be text that the file system's encoding can say, got 'A': '\\ud800'",
        ),
        ({"A": 1}, "env must map text to text, got 'A': 1"),
    ],
)
def test_variables_that_no_program_can_be_given_are_refused_at_the_call(
    env: dict[str, Any], problem: str
) -> None:
    with pytest.raises(InvalidSpec) as caught:
        nodes("web", env=env)
    assert str(caught.value) == f"nodes('web'): {problem}"


def test_bytes_that_are_no_text_are_a_variable_like_any_other() -> None:
    assert nodes("web", env={"A": os.fsdecode(b"\xff")}).env == {"A": "\udcff"}


class Vanishing(dict[str, str]):
    """An environment of which another thread removes a variable between the list of names and its value."""

    def __iter__(self) -> Iterator[str]:
        return iter([*super().__iter__(), "GONE"])

    def keys(self) -> Any:
        return list(self)


def test_the_environment_may_change_while_a_node_is_started(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(os, "environ", Vanishing(COLOUR="green"))
    start = Launch(
        module="m",
        title="t",
        link=0,
        lifeline=0,
        log=0,
        output=0,
        common={"B": "1"},
        env={"C": "2"},
    )
    assert start.environment() == {"COLOUR": "green", "B": "1", "C": "2"}


@pytest.mark.parametrize("error", [ValueError("embedded null byte"), KeyError("TOGGLE")])
async def test_whatever_keeps_a_node_from_starting_is_told_and_the_next_one_starts(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    async with running_system() as system:
        with monkeypatch.context() as broken:
            broken.setattr(launcher, "python", _raising(error))
            with anyio.fail_after(PATIENCE), pytest.raises(BootFailed) as caught:
                await system.start(nodes("web"))
            assert str(caught.value) == f"node web/0 could not be started: {error}"
        with anyio.fail_after(PATIENCE):
            await system.start(nodes("web"))
            victim = await system.spawn(Victim, on="web")
            assert await victim.ask(Victim.pid) != os.getpid()


async def test_a_start_that_was_cancelled_during_a_long_import_uses_no_descriptor(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    imported, used = threading.Event(), []

    class Server:
        def fork(self, launch: Launch) -> None:
            used.append(launch)

    def after_import(_launcher: launcher.Launcher, _launch: Launch) -> Any:
        imported.wait(PATIENCE)
        return Server()

    monkeypatch.setattr(launcher.Launcher, "_fork_server_for", after_import)
    monkeypatch.setattr(launcher, "start_by_exec", used.append)
    facts: dict[str, Any] = dict.fromkeys(["link", "lifeline", "log", "output"], -1)
    launch = Launch(module="m", title="t", common={}, env={}, **facts)
    async with open_loop() as loop:
        starter = launcher.Launcher(loop, lambda _kind, _facts: None)
        with anyio.move_on_after(0.05):
            await starter.start(launch)
        imported.set()
        await anyio.to_thread.run_sync(starter.close)
    assert used == []


def _raising(error: BaseException) -> Callable[..., Any]:
    def fail(*_args: Any, **_options: Any) -> Any:
        raise error

    return fail


def _no_more_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threading.Thread, "start", _raising(RuntimeError("can't start new thread")))


@pytest.mark.parametrize("kind", ["process", "thread"])
async def test_a_thread_that_cannot_be_started_fails_that_start_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch, kind: NodeKind
) -> None:
    spec = nodes("web", kind=kind)
    async with running_system() as system:
        with monkeypatch.context() as full:
            _no_more_threads(full)
            with anyio.fail_after(PATIENCE), pytest.raises(BootFailed) as caught:
                await system.start(spec)
        assert str(caught.value) == "node web/0 could not be started: can't start new thread"
        with anyio.fail_after(PATIENCE):
            await system.start(spec)


async def test_a_system_without_a_thread_to_start_stops_in_order(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _no_more_threads(monkeypatch)
    with anyio.fail_after(PATIENCE), pytest.raises(BootFailed, match="can't start new thread"):
        async with System(Topology(nodes=[nodes("web")])):
            raise AssertionError("it is running")


async def test_a_step_of_the_stop_that_fails_keeps_none_of_the_others_from_its_turn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(SupervisionTree, "stop", _raising(MemoryError("no room")))
    found: list[Any] = []

    async def run() -> None:
        async with System() as system:
            found.extend([await system.spawn(Victim), system.events()])

    why = r"the system has stopped, but not in order: MemoryError\('no room'\)"
    with anyio.fail_after(PATIENCE), pytest.raises(SystemStopped, match=why) as caught:
        await run()
    assert isinstance(caught.value.__cause__, MemoryError)
    victim, events = found
    assert str(await victim.wait()) == "SHUTDOWN"
    assert "system_stopped" in [event.kind async for event in events]
