"""The control socket: whatever comes to it, one clear answer, one log line, and the system goes on."""

import json
import os
import random
import socket
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from actors import System
from actors._base.control_folder import make_folder
from actors._base.events import EventStream
from actors._system.control.operations import OPERATIONS, ControlOperation, Refused
from actors._system.control.server import _parse, control_socket
from actors._system.system import coordinator_of
from tests.cli.running_command import PATIENCE, Running, run_here
from tests.cpu_time import assert_linear

CHANCE = random.Random(7)


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    """The command line runs systems on uvloop, and on nothing else."""
    return "asyncio", {"use_uvloop": True}


def exchange(path: Path, data: bytes, *, end: bool = False) -> bytes:
    """Send *data* as far as it is taken, and return everything that comes back."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(PATIENCE)
        sock.connect(str(path))
        try:
            sock.sendall(data)
            if end:
                sock.shutdown(socket.SHUT_WR)
        except (BrokenPipeError, ConnectionResetError):
            pass  # it has heard enough
        got = b""
        try:
            while part := sock.recv(65536):
                got += part
        except ConnectionResetError:
            pass  # it did not read all of what we sent
        return got


@pytest.mark.parametrize(
    "sent,why",
    [
        (b"hello\n", "a request is one line of JSON, got 'hello'"),
        (b"\xff\x00\xfe\n", "a request is one line of JSON, got "),
        (b"[" * 60000 + b"\n", "a request is one line of JSON, got '[[["),
        (b"[1]\n", 'a request is like {"op": "ps"}, got \'[1]\''),
        (b"{}\n", 'a request is like {"op": "ps"}, got \'{}\''),
        (b'{"op": 5}\n', 'a request is like {"op": "ps"}, got '),
        (b'{"op": "pss"}\n', "there is no op 'pss'; did you mean 'ps'?"),
        (b'{"op": "ps", "on": 1}\n', "op 'ps' takes nothing else, got "),
        (b'{"op": "kill", "nod": 1}\n', "op 'kill' takes node, got "),
        (b'{"op": "kill"}\n', "TypeError: _kill() missing 1 required"),
        (b'{"op": "scale", "groups": 1}\n', "AttributeError: 'int' object has no"),
        (b"x" * 200_000, "a request has at most 65536 bytes, this one has more"),
        (b"x" * 65_537 + b"\n", "a request has at most 65536 bytes, this one has "),
    ],
    ids=lambda value: None if isinstance(value, str) else repr(value[:12]),
)
def test_garbage_gets_one_error_and_one_log_line_and_the_system_serves_on(
    system: Running, sent: bytes, why: str
) -> None:
    before = len(system.events)
    reply = json.loads(exchange(system.socket, sent))
    assert reply["ok"] is False
    assert why in reply["error"]
    system.event("control refused", why=reply["error"], peer_pid=os.getpid())
    assert [event["event"] for event in system.events[before:]] == ["control refused"]
    assert run_here(system.runtime, "ps")[0] == 0


def test_half_a_line_and_then_the_end_is_refused(system: Running) -> None:
    reply = json.loads(exchange(system.socket, b'{"op": ', end=True))
    assert reply["error"] == "the request ended without a newline, after 7 bytes"


def test_random_bytes_never_hurt(system: Running) -> None:
    for _ in range(30):
        data = CHANCE.randbytes(CHANCE.randrange(1, 300))
        reply = json.loads(exchange(system.socket, data, end=True))
        assert reply["ok"] is False
    assert run_here(system.runtime, "tree")[0] == 0
    assert system.process.poll() is None


def test_who_only_connects_is_not_worth_a_line(system: Running) -> None:
    exchange(system.socket, b"begin\n")
    system.event("control refused", why="a request is one line of JSON, got 'begin'")
    before = len(system.events)
    for _ in range(3):
        assert exchange(system.socket, b"", end=True) == b""
    assert run_here(system.runtime, "ps")[0] == 0
    exchange(system.socket, b"end\n")
    system.event("control refused", why="a request is one line of JSON, got 'end'")
    new = [event["event"] for event in system.events[before:]]
    assert new == ["control refused"]


def test_folder_and_socket_are_for_their_user_alone(system: Running) -> None:
    assert system.socket.stat().st_mode & 0o777 == 0o600
    assert system.socket.parent.stat().st_mode & 0o777 == 0o700


@asynccontextmanager
async def served(folder: Path, time_limit: float = 5.0) -> AsyncIterator[tuple[Path, EventStream]]:
    """A system of this process with a control socket."""
    make_folder(folder)
    async with System() as system:
        events = system.events()
        async with control_socket(coordinator_of(system), folder, time_limit=time_limit) as path:
            yield path, events


async def refusal(events: EventStream) -> Mapping[str, Any]:
    with anyio.fail_after(PATIENCE):
        while (event := await anext(events)).kind != "control_refused":
            pass
    return event.facts


async def test_a_line_that_does_not_arrive_in_time_is_refused(
    runtime: Path, no_leaks: None
) -> None:
    async with served(runtime / "actors", 0.05) as (path, events):
        async with await anyio.connect_unix(path) as stream:
            await stream.send(b'{"op"')
            reply = json.loads(await stream.receive())
            assert reply["error"] == "the request did not arrive within 0.05 s"
            with pytest.raises(anyio.EndOfStream):
                await stream.receive()
        assert (await refusal(events))["why"] == reply["error"]
    assert not path.exists()


async def test_those_who_say_nothing_are_closed_without_a_line_and_delay_nobody_for_long(
    runtime: Path, no_leaks: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("actors._system.control.server._FIRST_BYTE", 0.05)
    async with served(runtime / "actors") as (path, events), AsyncExitStack() as silent:
        held = [await silent.enter_async_context(await anyio.connect_unix(path)) for _ in range(99)]
        async with await anyio.connect_unix(path) as late:
            await late.send(b'{"op": "ps"}\n')
            with anyio.fail_after(PATIENCE):
                assert json.loads(await late.receive())["ok"]
        with pytest.raises(anyio.EndOfStream):
            await held[0].receive()
        async with await anyio.connect_unix(path) as wrong:
            await wrong.send(b"end\n")
            assert not json.loads(await wrong.receive())["ok"]
        assert "got 'end'" in (await refusal(events))["why"]


@pytest.mark.parametrize(
    "begin,unit",
    [
        (b"", b"["),
        (b"", b'{"op":'),
        (b"", b" "),
        (b"", b"9"),
        (b'{"op": "', b"p"),
        (b'{"op": "', b"ps"),
        (b'{"op": "', b"\\ud800"),
        (b'{"op": "ps", "', b"on"),
        (b'{"op": "scale", "groups": [', b"1e9,"),
    ],
)
@pytest.mark.parametrize("end", [b"", b'"}'])
def test_the_time_for_a_request_grows_as_its_bytes_do(
    begin: bytes, unit: bytes, end: bytes
) -> None:
    def read(size: int) -> Callable[[], object]:
        line = begin + unit * (size // len(unit)) + end

        def refused() -> None:
            with pytest.raises(Refused):
                _parse(line)

        return refused

    assert_linear(read, 64 * 1024)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
async def test_another_user_is_refused_before_a_byte_is_read(runtime: Path, no_leaks: None) -> None:
    ask = (
        "import os, socket, sys\n"
        "os.setgid(65534); os.setuid(65534)\n"
        "sock = socket.socket(socket.AF_UNIX)\n"
        "sock.settimeout(20)\n"
        "sock.connect(sys.argv[1])\n"
        "sys.stdout.buffer.write(sock.recv(65536) + sock.recv(1))\n"
    )
    async with served(runtime / "actors") as (path, events):
        for opened in (path, path.parent, runtime):
            opened.chmod(0o777)  # as if the folder had not kept him out
        run = await anyio.run_process([sys.executable, "-c", ask, str(path)])
        error = f"uid 65534 may not control a system of uid {os.geteuid()}"
        assert json.loads(run.stdout) == {"ok": False, "error": error}
        assert (await refusal(events))["why"] == error


async def test_a_question_that_fails_is_an_event_and_not_the_end(
    runtime: Path, no_leaks: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(_core: object) -> None:
        raise ZeroDivisionError("a mistake of ours")

    monkeypatch.setitem(OPERATIONS, "ps", ControlOperation(broken))
    async with served(runtime / "actors") as (path, events):
        for _ in range(2):
            async with await anyio.connect_unix(path) as stream:
                await stream.send(b'{"op": "ps"}\n')
                reply = json.loads(await stream.receive())
            assert reply == {"ok": False, "error": "ZeroDivisionError: a mistake of ours"}
            assert (await refusal(events))["why"] == "ZeroDivisionError: a mistake of ours"
