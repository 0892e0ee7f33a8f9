"""The lists of `make mutants` follow the code: each mutant can still be made, and its tests are there."""

from __future__ import annotations

import ast

import pytest

from tests.mutants.files import FILES
from tests.mutants.generated import mutants_of
from tests.mutants.mutant import ROOT, Mutant
from tests.mutants.named import NAMED
from tests.mutants.survivors import REASONS


def _tests_are_there(tests: tuple[str, ...]) -> bool:
    files = [test for test in tests if test.startswith("tests/")]
    return bool(files) and all((ROOT / file.partition("::")[0]).is_file() for file in files)


@pytest.mark.parametrize("mutant", NAMED, ids=lambda mutant: mutant.name)
def test_a_named_mutant_can_be_made(mutant: Mutant) -> None:
    source = (ROOT / mutant.file).read_text(encoding="utf-8")
    assert ast.dump(ast.parse(mutant.applied(source))) != ast.dump(ast.parse(source))
    assert _tests_are_there(mutant.tests)


@pytest.mark.parametrize("file", FILES)
def test_every_generated_mutant_of_a_file_can_be_made(file: str) -> None:
    mutants = mutants_of(file, FILES[file])
    assert mutants
    assert _tests_are_there(FILES[file])
    for mutant in mutants:
        assert mutant.new != mutant.old
        ast.parse(mutant.new)


def test_every_survivor_that_is_listed_is_still_made() -> None:
    made = [*NAMED, *(m for file, tests in FILES.items() for m in mutants_of(file, tests))]
    assert REASONS.keys() <= {(mutant.name, mutant.change) for mutant in made}


def test_a_text_that_is_not_there_once_is_refused() -> None:
    mutant = Mutant("x", "a.py", "1", "2", ("tests/a.py",))
    assert mutant.applied("a = 1") == "a = 2"
    for source in ("a = 0", "a = 1, 1"):
        with pytest.raises(ValueError, match=r"a\.py has '1' [02] times"):
            mutant.applied(source)
