"""Modules of `nodes(preload=)` are imported once, in a process from which the nodes are forked."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import psutil
import pytest

from actors import Backoff, Ref, System, Topology, nodes, pool
from actors._base.events import Event
from actors._system.system import coordinator_of
from actors.errors import BootFailed, InvalidSpec, NodeDown, StartFailed
from actors.nodes import NodesSpec
from actors.nodes.boot.launch import Platform
from actors.nodes.process_settings import process_settings, take_settings
from actors.testing import eventually, running_system
from tests.nodes.preload_actors import Importer, variable_of

PATIENCE = 60
AT_ONCE = Backoff(first=0.001, cap=0.001, reset_after=0.001)
MODEL = """
import os
print("the model is being imported")
pid = os.getpid()
colour = os.environ.get("COLOUR")
threads = os.environ.get("OMP_NUM_THREADS")
os.environ["SET_BY_MODEL"] = "yes"
large = bytearray(b"\\1") * (48 << 20)
"""
THREADED = """
import os, threading
pid = os.getpid()
threading.Thread(target=threading.Event().wait, daemon=True).start()
"""


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, object]]:
    """One loop: fork servers and their launchers know nothing of loops."""
    return "asyncio", {"use_uvloop": True}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder from which modules are imported."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    return tmp_path


def fork_servers(system: System) -> set[int]:
    return coordinator_of(system).launcher.fork_server_pids


@asynccontextmanager
async def running(*groups: NodesSpec) -> AsyncIterator[tuple[System, list[Ref[Importer]]]]:
    """A system with an actor on each of its nodes."""
    with anyio.fail_after(PATIENCE):
        async with running_system(Topology(nodes=list(groups))) as system:
            names = [spec.named(slot) for spec in groups for slot in range(spec.count)]
            yield system, [await system.spawn(Importer, on=name, backoff=AT_ONCE) for name in names]


async def events_of_start(*groups: NodesSpec) -> list[Event]:
    """Start *groups* and return what was told meanwhile."""
    told: list[Event] = []
    with anyio.fail_after(PATIENCE):
        async with System() as system:
            events = system.events()
            for group in groups:
                await system.start(group)
            events.close()
            told = [event async for event in events]
    return told


# -- what is shared -------------------------------------------------------------------------


async def test_modules_are_imported_once_and_what_they_have_is_shared_by_the_nodes(
    folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (folder / "model.py").write_text(MODEL)
    groups = [
        nodes("a", count=2, preload=["model"], backoff=AT_ONCE),
        nodes("b", preload=("model",), env={"COLOUR": "green", "OMP_NUM_THREADS": "3"}),
        nodes("c"),
    ]
    async with running(*groups) as (system, [one, two, green, plain]):
        first = await one.ask(Importer.variable, "model", "pid")
        assert first == await two.ask(Importer.variable, "model", "pid")
        assert first in fork_servers(system)
        for ref in (one, two):
            assert await ref.ask(Importer.read, "model", "large") < 24
            assert await ref.ask(Importer.environment, "SET_BY_MODEL") == "yes"
            assert await ref.ask(Importer.environment, "OMP_NUM_THREADS") == "1"
            assert await ref.ask(Importer.variable, "model", "threads") == "1"
        other = await green.ask(Importer.variable, "model", "pid")
        assert other in fork_servers(system) - {first}
        assert await green.ask(Importer.variable, "model", "colour") == "green"
        assert await green.ask(Importer.variable, "model", "threads") == "3"
        assert not await plain.ask(Importer.has, "model")
        # A killed node does not import it again.
        before = await one.ask(Importer.pid)
        psutil.Process(before).kill()
        while True:
            try:
                if await one.ask(Importer.pid) != before:
                    break
            except NodeDown:
                await anyio.lowlevel.checkpoint()
        assert await one.ask(Importer.variable, "model", "pid") == first
    assert capfd.readouterr().err.count("the model is being imported") == 2


async def test_a_reload_imports_them_anew(folder: Path) -> None:
    (folder / "text.py").write_text("value = 'old'\n")
    async with running(nodes("web", preload=["text"])) as (system, [ref]):
        assert await ref.ask(Importer.variable, "text", "value") == "old"
        before = fork_servers(system)
        (folder / "text.py").write_text("value = 'the new one'\n")
        await system.reload()
        assert await ref.ask(Importer.variable, "text", "value") == "the new one"
        assert not before & fork_servers(system)


async def test_the_process_that_has_imported_them_ends_with_the_last_node_of_its_groups(
    folder: Path,
) -> None:
    (folder / "text.py").write_text("value = 'a'\n")
    async with running(nodes("one", preload=["text"])) as (system, _):
        await system.start(nodes("two", preload=["text"]))
        [server] = fork_servers(system)
        await system.scale("one", 0)
        assert fork_servers(system) == {server}
        await system.scale("two", 0)
        await eventually(lambda: not psutil.pid_exists(server))
        assert fork_servers(system) == set()


async def test_where_nodes_cannot_be_forked_each_imports_them_itself(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "text.py").write_text("import os\npid = os.getpid()\n")
    here = Platform("linux", "riscv64", "glibc 2.40", free_threaded=False)
    monkeypatch.setattr(Platform, "here", lambda: here)
    async with running(nodes("web", preload=["text"])) as (system, [ref]):
        assert await ref.ask(Importer.has, "text")
        assert await ref.ask(Importer.variable, "text", "pid") == await ref.ask(Importer.pid)
        events = system.events()
        await system.start(nodes("more", count=2, preload=["text"]))
        with pytest.raises(BootFailed, match="preload of 'text_not_there' failed"):
            await system.start(nodes("wrong", preload=["text_not_there"]))
        events.close()
        kinds = [event.kind async for event in events]
    assert kinds.count("node_ready") == 2


# -- what a fork cannot have ----------------------------------------------------------------


async def test_a_module_that_starts_a_thread_is_one_warning_and_its_nodes_run(folder: Path) -> None:
    (folder / "calm.py").write_text("value = 1\n")
    (folder / "threaded.py").write_text(THREADED)
    told = await events_of_start(nodes("web", count=2, preload=["calm", "threaded"]))
    warnings = [dict(event.facts) for event in told if event.kind == "preload_threads"]
    assert warnings == [{"module": "threaded", "threads": 2}]
    assert [event.kind for event in told].count("node_ready") == 2


async def test_a_module_that_opens_a_socket_is_a_warning(folder: Path) -> None:
    (folder / "opens.py").write_text("import socket\npair = socket.socketpair()\n")
    told = await events_of_start(nodes("web", preload=["opens"]))
    [facts] = [event.facts for event in told if event.kind == "preload_descriptors"]
    assert facts["module"] == "opens"
    assert str(facts["descriptors"]).count("socket:") == 2


CUDA = """
import sys, types
cuda = types.SimpleNamespace(is_initialized=lambda: True)
sys.modules["torch"] = types.SimpleNamespace(cuda=cuda)
"""
FAILING = {
    "an error": ("raise OSError('no such file')", "OSError: no such file"),
    "an exit": ("import sys\nsys.exit('not here')", "SystemExit: not here"),
    "a missing module": ("import not_there", "ModuleNotFoundError: No module named 'not_there'"),
    "its death": (
        "import os\nos._exit(3)",
        "failed: the importing process ended: exit code 3",
    ),
    "CUDA": (
        CUDA,
        "has initialised CUDA, which no forked process can use",
    ),
}


@pytest.mark.parametrize("code, why", FAILING.values(), ids=FAILING)
async def test_a_module_that_cannot_be_had_is_one_error_with_its_name_and_the_cause(
    code: str, why: str, folder: Path
) -> None:
    (folder / "calm.py").write_text("value = 1\n")
    (folder / "broken.py").write_text(code)
    async with running() as (system, _):
        with pytest.raises(StartFailed) as caught:
            await system.start(nodes("web", count=3, preload=["calm", "broken"]))
        assert str(caught.value).startswith("nodes('web'): preload of ")
        assert "'broken'" in str(caught.value)
        assert why in str(caught.value)
        assert [node for node in system.nodes if node.group == "web"] == []
        assert fork_servers(system) == set()


async def test_their_import_counts_for_the_time_to_get_ready(folder: Path) -> None:
    (folder / "slow.py").write_text("import time\ntime.sleep(60)\n")
    async with running() as (system, _):
        with pytest.raises(BootFailed) as caught:
            await system.start(nodes("web", preload=["slow"], boot_timeout=0.5))
        text = "node web/0 was not ready after 0.5 s (its boot_timeout): importing slow"
        assert str(caught.value).startswith(text)
        assert fork_servers(system) == set()


# -- options of a process -------------------------------------------------------------------


@pytest.mark.parametrize(
    "options, problem",
    [
        ({"preload": "pkg"}, "preload must be a list of names of modules, got 'pkg'"),
        ({"preload": [""]}, "preload has names of modules such as 'pkg.model', got ''"),
        ({"preload": ["a.b", 1]}, "preload has names of modules such as 'pkg.model', got 1"),
        ({"preload": ["a-b"]}, "preload has names of modules such as 'pkg.model', got 'a-b'"),
        ({"preload": None}, "preload must be a list of names of modules, got None"),
        ({"env": ["A"]}, "env must map text to text, got ['A']"),
        ({"nice": 20}, "nice must be a whole number from -20 to 19, got 20"),
        ({"nice": True}, "nice must be a whole number from -20 to 19, got True"),
        ({"nice": 1.5}, "nice must be a whole number from -20 to 19, got 1.5"),
        (
            {"kind": "thread", "preload": ["json"]},
            "preload needs kind='process': a thread shares the modules of its process",
        ),
        (
            {"kind": "thread", "env": {"A": "b"}},
            "env needs kind='process': a thread shares the environment of its process",
        ),
        (
            {"kind": "thread", "nice": 1},
            "nice needs kind='process': a thread shares the priority of its process",
        ),
    ],
)
def test_what_a_node_cannot_be_given_is_refused_at_the_call(
    options: dict[str, Any], problem: str
) -> None:
    with pytest.raises(InvalidSpec) as caught:
        nodes("web", **options)
    assert str(caught.value) == f"nodes('web'): {problem}"


def test_a_module_that_is_named_twice_is_imported_once() -> None:
    assert nodes("web", preload=["a", "b.c", "a"]).preload == ("a", "b.c")


def test_a_priority_that_the_system_does_not_give_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_by: int) -> int:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "nice", refuse)
    with pytest.raises(SystemExit) as caught:
        take_settings(process_settings(nodes("web", nice=-5), 0))
    assert str(caught.value).startswith(
        "nice=-5: Operation not permitted; to raise a priority needs"
    )


# -- pools ----------------------------------------------------------------------------------


async def test_the_workers_of_a_pool_share_what_it_has_preloaded(folder: Path) -> None:
    (folder / "text.py").write_text("import os\npid = os.getpid()\n")
    async with running() as (system, _):
        work = await system.start(pool(size=2, name="work", preload=["text"]))
        found = {await work.run(variable_of, "text", "pid") for _ in range(2)}
        assert len(found) == 1
        assert found <= fork_servers(system)


def test_a_pool_refuses_modules_that_cannot_be() -> None:
    with pytest.raises(InvalidSpec, match=r"pool.'work'.*preload must be a list of names"):
        pool(name="work", preload="text")
    with pytest.raises(InvalidSpec, match="needs workers with process nodes of their own"):
        pool(name="work", kind="thread", preload=["text"])
