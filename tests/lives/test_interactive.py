"""Systems in notebooks, IPython and the asyncio REPL, where each cell or line is a task of its own."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.cli.running_command import running
from tests.scripts import ROOT

LIBRARY = """
import asyncio
import actors

class Square(actors.Actor):
    async def square(self, x):
        return x * x

    async def wait(self):
        await asyncio.sleep(600)
"""
START = "system = await actors.start(actors.Topology(nodes=[actors.nodes('n')]))"


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    """One loop: the programs have their own."""
    return "asyncio", {}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "squares.py").write_text(LIBRARY)
    return tmp_path


def environment(folder: Path) -> dict[str, str]:
    return {
        **os.environ,
        "PYTHONPATH": f"{ROOT}{os.pathsep}{folder}",
        "ACTORS_LOG": "warning",
        "HOME": str(folder),
        "IPYTHONDIR": str(folder),
    }


def talk(
    folder: Path,
    lines: list[str],
    *command: str,
    python: str = sys.executable,
    env: dict[str, str] | None = None,
) -> str:
    done = subprocess.run(
        [python, *command],
        input="\n".join([*lines, ""]),
        cwd=folder,
        env=environment(folder) | (env or {}),
        capture_output=True,
        text=True,
        check=False,
        timeout=50,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


USE = [
    "import actors, squares",
    START,
    "near = await system.spawn(squares.Square)",
    "far = await system.spawn(squares.Square, on='n')",
    "print('result', await near.ask(squares.Square.square, 3), await far.ask(squares.Square.square, 4))",
    "print('same', actors.current() is system)",
]


def interpreter(version: str) -> str:
    """Return an interpreter of another version of Python that has what this package needs, or skip the test."""
    if version == f"{sys.version_info.major}.{sys.version_info.minor}":
        return sys.executable
    pyenv = Path("~/.pyenv/versions").expanduser()
    homes = (ROOT / f".venv-{version}", *sorted(pyenv.glob(f"{version}.*")))
    found = [shutil.which(f"python{version}"), *(str(home / "bin" / "python") for home in homes)]
    for python in found:
        if python is not None and Path(python).exists():
            needs = "import anyio, msgpack._cmsgpack, structlog"
            asked = subprocess.run([python, "-c", needs], capture_output=True, check=False)
            if asked.returncode == 0:
                return python
    pytest.skip(f"there is no Python {version} here with anyio, msgpack and structlog")


@pytest.mark.parametrize("version", ["3.12", "3.13", "3.14", "3.15"])
def test_the_asyncio_repl_of_other_versions(folder: Path, version: str) -> None:
    lines = [*USE, "await system.aclose()", "print(await system.wait())"]
    said = talk(folder, lines, "-m", "asyncio", python=interpreter(version))
    assert "result 9 16" in said
    assert "same True" in said
    assert "SHUTDOWN" in said
    assert "Traceback" not in said


def test_the_asyncio_repl_is_connected_to_another_program(folder: Path) -> None:
    runtime = folder / "run"
    runtime.mkdir(mode=0o700)
    path = f"{ROOT}{os.pathsep}{folder}"
    shop = "Topology(children=[actors.child(squares.Square, name='square')])"
    (folder / "shop.py").write_text(f"import actors, squares\ntopology = actors.{shop}\n")
    with running(runtime, "run", "shop:topology", cwd=folder, env={"PYTHONPATH": path}):
        said = talk(
            folder,
            [
                "import actors, squares",
                "system = await actors.connect()",
                "square = await system.lookup('square', squares.Square)",
                "print('result', await square.ask(squares.Square.square, 3))",
                "print('same', actors.current() is system)",
                "await system.aclose()",
            ],
            "-m",
            "asyncio",
            env={"XDG_RUNTIME_DIR": str(runtime)},
        )
    assert "result 9" in said
    assert "same True" in said
    assert "Traceback" not in said


def test_the_asyncio_repl(folder: Path) -> None:
    said = talk(
        folder, [*USE, "await system.aclose()", "print(await system.wait())"], "-m", "asyncio"
    )
    assert "result 9 16" in said
    assert "same True" in said
    assert "SHUTDOWN" in said
    assert "Traceback" not in said


def test_the_asyncio_repl_that_is_left_leaves_nothing(folder: Path) -> None:
    said = talk(folder, [*USE, "print('pid', system.nodes[1].pid)"], "-m", "asyncio")
    assert "result 9 16" in said
    pid = int(said.partition("pid ")[2].split()[0])
    assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == "zombie"
    assert "destroyed" not in said
    assert "Traceback" not in said


def test_ipython(folder: Path) -> None:
    options = [
        "-m",
        "IPython",
        "--simple-prompt",
        "--no-banner",
        "--no-confirm-exit",
        "--colors=NoColor",
    ]
    said = talk(folder, [*USE, "await system.aclose()", "print(await system.wait())"], *options)
    assert "result 9 16" in said
    assert "same True" in said
    assert "SHUTDOWN" in said
    assert "Traceback" not in said


@pytest.fixture
def own_policy() -> Iterator[None]:
    """The loop policy as it was, whatever the client of the notebook does to it."""
    before = asyncio.get_event_loop_policy()
    yield
    asyncio.set_event_loop_policy(before)


NOTEBOOK = """
import sys
from nbclient import NotebookClient
import nbformat

def run(*cells):
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    NotebookClient(book, timeout=40, allow_errors=True, kernel_name="python3").execute()
    for cell in book.cells:
        for output in cell.outputs:
            print(output.get("text") or output.get("evalue") or output.get("data", {}).get("text/plain"))
"""


def test_a_notebook(folder: Path) -> None:
    cells = [
        *USE,
        "await system.aclose()",
        "print(await system.wait())",
        "await system.spawn(squares.Square)",
    ]
    (folder / "book.py").write_text(f"{NOTEBOOK}\nrun(*{cells!r})\n")
    said = talk(folder, [], "book.py")
    assert "result 9 16" in said
    assert "same True" in said
    assert "SHUTDOWN" in said
    assert "the system has stopped" in said


INTERRUPTED = """
import threading
from jupyter_client.manager import start_new_kernel

manager, client = start_new_kernel(kernel_name="python3")
def execute(code, interrupt_after=None):
    if interrupt_after is not None:
        threading.Timer(interrupt_after, manager.interrupt_kernel).start()
    out = []
    reply = client.execute_interactive(
        code, timeout=40, output_hook=lambda message: out.append(message["content"].get("text", ""))
    )
    print(reply["content"]["status"], "".join(out).strip(), flush=True)

for cell in CELLS:
    execute(cell)
execute("await far.ask(squares.Square.wait)", 1.0)
execute("print('after', await far.ask(squares.Square.square, 5), [node.restarts for node in system.nodes])")
execute("await system.aclose()")
client.stop_channels()
manager.shutdown_kernel()
"""


def test_the_stop_button_of_a_notebook_cancels_the_cell_and_leaves_the_system_alone(
    folder: Path,
) -> None:
    (folder / "book.py").write_text(f"CELLS = {USE!r}\n{INTERRUPTED}")
    said = talk(folder, [], "book.py")
    assert "error" in said
    assert "ok after 25 [0, 0]" in said
