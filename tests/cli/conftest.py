"""Fixtures of the command line's tests: a short folder for sockets, a project to import from."""

import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cli.running_command import Running, running


@pytest.fixture
def runtime() -> Iterator[Path]:
    """A folder whose path is short enough for sockets."""
    folder = Path(tempfile.mkdtemp(prefix="actors-cli-"))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def system() -> Iterator[Running]:
    """One system for all tests of a file that leave it as it is."""
    folder = Path(tempfile.mkdtemp(prefix="actors-cli-"))
    with running(folder, "run", "topologies:good") as started:
        yield started
    shutil.rmtree(folder)


@pytest.fixture
def project(
    tmp_path: Path, runtime: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[str, str], None]]:
    """Write modules into the current folder; what they import is removed from `sys.modules` afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
    before = set(sys.modules)

    def write(name: str, text: str) -> None:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)

    yield write
    for name in set(sys.modules) - before:
        del sys.modules[name]
