"""What the pages show is so: every python block runs, and prints what the page says that it prints."""

from __future__ import annotations

import gc
import importlib
import inspect
import re
import sys
from pathlib import Path

import pytest

import actors
from tests.docs.pages import ROOT, Program, programs
from tests.scripts import run_pytest

FOLDERS = ("coming-from", "guides", "reference")
PAGES = [ROOT / "README.md"] + [
    page for folder in FOLDERS for page in sorted((ROOT / "docs" / folder).glob("*.md"))
]
PROGRAMS = [
    pytest.param(
        "_".join(page.relative_to(ROOT).with_suffix("").parts),
        program,
        id=f"{page.parent.name}/{page.stem}-{program.line}",
    )
    for page in PAGES
    for program in programs(page)
]


# An actor that is killed closes nothing; from Python 3.13 on a database says so when it is collected.
@pytest.mark.filterwarnings("ignore:unclosed database:ResourceWarning")
@pytest.mark.parametrize("page, program", PROGRAMS)
def test_a_block_of_a_page_runs_and_prints_what_the_page_says(
    page: str,
    program: Program,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    no_leaks: None,
) -> None:
    # A module, so that the process nodes of the program can import its classes.
    name = f"{page.replace('-', '_')}_line_{program.line}"
    (tmp_path / f"{name}.py").write_text(program.source, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    try:
        module = importlib.import_module(name)
        for entry in program.entries:
            run = getattr(module, entry)
            if inspect.signature(run).parameters:  # a test with fixtures
                said = run_pytest(tmp_path / f"{name}.py", "-k", entry)
                assert re.search(r"^\d+ passed, \d+ deselected", said, re.MULTILINE), said
            elif inspect.iscoroutinefunction(run):
                actors.run(run)
            else:
                run()
    finally:
        sys.modules.pop(name, None)
        if "sqlite3" in program.source:
            gc.collect()

    assert capsys.readouterr().out == program.prints


def test_a_traceback_names_the_line_of_the_page(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# A\n\n```python\nx = 1\n```\n\ntext\n\n```python\n1 / 0\n```\n")

    with pytest.raises(ZeroDivisionError) as caught:
        exec(compile(programs(page)[1].source, page, "exec"), {})  # noqa: S102 - our own page

    assert caught.traceback[-1].lineno + 1 == 10
