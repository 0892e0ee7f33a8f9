"""Connections that follow the events of a system: slow ones, many, and those that never read."""

import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest

from actors import System, Topology
from actors._base.control_folder import control_sockets, make_folder
from actors._base.events import EventStream
from actors._system.control.server import control_socket
from actors._system.coordinator import Coordinator
from actors._system.system import coordinator_of
from actors.cli.client.connection import ControlConnection
from tests.cli.running_command import PATIENCE

FLOOD = 9000


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    """The command line runs systems on uvloop, and on nothing else."""
    return "asyncio", {"use_uvloop": True}


class Follower:
    """A client that reads only when it is told to."""

    def __init__(self, path: Path, **arguments: object) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.setblocking(False)
        self.sock.connect(str(path))
        self.sock.send(json.dumps({"op": "events", **arguments}).encode() + b"\n")
        self.unread = b""

    async def line(self) -> dict[str, Any] | None:
        """Read one line, or None at the end."""
        while b"\n" not in self.unread:
            await anyio.wait_readable(self.sock)
            part = self.sock.recv(65536)
            if not part:
                self.sock.close()
                return None
            self.unread += part
        line, _, self.unread = self.unread.partition(b"\n")
        found: dict[str, Any] = json.loads(line)
        return found

    async def lines(self) -> list[dict[str, Any]]:
        """Read all there is."""
        found = []
        while (line := await self.line()) is not None:
            found.append(line)
        return found


@asynccontextmanager
async def served(
    folder: Path, topology: Topology | None = None
) -> AsyncIterator[tuple[Path, Coordinator]]:
    make_folder(folder)
    async with System(topology) as system:
        core = coordinator_of(system)
        async with control_socket(core, folder) as path:
            yield path, core


async def test_a_slow_reader_loses_the_oldest_events_and_is_told_how_many(
    runtime: Path, no_leaks: None
) -> None:
    with anyio.fail_after(PATIENCE):
        async with served(runtime / "actors") as (path, core):
            slow, quick = Follower(path), Follower(path)
            assert (await slow.line() or {})["ok"]
            assert (await quick.line() or {})["ok"]
            for number in range(FLOOD):
                core.event("flood", {"number": number})
                if number % 1000 == 0:
                    while (await quick.line() or {})["facts"]["number"] < number:
                        pass
            core.event("last", {})
            while (await quick.line() or {})["kind"] != "last":
                pass
            told: list[dict[str, Any]] = []
            while not told or told[-1]["kind"] != "last":
                told.append(await slow.line() or {})
            quick.sock.close()
            slow.sock.close()
    lost = [event["facts"]["count"] for event in told if event["kind"] == "events_lost"]
    came = [event["facts"]["number"] for event in told if event["kind"] == "flood"]
    assert lost
    assert len(came) + sum(lost) == FLOOD
    assert came == sorted(came)
    assert came[-1] == FLOOD - 1


async def test_one_that_never_reads_does_not_hold_up_the_end_of_the_system(
    runtime: Path, no_leaks: None
) -> None:
    with anyio.fail_after(PATIENCE):
        async with served(runtime / "actors") as (path, core):
            deaf = Follower(path)
            assert (await deaf.line() or {})["ok"]
            for number in range(FLOOD):
                core.event("flood", {"number": number})
            await anyio.lowlevel.checkpoint()
        told = await deaf.lines()
    assert 0 < len(told) < FLOOD


async def test_who_follows_hears_of_the_end_of_the_system_too(
    runtime: Path, no_leaks: None
) -> None:
    with anyio.fail_after(PATIENCE):
        async with served(runtime / "actors") as (path, _):
            follower = Follower(path)
            assert (await follower.line() or {})["ok"]
        kinds = [event["kind"] for event in await follower.lines()]
    assert kinds[0] == "system_stopping"
    assert kinds[-1] == "system_stopped"


async def test_more_than_sixteen_are_refused_until_one_has_gone(
    runtime: Path, no_leaks: None
) -> None:
    with anyio.fail_after(PATIENCE):
        async with served(runtime / "actors") as (path, core):
            followers = [Follower(path) for _ in range(16)]
            for follower in followers:
                assert (await follower.line() or {})["ok"]
            late = Follower(path)
            why = "16 follow the events already, which is as many as may"
            assert await late.lines() == [{"ok": False, "error": why}]
            # They do not keep others from asking, either.
            async with await anyio.connect_unix(path) as stream:
                await stream.send(b'{"op": "ps"}\n')
                assert json.loads(await stream.receive())["ok"]
            followers.pop().sock.close()
            while sum(isinstance(take, EventStream) for take in core.bus._subscribers) > 15:
                await anyio.lowlevel.checkpoint()
            again = Follower(path)
            assert (await again.line() or {})["ok"]
            for follower in [*followers, again]:
                follower.sock.close()


async def test_messages_are_told_only_to_who_asks_for_them(runtime: Path, no_leaks: None) -> None:
    with anyio.fail_after(PATIENCE):
        async with served(runtime / "actors") as (path, core):
            few, all_of_them = Follower(path), Follower(path, messages=True)
            assert (await few.line() or {})["ok"]
            assert (await all_of_them.line() or {})["ok"]
            core.event("message", {"actor": "ann"})
            core.event("other", {})
            assert (await all_of_them.line() or {})["kind"] == "message"
            assert (await few.line() or {})["kind"] == "other"
            few.sock.close()
            all_of_them.sock.close()


async def test_a_command_that_follows_has_begun_before_it_says_so(runtime: Path) -> None:
    with anyio.fail_after(PATIENCE):
        async with served(runtime / "actors") as (path, core):
            (found,) = control_sockets(runtime / "actors")
            sock = socket.socket(socket.AF_UNIX)
            await anyio.to_thread.run_sync(sock.connect, str(path))
            client = ControlConnection(found, sock)
            # Nothing of what it returns is asked for yet, and what happens meanwhile is not missed.
            events = await anyio.to_thread.run_sync(client.follow, "events")
            core.event("between", {})
            assert (await anyio.to_thread.run_sync(next, events))["kind"] == "between"
            client.close()
