"""What the functions in C do is what their twins in Python do: the same results, the same errors."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given

from actors._extensions import checksum, load, not_loaded
from actors.transport.types import twins
from tests.transport.sample_values import values

pytestmark = pytest.mark.skipif(twins.COMPILED is None, reason=not_loaded())


@given(values)
def test_both_say_the_same_of_leaves(value: Any) -> None:
    assert twins.all_leaves([value]) is twins.all_leaves_in_python([value])
    assert twins.all_leaves(iter((1, value, None))) is twins.all_leaves_in_python((1, value, None))


def broken() -> Any:
    yield 1
    raise KeyError("broken")


@pytest.mark.parametrize(
    "values,error", [(lambda: 5, TypeError), (broken, KeyError)], ids=["int", "iterator"]
)
def test_both_raise_the_same(values: Any, error: type[Exception]) -> None:
    with pytest.raises(error) as raised:
        twins.all_leaves(values())
    with pytest.raises(error, match=str(raised.value)):
        twins.all_leaves_in_python(values())


def test_an_extension_from_other_sources_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "_speedups.c").write_text("int main(void) { return 0; }")
    monkeypatch.setattr(twins.COMPILED, "__file__", str(tmp_path / "_speedups.so"))
    monkeypatch.delenv("ACTORS_SPEEDUPS", raising=False)

    assert load("actors.transport._speedups") is None
    assert not_loaded().startswith("actors.transport._speedups was compiled from other sources")
    monkeypatch.setenv("ACTORS_SPEEDUPS", "1")
    with pytest.raises(ImportError, match="compiled from other sources"):
        load("actors.transport._speedups")


def test_a_folder_without_sources_has_no_checksum(tmp_path: Path) -> None:
    assert checksum(tmp_path) == ""


@pytest.mark.parametrize("switch,compiled", [("0", False), ("1", True)])
def test_the_environment_decides(switch: str, compiled: bool) -> None:
    code = "from actors.transport.types import twins; print(twins.COMPILED is not None)"
    environment = os.environ | {"ACTORS_SPEEDUPS": switch}

    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )

    assert done.stdout.strip() == str(compiled)


def test_a_switch_that_is_no_switch_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACTORS_SPEEDUPS", "yes")
    with pytest.raises(ValueError, match="ACTORS_SPEEDUPS must be 0 or 1, got 'yes'"):
        load("actors.transport._speedups")
