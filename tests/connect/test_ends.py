"""However a connection ends, nothing of it is left in the system; and a program learns of the system's end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import psutil
import pytest

import actors
from actors import System, child, nodes
from actors._system.system import coordinator_of
from actors.errors import ActorsError, NodeDown, SystemStopped
from tests.cli.running_command import ROOT, Running, environment, running
from tests.connect.shop import Counter, topology as shop_topology

PATIENCE = 15
ROUNDS = 200

BUSY = """
import anyio, actors
from tests.connect.shop import Counter, Room

async def main():
    async with actors.connect() as system:
        counter = await system.lookup("counter", Counter)
        other = await system.lookup("other", Counter)
        rooms = await system.keyed("rooms")
        async with (
            anyio.create_task_group() as tasks,
            system.topic("news").subscribe(),
            system.watch_members("desk"),
            counter.stream(Counter.upto, 10_000) as items,
        ):
            await anext(items)
            events = system.events()
            tasks.start_soon(other.wait)
            await rooms["busy"].ask(Room.say, "hi")
            pool = await system.pool("pool", Counter)
            await pool.ask(Counter.add, 0)
            await other.ask(Counter.add, 0)
            print("ready", flush=True)
            await counter.ask(Counter.wait_forever)

anyio.run(main)
"""


FORKS = """
import os, anyio, actors
from tests.connect.shop import Counter

async def main():
    system = await actors.connect()
    counter = await system.lookup("counter", Counter)
    await counter.ask(Counter.add, 0)
    gone, ours = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            try:
                system.nodes
            except actors.ActorsError as error:
                print(error, flush=True)
            os.close(ours)
            os.read(gone, 1)  # until the program itself has ended
            os.read(0, 1)
        finally:
            os._exit(0)
    assert (await counter.ask(Counter.add, 0)) >= 0
    os.kill(os.getpid(), 9)

anyio.run(main)
"""


def _shop(folder: Path) -> AbstractContextManager[Running]:
    return running(folder, "run", "tests.connect.shop:topology", cwd=ROOT)


@contextmanager
def _program(code: str, runtime: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program in a process of its own, until the end of the block."""
    with subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=ROOT,
        env=environment(runtime),
    ) as program:
        try:
            yield program
        finally:
            program.kill()


async def _line(program: subprocess.Popen[bytes]) -> bytes:
    """Return the next line that a program prints."""
    assert program.stdout is not None
    await anyio.wait_readable(program.stdout)
    return program.stdout.readline()


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def _descriptors(system: Running) -> dict[int, int]:
    """Return how many descriptors the processes of a system have open."""
    processes = [psutil.Process(system.pid), *psutil.Process(system.pid).children(recursive=True)]
    return {process.pid: process.num_fds() for process in processes}


async def _nobody_left(system: actors.System) -> None:
    """Wait until no node remembers another client than this one."""
    own: Any = system._access
    for name in ("counter", "other"):
        counter = await system.lookup(name, Counter)
        assert counter is not None
        clients = {own.client.host.name, "another"}
        while clients - {own.client.host.name}:
            peers = await counter.ask(Counter.peers)
            clients = {peer for peer in peers if peer.startswith("client")}


async def _links() -> list[int]:
    """Return how many links there are in the memory of each node, this program's among them."""
    async with actors.connect() as system:
        await _nobody_left(system)
        counters = [await system.lookup(name, Counter) for name in ("counter", "other")]
        return [await counter.ask(Counter.links) for counter in counters if counter is not None]


@pytest.mark.usefixtures("connected_folder")
async def test_a_program_that_is_killed_leaves_nothing(shop: Running) -> None:
    with _program(BUSY, shop.runtime) as program, anyio.fail_after(PATIENCE):
        assert await _line(program) == b"ready\n"
        async with actors.connect() as system:
            for name in ("free", "other"):  # so that this program has its own links by now
                mine = await system.lookup(name, Counter)
                assert mine is not None
                await mine.ask(Counter.add, 0)
            events = system.events()
            before = _descriptors(shop)
            program.kill()
            async for event in events:
                if event.kind == "client_gone":
                    assert event.facts["peer_pid"] == program.pid
                    break
            await _nobody_left(system)
            # What the program was doing there has ended: the handler it had asked for, too.
            counter = await system.lookup("counter", Counter)
            assert counter is not None
            assert await counter.ask(Counter.add, 0)
            after = _descriptors(shop)
        assert (
            sum(before.values()) - sum(after.values()) >= 3
        )  # its connection, and those to the nodes
        assert {pid: fds - before[pid] for pid, fds in after.items() if fds > before[pid]} == {}


async def test_the_process_that_made_the_system_keeps_nothing_of_it_either(folder: Path) -> None:
    topology = replace(shop_topology, nodes=[nodes("web", kind="thread", count=2)])
    topology = replace(topology, children=[*topology.children, child(Counter, name="here")])
    with anyio.fail_after(PATIENCE):
        async with System(topology, control=True) as system:
            core = coordinator_of(system)

            def kept() -> list[int]:
                tables: list[Any] = [
                    core.host.peers,
                    core.host.topics._away,
                    core.topic_directory._subscribed,
                    core.pools._submitters,
                    core.books._holders,
                    core.group_directory._feeds,
                    core.events_of_nodes._streams,
                    list(core.clients),
                ]
                return [len(table) for table in tables]

            before = kept()
            with _program(BUSY, folder) as program:
                assert await _line(program) == b"ready\n"
                during = kept()
                assert [now - then > 0 for now, then in zip(during, before, strict=True)] == [
                    True
                ] * len(before)
                events = system.events()
                program.kill()
                async for event in events:
                    if event.kind == "client_gone":
                        break
            while kept() != before:  # noqa: ASYNC110 - there is no event to wait for
                await anyio.sleep(0.01)


@pytest.mark.usefixtures("connected_folder")
async def test_programs_that_come_and_go_cost_nothing(shop: Running) -> None:
    async def visit() -> None:
        async with actors.connect() as system:
            for name in ("counter", "other"):
                counter = await system.lookup(name, Counter)
                assert counter is not None
                await counter.ask(Counter.add, 0)
            async with system.topic("news").subscribe():
                pass

    with anyio.fail_after(PATIENCE):
        await visit()
        before, links = _descriptors(shop), await _links()
        for _ in range(ROUNDS):
            await visit()
        assert await _links() == links
        while _descriptors(shop) != before:  # noqa: ASYNC110 - the last connection may still be closing
            await anyio.sleep(0.01)


async def test_the_end_of_the_system_ends_the_block(folder: Path) -> None:
    async def until_the_end() -> None:
        async with actors.connect() as connected:
            assert await connected.lookup("counter", Counter) is not None
            os.kill(system.pid, signal.SIGTERM)
            await anyio.sleep_forever()

    with _shop(folder) as system, anyio.fail_after(PATIENCE):
        why = f"system {system.pid} has ended"
        with pytest.raises(SystemStopped, match=why):
            await until_the_end()


async def test_a_system_that_is_killed_fails_what_is_awaited_and_whatever_follows(
    folder: Path,
) -> None:
    with (
        _shop(folder) as system,
        anyio.fail_after(PATIENCE),
    ):
        connected = await actors.connect()
        counter = await connected.lookup("counter", Counter)
        assert counter is not None
        system.process.kill()
        with pytest.raises((NodeDown, SystemStopped)):
            await counter.ask(Counter.wait_forever)
        end = await connected.wait()
        assert isinstance(end.error, SystemStopped)
        for call in (connected.tree(), connected.lookup("counter"), connected.members("desk")):
            with pytest.raises(SystemStopped, match="has ended"):
                await call
        with pytest.raises(ActorsError, match="has ended"):
            await counter.ask(Counter.add)
        await connected.aclose()


@pytest.mark.usefixtures("connected_folder")
async def test_a_fork_of_the_program_is_not_connected_and_does_not_keep_it(shop: Running) -> None:
    with _program(FORKS, shop.runtime) as program, anyio.fail_after(PATIENCE):
        async with actors.connect() as system:
            events = system.events()
            assert b"this process is a fork of the one that is connected" in await _line(program)
            async for event in events:  # although the fork lives
                if event.kind == "client_gone":
                    break
            events.close()
