"""A fixture sets no deadline around what uses it: `pytest.mark.within` does."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from tests.house.parsing import parsed

TESTS = Path(__file__).parent.parent


def _fixtures(tree: ast.Module) -> Iterator[ast.AsyncFunctionDef]:
    for node in ast.walk(tree):
        if isinstance(node, ast.AsyncFunctionDef) and any(
            "fixture" in ast.unparse(one) for one in node.decorator_list
        ):
            yield node


def _deadlines_around_a_yield(fixture: ast.AsyncFunctionDef) -> Iterator[int]:
    for node in ast.walk(fixture):
        if (
            isinstance(node, ast.With)
            and any(isinstance(one, ast.Yield) for one in ast.walk(node))
            and "fail_after" in "".join(ast.unparse(item) for item in node.items)
        ):
            yield node.lineno


def test_no_async_fixture_yields_inside_a_deadline() -> None:
    found = [
        f"{path.relative_to(TESTS)}:{line}"
        for path in sorted(TESTS.rglob("*.py"))
        for fixture in _fixtures(parsed(path))
        for line in _deadlines_around_a_yield(fixture)
    ]

    assert found == []
