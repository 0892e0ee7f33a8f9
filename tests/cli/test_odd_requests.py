"""Nothing that is said to a system's control socket ends it, and nothing it answers harms a terminal."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.running_command import HERE, Running, command, environment, run_here, running
from tests.cli.test_control import exchange

SHOP = r"""
from actors import Actor, Topology, child, nodes

NAME = "\x1b[31mroom\n\0\x9b\u202e\ud800"

class Room(Actor):
    async def on_start(self):
        if self.context.incarnation == 1:
            await self.context.ref.tell(Room.join, "\ud800\x1b]0;title\x07\nnew line")
        if self.context.ref.name == "room":
            await self.context.spawn(Room, name=NAME)

    async def join(self, name):
        raise ValueError(f"bad name {name}")

topology = Topology(nodes=[nodes("back")], children=[child(Room, on="back", name="room")])
"""
HALF = "\ud800"
ODD: list[Any] = [
    None,
    True,
    -1,
    10**4000,
    1.5,
    float("nan"),
    float("inf"),
    "",
    "\0",
    "a\nb",
    "\x1b[2J",
    HALF,
    "x" * 60_000,
    "../../etc",
    [],
    {},
    [[]],
    [HALF],
    {HALF: HALF},
    {"": None},
    {"web": HALF, "back": 10**400},
]
REQUESTS: list[dict[str, Any]] = [
    *({"op": op} for op in ODD),
    *({"op": "ps", name: 1} for name in ("", HALF, "\0", "self", "core", "x" * 60_000)),
    *({"op": "top", "seconds": odd} for odd in ODD if odd not in (True, 1.5)),
    *({"op": "top", "seconds": 0.01, "rows": odd} for odd in ODD),
    *({"op": "top", "seconds": 0.01, "by": odd} for odd in ODD),
    *({"op": "stack", "node": odd} for odd in ODD),
    *({"op": "stop_node", "node": odd} for odd in ODD),
    *({"op": "kill", "node": odd} for odd in ODD),
    *({"op": "scale", "groups": odd} for odd in ODD),
    *(
        {"op": "reload", "nodes": odd, "ready_timeout": 0.01}
        for odd in ODD
        if odd not in ([], "", {}, None)
    ),
    *({"op": "reload", "nodes": ["none"], "surge": odd} for odd in ODD),
    *({"op": "spawn", "name": odd} for odd in ODD),
    *(
        {"op": "spawn", "name": "x", option: odd}
        for option in ("count", "kind", "backend", "nice")
        for odd in ODD
        if odd not in (None, True, -1, 1.5)
    ),
    *({"op": "spawn", "name": "x", "preload": odd} for odd in ODD if odd != []),
    *({"op": "spawn", "name": "x", "preload": [odd]} for odd in ODD),
    *({"op": "spawn", "name": "x", "env": odd} for odd in ODD if odd not in ({}, [], None)),
    *(
        {"op": "spawn", "name": f"env{number}", "kind": "process", "env": env}
        for number, env in enumerate(
            [{"A": "a\0b"}, {"A": HALF}, {HALF: "a"}, {"A=B": "c"}, {"": "a"}, {"A\0": "b"}]
        )
    ),
]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    runtime = tmp_path_factory.mktemp("r")
    (runtime / "shop.py").write_text(SHOP)
    with running(runtime, "run", "shop:topology", cwd=runtime) as system:
        yield system


def test_odd_requests_get_an_answer_each_and_the_system_goes_on(shop: Running) -> None:
    for request in REQUESTS:
        reply = json.loads(exchange(shop.socket, json.dumps(request).encode() + b"\n"))
        assert reply["ok"] in (True, False), request
        if not reply["ok"]:
            assert reply["error"], request
    assert shop.process.poll() is None
    assert run_here(shop.runtime, "ps")[0] == 0


@pytest.mark.parametrize("arguments", [("ps",), ("tree",), ("top", "--once", "--interval", "0.01")])
@pytest.mark.parametrize("form", [(), ("--json",)], ids=["text", "json"])
@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "latin-1"])
def test_what_is_printed_of_strange_names_and_errors_is_printable(
    shop: Running, arguments: tuple[str, ...], form: tuple[str, ...], encoding: str
) -> None:
    shop.event("child ended", child="room")
    done = subprocess.run(
        command(*arguments, *form),
        env=environment(shop.runtime, PYTHONIOENCODING=encoding, PYTHONUTF8="0"),
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    text = done.stdout.decode(encoding)
    assert text.replace("\n", "").isprintable()
    if form:
        assert json.loads(text)["pid" if arguments[0] != "tree" else "name"]
    elif arguments[0] != "ps":
        # ASCII has no room for more than the name's escapes, which are ASCII.
        assert r"\x1b[31mroom\n\x00\x9b\u202e\ud800" in text


def test_events_of_strange_names_are_printable(shop: Running) -> None:
    request = json.dumps({"op": "kill", "node": "\x1b\n\ud800"}).encode() + b"\n"
    with subprocess.Popen(
        command("events"),
        env=environment(shop.runtime),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as follower:
        try:
            assert follower.stdout is not None
            assert follower.stderr is not None
            assert b"following" in follower.stderr.readline()
            # Who says nothing for half a second is closed without an event; this process may be kept so long.
            while not exchange(shop.socket, request):
                pass
            line = follower.stdout.readline().decode().rstrip("\n")
            assert line.isprintable()
            assert "control_refused" in line
        finally:
            follower.terminate()


def test_an_error_that_is_printed_is_printable(shop: Running) -> None:
    code, _, err = run_here(shop.runtime, "stop", "\x1b[2J\x9b\ud800")
    assert code == 2
    assert err.replace("\n", "").isprintable()


def test_what_lies_in_the_control_folder_is_no_traceback(runtime: Path) -> None:
    folder = runtime / "actors"
    folder.mkdir(mode=0o700)
    (folder / "123456.sock").mkdir()
    (folder / "4194000.sock").write_text("no socket")
    (folder / "999999999999999999999999.sock").touch()
    (
        folder / "12\ud800.sock".encode("utf-8", "surrogatepass").decode("utf-8", "surrogateescape")
    ).touch()
    (folder / "5.sock").symlink_to("5.sock")
    code, _, err = run_here(runtime, "ps")
    assert (code, err.count("\n")) == (3, 1)
    for name in ("ps", "stop", "events"):
        code, _, err = run_here(runtime, name, "--pid", "123456")
        assert code == 3
        assert err == f"actors {name}: error: no system runs in process 123456; running: none\n"
    with running(runtime, "run", "topologies:small") as system:
        assert run_here(runtime, "ps")[0] == 0
        assert (folder / "123456.sock").is_dir()
        assert system.process.poll() is None


@pytest.mark.parametrize(
    "arguments",
    [
        ("scale", f"back={'9' * 5000}"),
        ("serve", "shop:app", "--nodes", "9" * 5000),
        ("run", "topologies:good", "--nodes", f"web={'9' * 5000}"),
    ],
    ids=["scale", "serve", "run"],
)
def test_a_number_of_thousands_of_digits_is_a_usage_mistake(
    shop: Running, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    monkeypatch.chdir(HERE)
    monkeypatch.setattr("sys.path", [str(HERE), *sys.path])
    code, _, err = run_here(shop.runtime, *arguments)
    assert (code, err.count("\n")) == (2, 1)
