"""What the documentation says is so: its script runs, its links lead somewhere, it names each file."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from tests.docs.pages import ROOT, blocks

PAGES: Final = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]

_LINK: Final = re.compile(r"\]\(([^)#\s]+)[^)]*\)")
_SCREEN: Final = 70
"""Lines of prose, without the blocks of code."""


def test_the_counter_of_the_readme_prints_what_the_readme_says(tmp_path: Path) -> None:
    of_page = blocks(ROOT / "README.md")
    first = next(index for index, block in enumerate(of_page) if block.language == "python")
    code, expected = of_page[first : first + 2]
    assert expected.language == "text"
    script = tmp_path / "counter.py"
    script.write_text(code.text, encoding="utf-8")

    done = subprocess.run(
        [sys.executable, str(script)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )

    assert (done.returncode, done.stdout) == (0, expected.text), done.stderr


def test_the_readme_is_one_screen_longer_than_its_examples() -> None:
    page = ROOT / "README.md"
    lines = page.read_text(encoding="utf-8").splitlines()
    of_examples = sum(block.text.count("\n") + 2 for block in blocks(page))

    assert len(lines) - of_examples <= _SCREEN


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_link_to_a_file_leads_there(page: Path) -> None:
    links = [link for link in _LINK.findall(page.read_text(encoding="utf-8")) if "://" not in link]

    assert [link for link in links if not (page.parent / link).exists()] == []


def test_every_file_that_the_architecture_names_is_there() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    named = re.findall(r"`((?:actors|transport|supervisors|tests|benchmarks|docs)/[\w./-]+)`", text)

    assert [name for name in named if not (ROOT / name).exists()] == []
