"""The tutorials are followed as a reader would: files are written, commands run, outputs compared.

A python block with the title "shop.py" is that file; with "shop.py, at the end" it is added to it. A console
block runs its commands one after another in the folder. One with a title has one command, which goes on running
in a terminal of that name while the rest of the page is followed: what it shows has to come. `^C` ends it.
Commands that install are left out.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.cli.running_command import PATIENCE, environment
from tests.docs.console import commands, plain, shows
from tests.docs.pages import ROOT, Block, blocks

PAGES: Final = sorted((ROOT / "docs" / "tutorials").glob("*.md"))
ADDED: Final = ", at the end"
LEFT_OUT: Final = ("pip ", "python -m venv", "source ", "mkdir ", "cd ")


class Terminal:
    """A command in the foreground of a terminal of its own."""

    def __init__(self, line: str, folder: Path, env: dict[str, str]) -> None:
        self.lines: list[str] = []
        self._news = threading.Condition()
        self.process = subprocess.Popen(
            ["/bin/bash", "-c", f"exec {line}"],
            cwd=folder,
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._news:
                self.lines.append(line.rstrip("\n"))
                self._news.notify()

    def wait_for(self, page: list[str]) -> None:
        """Wait until the command has printed what the page shows."""
        with self._news:
            came = self._news.wait_for(lambda: shows(page, self.lines), PATIENCE)
        assert came, "\n".join([*page, "but:", *map(plain, self.lines)])

    def interrupt(self) -> None:
        """Press Ctrl-C and wait for the end."""
        self.process.send_signal(signal.SIGINT)
        self.process.wait(PATIENCE)
        self._reader.join()

    def close(self) -> None:
        self.process.kill()
        self.process.wait(PATIENCE)
        self._reader.join()
        assert self.process.stdout is not None
        self.process.stdout.close()


class Reader:
    """Who follows a tutorial, in an empty folder."""

    def __init__(self, folder: Path, runtime: Path) -> None:
        self.folder = folder
        scripts = Path(sys.executable).parent
        self.env = environment(
            runtime,
            ACTORS_LOG_FORMAT="console",
            PATH=f"{scripts}{os.pathsep}{os.environ['PATH']}",
            PYTHONPATH=str(ROOT),
            PYTHONUNBUFFERED="1",
        )
        del self.env["ACTORS_LOG"]
        self.terminals: dict[str, Terminal] = {}
        with socket.create_server(("127.0.0.1", 0)) as free:
            self._port = free.getsockname()[1]

    def follow(self, block: Block) -> None:
        if block.language == "python":
            assert block.title, f"the block of line {block.line} names no file"
            path = self.folder / block.title.removesuffix(ADDED)
            before = path.read_text() + "\n\n" if block.title.endswith(ADDED) else ""
            path.write_text(before + block.text)
        elif block.language == "console" and block.title:
            self._in_terminal(block)
        elif block.language == "console":
            for line, said in commands(block):
                if not line.startswith(LEFT_OUT):
                    printed = self._run(line)
                    assert shows(said, printed), "\n".join([f"$ {line}", *printed])

    def _in_terminal(self, block: Block) -> None:
        if block.text == "^C\n":
            self.terminals[block.title].interrupt()
            return
        ((line, said),) = commands(block)
        if line.startswith("actors serve"):
            line += f" --bind 127.0.0.1:{self._port}"
        self.terminals[block.title] = Terminal(line, self.folder, self.env)
        self.terminals[block.title].wait_for(said)

    def _run(self, line: str) -> list[str]:
        done = subprocess.run(
            ["/bin/bash", "-c", line.replace("localhost:8000", f"127.0.0.1:{self._port}")],
            cwd=self.folder,
            env=self.env,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        return done.stdout.splitlines() or done.stderr.splitlines()

    def close(self) -> None:
        for terminal in self.terminals.values():
            terminal.close()


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    runtime = Path(tempfile.mkdtemp(prefix="actors-doc-"))
    made = Reader(tmp_path, runtime)
    yield made
    made.close()
    shutil.rmtree(runtime)


@pytest.mark.timeout(240)  # it starts twenty programs, one after another
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_reader_who_follows_a_tutorial_sees_what_it_shows(page: Path, reader: Reader) -> None:
    for block in blocks(page):
        try:
            reader.follow(block)
        except AssertionError as error:
            error.add_note(f"{page.relative_to(ROOT)}, line {block.line}")
            raise
