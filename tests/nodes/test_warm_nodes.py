"""`actors.testing.warm_nodes`: systems that run one after another fork their nodes from the same process."""

from __future__ import annotations

import multiprocessing
import os
import resource
import signal
from collections.abc import Iterator
from pathlib import Path

import anyio
import psutil
import pytest

from actors import System, Topology, nodes, testing
from actors._system.system import coordinator_of
from actors.nodes.boot import launcher
from actors.nodes.boot.kept_fork_server import KeptForkServer
from actors.testing import eventually, warm_nodes
from tests.nodes.process_facts import ProcessInspector

PATIENCE = 20
ONE = Topology(nodes=[nodes("web")])


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, object]]:
    """One loop: the launcher's thread knows nothing of loops."""
    return "asyncio", {"use_uvloop": True}


@pytest.fixture(autouse=True)
def kept(monkeypatch: pytest.MonkeyPatch) -> Iterator[KeptForkServer]:
    """Nothing is kept yet, whatever the suite keeps; afterwards no child is left that was not there before."""
    own = KeptForkServer()
    for module in (launcher, testing):
        monkeypatch.setattr(module, "KEPT", own)
    before = set(psutil.Process().children())
    yield own
    assert set(psutil.Process().children()) <= before


async def fork_server_of_one_system() -> int:
    """Run a system with a process node; return the process number of what that was forked from."""
    with anyio.fail_after(PATIENCE):
        async with System(ONE) as system:
            inspector = await system.spawn(ProcessInspector, on="web")
            found = await inspector.ask(ProcessInspector.process)
            assert (found["parent"], found["forked"]) == (os.getpid(), True)
            [pid] = coordinator_of(system).launcher.fork_server_pids
    return pid


async def test_systems_of_a_block_fork_from_one_process_which_ends_with_it() -> None:
    with warm_nodes():
        with warm_nodes():
            first = await fork_server_of_one_system()
        assert await fork_server_of_one_system() == first
    assert not psutil.pid_exists(first)


async def test_without_a_block_each_system_ends_its_own() -> None:
    first = await fork_server_of_one_system()
    assert not psutil.pid_exists(first)
    assert await fork_server_of_one_system() != first


async def test_two_systems_at_a_time_have_two_of_which_one_is_kept() -> None:
    with warm_nodes(), anyio.fail_after(PATIENCE):
        async with System(ONE) as one, System(ONE) as other:
            pids = [coordinator_of(each).launcher.fork_server_pids for each in (one, other)]
        both = set().union(*pids)
        assert len(both) == 2
        assert sum(map(psutil.pid_exists, both)) == 1
        assert await fork_server_of_one_system() in both


async def test_one_that_was_killed_meanwhile_is_replaced() -> None:
    with warm_nodes():
        first = await fork_server_of_one_system()
        os.kill(first, signal.SIGKILL)
        await eventually(lambda: psutil.Process(first).status() == psutil.STATUS_ZOMBIE)
        assert await fork_server_of_one_system() != first
        assert not psutil.pid_exists(first)


async def test_other_limits_or_variables_of_python_need_another_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with warm_nodes():
        first = await fork_server_of_one_system()
        soft, hard = resource.getrlimit(resource.RLIMIT_CORE)
        resource.setrlimit(resource.RLIMIT_CORE, (0 if soft else 4096, hard))
        try:
            second = await fork_server_of_one_system()
        finally:
            resource.setrlimit(resource.RLIMIT_CORE, (soft, hard))
        monkeypatch.setenv("PYTHONMALLOCSTATS", "")
        third = await fork_server_of_one_system()
        assert len({first, second, third}) == 3
        assert [psutil.pid_exists(pid) for pid in (first, second, third)] == [False, False, True]


async def test_what_has_code_of_the_user_is_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "model.py").write_text("weights = [1.0]\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with warm_nodes(), anyio.fail_after(PATIENCE):
        async with System(Topology(nodes=[nodes("web", preload=["model"])])) as system:
            [server] = coordinator_of(system).launcher.fork_server_pids
        assert not psutil.pid_exists(server)
        assert await fork_server_of_one_system() != server


async def test_nodes_that_are_renewed_do_not_come_from_what_was_kept() -> None:
    with warm_nodes():
        first = await fork_server_of_one_system()
        with anyio.fail_after(PATIENCE):
            async with System() as system:
                coordinator_of(system).launcher.renew()
                await system.start(nodes("web"))
                await system.reload("web")
                [renewed] = coordinator_of(system).launcher.fork_server_pids
        assert renewed != first
        assert not psutil.pid_exists(first)


def _in_a_fork(first: int) -> None:
    found = anyio.run(fork_server_of_one_system)
    os._exit(1 if found == first or psutil.Process().children() else 0)


def test_a_fork_of_the_process_neither_uses_nor_ends_it() -> None:
    with warm_nodes():
        first = anyio.run(fork_server_of_one_system)
        child = multiprocessing.get_context("fork").Process(target=_in_a_fork, args=(first,))
        child.start()
        child.join(PATIENCE)
        assert child.exitcode == 0
        assert anyio.run(fork_server_of_one_system) == first
