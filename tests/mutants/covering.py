"""Which tests run which lines, so that a mutant meets only those that can notice it.

Rule 1: what a test runs in the process of pytest is known, with its threads. What nodes in processes of
their own run is not: a line that nobody runs here meets all the tests of its file.
Rule 2: as a plugin of pytest, this file marks what coverage measures with the test that runs.
"""

from __future__ import annotations

import json
import os
import time
from collections import defaultdict
from collections.abc import Generator, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final, TypeAlias

import coverage
import pytest

from tests.mutants.mutant import Mutant

__all__ = ["SETTINGS", "TIMES", "Covering", "Lines", "measured"]

SETTINGS: Final = "[run]\nsource = actors, supervisors, transport\ndata_file = {data}\n"
"""What coverage is told, instead of the checkout's settings, which measure processes of their own too."""

TIMES: Final = "MUTANTS_TIMES"
"""The variable that names the file for the seconds that each test takes."""
_seconds: Final[defaultdict[str, float]] = defaultdict(float)
Lines: TypeAlias = "Mapping[str, Mapping[int, Sequence[str]]]"
"""By file and the number of the line, the tests that run it."""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Mark what is measured from here on with the test and how long it takes; its parameters are all one."""
    test, began = item.nodeid.partition("[")[0], time.perf_counter()
    measuring = coverage.Coverage.current()
    if measuring is not None:
        measuring.switch_context(test)
    try:
        return (yield)
    finally:
        _seconds[test] += time.perf_counter() - began


def pytest_sessionfinish() -> None:
    """Write down how long each test took, beside what coverage writes."""
    Path(os.environ[TIMES]).write_text(json.dumps(_seconds), encoding="utf-8")


def measured(data: Path, folder: Path, files: Iterable[str]) -> Lines:
    """Return for each of *files* in *folder* the tests that run each line, from coverage's *data*."""
    found = coverage.CoverageData(str(data))
    found.read()
    return {file: found.contexts_by_lineno(str((folder / file).resolve())) for file in files}


class Covering:
    """The tests that run each line of each file, the quick ones first."""

    def __init__(self) -> None:
        self._lines: dict[tuple[str, int], set[str]] = {}
        self._seconds: dict[str, float] = {}

    def add(self, lines: Lines, seconds: Mapping[str, float]) -> None:
        """Add what the tests of one run have covered, and how long each took."""
        self._seconds.update(seconds)
        for file, covered in lines.items():
            for line, tests in covered.items():
                self._lines.setdefault((file, line), set()).update(filter(None, tests))

    def tests_of(self, mutant: Mutant, source: str) -> Sequence[str]:
        """Return the tests of *mutant* that run what it changes in *source*; all of its tests if none does."""
        if mutant.at is None:
            return mutant.tests
        first = source.count("\n", 0, mutant.at) + 1
        last = first + mutant.old.count("\n")
        lines = [self._lines.get((mutant.file, line), set()) for line in range(first, last + 1)]
        run = set().union(*lines)
        known = [test for test in run if test.partition("::")[0] in mutant.tests]
        return sorted(known, key=lambda test: self._seconds[test]) or mutant.tests
