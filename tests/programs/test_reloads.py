"""Reloads of programs: one instance after another, readiness gated, the old one kept if the new one fails."""

from __future__ import annotations

import http.client
import sys
from collections.abc import Callable
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from actors import program
from actors._system.program_spec import ProgramSpec
from actors.errors import ActorsError, InvalidSpec, ReloadFailed, ReloadRunning
from tests.programs.observed import SLEEPS, Observed, free_ports, observed

pytestmark = pytest.mark.within(40)
_SERVER = [sys.executable, str(Path(__file__).with_name("server.py"))]


@pytest.fixture
def anyio_backend() -> str:
    """One loop: how processes replace each other does not depend on it."""
    return "asyncio"


def served(folder: Path, *, instances: int = 1, start_timeout: float = 20.0) -> ProgramSpec:
    return program(
        "api",
        [*_SERVER, str(folder)],
        instances=instances,
        port=free_ports(instances + 1),
        health="http://127.0.0.1:{port}/healthz",
        start_timeout=start_timeout,
    )


async def test_a_program_without_a_port_is_replaced_when_the_new_process_is_ready() -> None:
    async with observed(program("job", SLEEPS, instances=2)) as seen:
        before = [one["pid"] for one in seen.facts("job")]
        await seen.system.reload("job")
        after = [one["pid"] for one in seen.facts("job")]
        assert not set(before) & set(after)
        assert [one["restarts"] for one in seen.facts("job")] == [0, 0]
        for old, name in zip(before, ("job/0", "job/1"), strict=True):
            ended = await seen.event("program_ended", program=name)
            assert (ended.facts["pid"], ended.facts["asked"]) == (old, True)


async def test_where_the_port_can_be_shared_both_processes_run_until_the_new_one_is_ready(
    tmp_path: Path,
) -> None:
    (tmp_path / "shared").touch()
    async with observed(served(tmp_path)) as seen:
        old = seen.pid("api")
        await seen.system.reload("api")
        new = seen.pid("api")
        kinds = await _until_done(seen)
        assert kinds.index(("program_ready", new)) < kinds.index(("program_ended", old))


async def test_where_it_cannot_be_shared_the_old_process_ends_first(tmp_path: Path) -> None:
    async with observed(served(tmp_path)) as seen:
        old = seen.pid("api")
        await seen.system.reload("api/0")
        new = seen.pid("api")
        kinds = await _until_done(seen)
        assert kinds.index(("program_ended", old)) < kinds.index(("program_started", new))


async def test_the_old_process_stays_if_the_new_one_never_gets_ready(tmp_path: Path) -> None:
    (tmp_path / "shared").touch()
    async with observed(served(tmp_path, instances=2)) as seen:
        before = [one["pid"] for one in seen.facts("api")]
        (tmp_path / "broken").touch()
        with pytest.raises(ReloadFailed) as failed:
            await seen.system.reload("api")
        text = str(failed.value)
        assert text.startswith("program api/0 stays as it was, none is renewed: api/0 ended before")
        assert "nothing works" in text
        assert [one["pid"] for one in seen.facts("api")] == before
        assert [one["state"] for one in seen.facts("api")] == ["READY", "READY"]
        told = await seen.event("reload_failed", program="api/0")
        assert "nothing works" in told.facts["error"]


async def test_a_new_process_that_is_sick_is_not_taken_for_ready_because_the_old_one_answers(
    tmp_path: Path,
) -> None:
    (tmp_path / "shared").touch()
    async with observed(served(tmp_path, start_timeout=2.0)) as seen:
        before = seen.pid("api")
        (tmp_path / "stillborn").touch()
        with pytest.raises(ReloadFailed, match=r"api/0 was not ready within 2 s"):
            await seen.system.reload("api")
        assert seen.pid("api") == before


async def test_one_whose_port_is_not_shared_is_restarted_by_its_supervisor_if_the_new_one_fails(
    tmp_path: Path,
) -> None:
    async with observed(served(tmp_path, instances=2)) as seen:
        second = seen.facts("api")[1]["pid"]
        (tmp_path / "broken").touch()
        with pytest.raises(ReloadFailed, match="program api/0 is being restarted, none is renewed"):
            await seen.system.reload("api")
        assert seen.facts("api")[1]["pid"] == second
        (tmp_path / "broken").unlink()
        await seen.event("child_started", child="api/0")


async def test_one_change_of_a_program_at_a_time(tmp_path: Path) -> None:
    (tmp_path / "shared").touch()
    async with observed(served(tmp_path)) as seen, anyio.create_task_group() as beside:
        (tmp_path / "late").touch()
        beside.start_soon(seen.system.reload, "api")
        await seen.event("reload_started")
        with pytest.raises(ReloadRunning, match="program 'api' is being changed"):
            await seen.system.reload("api")
        (tmp_path / "late").unlink()


async def test_a_program_that_is_stopped_while_it_is_reloaded_leaves_nothing(
    tmp_path: Path,
) -> None:
    (tmp_path / "shared").touch()
    async with observed(served(tmp_path)) as seen, anyio.create_task_group() as beside:
        (tmp_path / "late").touch()
        failed = beside.start_soon

        async def reload() -> None:
            with pytest.raises(ActorsError):
                await seen.system.reload("api")

        failed(reload)
        await seen.event("program_started", program="api/0")
        await seen.event("program_started", program="api/0")
        await seen.programs.stop("api")


async def test_a_name_that_no_program_has_is_refused() -> None:
    async with observed(program("job", SLEEPS)) as seen:
        with pytest.raises(InvalidSpec, match="there is no node or group 'job/7'"):
            await seen.system.reload("job/7")


@pytest.mark.parametrize("shared", [True, False], ids=["shared port", "a port each"])
async def test_under_load_no_request_is_lost(tmp_path: Path, shared: bool) -> None:
    """Clients go to the next instance where one refuses, as those of nginx and HAProxy do."""
    if shared:
        (tmp_path / "shared").touch()
    spec = served(tmp_path, instances=2)
    ports = list(spec.program.ports(2))
    async with observed(spec) as seen, anyio.create_task_group() as clients:
        answered: list[int] = []
        over = anyio.Event()

        async def client(first: int) -> None:
            while not over.is_set():
                answered.append(await anyio.to_thread.run_sync(_ask, ports, first))
                first += 1

        for number in range(4):
            clients.start_soon(client, number)
        for _ in range(2):
            await seen.system.reload("api")
        over.set()
    assert len(set(answered)) > 2


def _ask(ports: list[int], first: int) -> int:
    """Ask one of the instances, or another if that does not take the request."""
    for number in range(first, first + 40 * len(ports)):
        client = http.client.HTTPConnection("127.0.0.1", ports[number % len(ports)], timeout=20)
        try:
            client.connect()
            client.request("GET", "/")
            answer = client.getresponse()
        except (ConnectionRefusedError, ConnectionResetError, http.client.RemoteDisconnected):
            continue  # nothing of it was read
        finally:
            body = _read(locals().get("answer"))
            client.close()
        assert answer.status == 200
        return int(body)
    raise AssertionError("no instance took the request")


def _read(answer: object) -> bytes:
    return answer.read() if isinstance(answer, http.client.HTTPResponse) else b""


async def _until_done(seen: Observed) -> list[tuple[str, int]]:
    """What happened to processes up to the end of the reload."""
    found: list[tuple[str, int]] = []
    take: Callable[[], object] = seen._events.__anext__
    while True:
        event = await take()  # type: ignore[misc] # the next event
        if event.kind == "reload_done":
            return found
        if event.kind.startswith("program_"):
            found.append((event.kind, event.facts["pid"]))
