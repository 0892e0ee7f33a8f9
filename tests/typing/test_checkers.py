"""What a type checker says of code that uses `actors`: each mistake is reported, and nothing that is right."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.docs.pages import blocks
from tests.docs.test_tutorials import ADDED

ROOT = Path(__file__).parents[2]
RIGHT, WRONG = Path("tests/typing/right.py"), Path("tests/typing/wrong.py")
MARK = "  # wrong"

TUTORIALS = sorted((ROOT / "docs" / "tutorials").glob("*.md"))

pytestmark = pytest.mark.timeout(300)  # a checker reads the whole package first
Reported = dict[tuple[str, int], str]
"""The text of the first error of each line, by file and line."""


def mypy(folder: Path, *files: Path) -> Reported:
    """Return what ``mypy --strict`` reports of files of a folder; run here, where its cache is."""
    paths = [str(folder / file) for file in files]
    ran = _run(ROOT, ["mypy", "--strict", "--no-error-summary", *paths], MYPYPATH=str(folder))
    found = re.findall(r"^([^:\n]+):(\d+): error: (.*)$", ran.stdout, re.MULTILINE)
    assert bool(found) == bool(ran.returncode), ran.stdout
    return {(str((ROOT / file).relative_to(folder)), int(line)): text for file, line, text in found}


def pyright(folder: Path, *files: Path) -> Reported:
    """Return what pyright reports, which is strict by the configuration in the folder."""
    ran = _run(
        folder, ["pyright", "--outputjson", "--pythonpath", sys.executable, *map(str, files)]
    )
    report = json.loads(ran.stdout)
    assert report["summary"]["filesAnalyzed"] == len(files), ran.stdout
    return {
        (
            str(Path(one["file"]).relative_to(folder)),
            one["range"]["start"]["line"] + 1,
        ): one["message"]
        for one in report["generalDiagnostics"]
        if one["severity"] == "error"
    }


def _run(folder: Path, command: list[str], **env: str) -> subprocess.CompletedProcess[str]:
    ran = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=folder,
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode in {0, 1}, ran.stdout + ran.stderr
    return ran


Checker = Callable[..., Reported]


@pytest.mark.parametrize("checker", [mypy, pyright])
def test_every_wrong_use_is_reported_and_no_right_one(checker: Checker) -> None:
    lines = enumerate((ROOT / WRONG).read_text(encoding="utf-8").splitlines(), 1)
    wrong = {(str(WRONG), number) for number, line in lines if line.endswith(MARK)}
    assert len(wrong) >= 40

    reported = checker(ROOT, WRONG, RIGHT)

    assert wrong - set(reported) == set()
    assert {place: text for place, text in reported.items() if place not in wrong} == {}


@pytest.mark.parametrize("checker", [mypy, pyright])
@pytest.mark.parametrize("page", TUTORIALS, ids=lambda page: page.stem)
def test_what_a_tutorial_builds_is_strictly_typed(
    checker: Checker, page: Path, tmp_path: Path
) -> None:
    files: dict[str, str] = {}
    for block in blocks(page):
        if block.language == "python":
            name = block.title.removesuffix(ADDED)
            before = files[name] + "\n\n" if block.title != name else ""
            files[name] = before + block.text
    for name, text in files.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    # Starlette's test client has no types without httpx2.
    config = {"typeCheckingMode": "strict", "reportUnknownMemberType": False}
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(config))

    assert checker(tmp_path, *map(Path, files)) == {}
