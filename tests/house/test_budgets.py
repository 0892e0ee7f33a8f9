"""Rules of the house that no linter knows: sizes, public names, what a wheel holds."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import actors
from tests.house.parsing import parsed

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("actors", "supervisors", "transport")
SOURCES = sorted(path for name in FOLDERS for path in (ROOT / name).rglob("*.py"))

LONGEST_FILE = 600
LONGEST_BODY = 40
MOST_NAMES = 50

_UNFINISHED = re.compile(r"#.*\b(TODO|FIXME|XXX|HACK)\b")


def _name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def _body_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """How many lines a function has after its signature and docstring."""
    body = function.body
    if ast.get_docstring(function) is not None:
        body = body[1:]
    return 0 if not body else (body[-1].end_lineno or 0) - body[0].lineno + 1


@pytest.mark.parametrize("path", SOURCES, ids=_name)
def test_a_file_has_one_noun_and_at_most_600_lines(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= LONGEST_FILE


@pytest.mark.parametrize("path", SOURCES, ids=_name)
def test_a_function_fits_on_a_screen(path: Path) -> None:
    functions = [
        node
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]

    long = {node.name: lines for node in functions if (lines := _body_lines(node)) > LONGEST_BODY}

    assert long == {}


@pytest.mark.parametrize("path", SOURCES, ids=_name)
def test_every_file_says_first_what_it_is(path: Path) -> None:
    docstring = ast.get_docstring(parsed(path))

    assert docstring


@pytest.mark.parametrize("path", SOURCES, ids=_name)
def test_nothing_is_left_for_later_in_a_comment(path: Path) -> None:
    assert _UNFINISHED.findall(path.read_text(encoding="utf-8")) == []


def test_the_public_face_has_at_most_50_names_and_all_of_them_exist() -> None:
    assert len(actors.__all__) <= MOST_NAMES
    assert [name for name in actors.__all__ if not hasattr(actors, name)] == []
    assert sorted(actors.__all__, key=lambda name: (name.islower(), name)) == actors.__all__


def test_every_facade_lists_its_names() -> None:
    facades = [path for path in SOURCES if path.name == "__init__.py"]

    bare = [_name(path) for path in facades if "__all__" not in path.read_text(encoding="utf-8")]

    assert bare == []


def test_a_node_imports_neither_trio_nor_what_only_a_web_node_needs() -> None:
    heavy = ("trio", "structlog", "uvicorn", "starlette", "argparse")
    code = (
        f"import sys, actors._system.node_main; print([n for n in {heavy!r} if n in sys.modules])"
    )

    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )

    assert done.stdout.strip() == "[]"
