"""Classes and functions that are typed in a notebook or a REPL run on process nodes, by value."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.lives.notebooks import Notebook
from tests.scripts import ROOT

START = (
    "import actors, dataclasses\n"
    "system = await actors.start(actors.Topology(nodes=[actors.nodes('cpu', count=2)]))"
)
END = "await system.aclose()"


@pytest.fixture(autouse=True)
def _from_the_checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("ACTORS_LOG", "error")


def test_an_actor_of_a_cell_runs_on_a_node_and_a_cell_that_is_run_again_makes_another() -> None:
    book = Notebook(
        START,
        "class Square(actors.Actor):\n    async def of(self, x): return x * x\nOld = Square",
        "first = await system.spawn(Square, on='cpu/0')\nawait first.ask(Square.of, 7)",
        "class Square(actors.Actor):\n    async def of(self, x): return x * x * 100",
        "second = await system.spawn(Square, on='cpu/0')\nawait second.ask(Square.of, 7)",
        "await first.ask(Old.of, 7)",
        END,
    )
    assert book.said[2] == "49"
    assert book.said[4:] == ["4900", "49", ""]


def test_values_of_a_class_of_a_cell_go_down_and_come_back_as_themselves() -> None:
    book = Notebook(
        START,
        "@dataclasses.dataclass\nclass Point:\n    x: int\n    y: int\n"
        "def scale(p, by):\n    return Point(p.x * by, p.y * by)",
        "class Mirror(actors.Actor):\n    async def turn(self, p): return Point(p.y, p.x)",
        "mirror = await system.spawn(Mirror, on='cpu/1')",
        "turned = await mirror.ask(Mirror.turn, Point(1, 2))\n(turned, type(turned) is Point)",
        "scaled = await system.offload(scale, Point(1, 2), 10)\n(scaled, type(scaled) is Point)",
        END,
    )
    assert book.said[4] == "(Point(x=2, y=1), True)"
    assert book.said[5] == "(Point(x=10, y=20), True)"


def test_a_function_uses_what_the_cells_say_now() -> None:
    book = Notebook(
        START,
        "FACTOR = 2\ndef times(x): return x * FACTOR",
        "await system.offload(times, 5)",
        "FACTOR = 3",
        "await system.offload(times, 5)",
        "def times(x): return -x",
        "await system.offload(times, 5)",
        "[x async for x in (await system.start(actors.pool(None, size=2))).map(times, range(3))]",
        END,
    )
    assert book.said[2::2][:3] == ["10", "15", "-5"]
    assert book.said[7] == "[0, -1, -2]"


def test_an_actor_of_a_cell_is_restarted_on_a_new_process() -> None:
    book = Notebook(
        START,
        "import os\n"
        "class Worker(actors.Actor):\n"
        "    async def pid(self): return os.getpid()\n"
        "    async def die(self): os._exit(3)\n",
        "worker = await system.spawn(Worker, on='cpu/0', restart=actors.Restart.PERMANENT)\n"
        "before = await worker.ask(Worker.pid)",
        "try: await worker.ask(Worker.die)\nexcept actors.ActorsError: pass",
        "await worker.wait_ready()\nafter = await worker.ask(Worker.pid)\nbefore != after",
        END,
    )
    assert book.said[4] == "True"


@pytest.mark.parametrize(
    "cell, why",
    [
        ("await system.offload(lambda: 1)", "lambda"),
        (
            "def locks(): return lock\nawait system.offload(locks)",
            "cannot be copied",
        ),
        (
            "class Locks(actors.Actor):\n    lock = lock\nawait system.spawn(Locks, on='cpu/0')",
            "cannot be copied",
        ),
        (
            "data = bytes(300_000)\ndef big(): return len(data)\nawait system.offload(big)",
            "bytes, over",
        ),
    ],
    ids=["a lambda", "a function with a lock", "an actor with a lock", "a large one"],
)
def test_what_cannot_be_copied_is_refused_by_name(cell: str, why: str) -> None:
    setup = "import threading\nlock = threading.Lock()"
    said = Notebook(START, setup, cell, END).said
    assert why in said[2], said
    assert said[3] == ""


def test_without_cloudpickle_the_extra_is_named() -> None:
    book = Notebook(
        "import importlib.util, sys\nfind = importlib.util.find_spec\n"
        "importlib.util.find_spec = lambda name, *a: None if name == 'cloudpickle' else find(name, *a)",
        START,
        "class A(actors.Actor): pass\nawait system.spawn(A, on='cpu/0')",
        END,
    )
    assert "pip install 'actors-framework[notebook]'" in book.said[2]


def test_what_is_typed_into_the_asyncio_repl_runs_on_a_node(tmp_path: Path) -> None:
    typed = (  # a line each: from a pipe, the REPL of Python 3.13 takes no more
        "import actors\n"
        "def double(x): return 2 * x\n"
        "\n"
        "system = await actors.start()\n"
        "print('double is', await system.offload(double, 21))\n"
        "await system.aclose()\n"
        "exit()\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "asyncio"],
        cwd=tmp_path,
        env={**os.environ, "ACTORS_LOG": "error"},
        input=typed,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "double is 42" in done.stdout, done.stdout + done.stderr
