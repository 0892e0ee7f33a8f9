"""The page about application files: its files are checked, run and applied, and print what the page says."""

from __future__ import annotations

import re
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.running_command import run_here, running
from tests.docs.pages import ROOT, blocks

PAGE = ROOT / "docs" / "guides" / "application-file.md"
BLOCKS = blocks(PAGE)
pytestmark = pytest.mark.usefixtures("no_leaks")


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with the files of the page, which is the current one."""
    made = Path(tempfile.mkdtemp(prefix="actors-doc-"))  # short enough for sockets
    for block in BLOCKS:
        if block.title:
            (made / block.title).write_text(block.text)
    monkeypatch.chdir(made)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("PORT", "0")
    yield made
    shutil.rmtree(made)
    sys.modules.pop("shop", None)


def shown(command: str) -> str:
    """Return what the page says that a command prints."""
    (block,) = [one for one in BLOCKS if one.text.startswith(f"$ {command}\n")]
    return block.text.partition("\n")[2]


def test_the_file_of_the_page_is_right_with_each_of_its_profiles(folder: Path) -> None:
    code, out, err = run_here(folder, "check")
    assert (code, err) == (0, "")
    assert out == shown("actors check").replace("127.0.0.1:8000", "127.0.0.1:0")
    assert run_here(folder, "check", "--profile", "production")[0] == 0


def test_the_wrong_file_of_the_page_is_refused_as_it_says(folder: Path) -> None:
    code, out, err = run_here(folder, "check", "wrong.toml")
    assert (code, out, err) == (2, "", shown("actors check wrong.toml"))


def test_the_changes_of_the_page_are_made_as_it_says(folder: Path) -> None:
    with running(folder, "run", cwd=folder, env={"PORT": "0"}) as system:
        code, out, err = run_here(folder, "apply", "changed.toml", "--yes")
        assert (code, err) == (0, "")
        assert out == re.sub(r"make these changes.*\n", "", shown("actors apply changed.toml"))
        assert run_here(folder, "ask", "stock", "take", "1")[1] == "19\n"
        assert system.end(signal.SIGTERM) == 0
