"""A system in a process of its own for all tests of a file; each test connects to it from this process."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.running_command import ROOT, Running, running


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An own folder for control sockets, whose path is short enough for them."""
    made = Path(tempfile.mkdtemp(prefix="actors-con-"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(made))
    yield made
    shutil.rmtree(made)


@pytest.fixture(scope="module")
def shop() -> Iterator[Running]:
    """The system of `shop`, for tests that leave it as it is."""
    made = Path(tempfile.mkdtemp(prefix="actors-con-"))
    with running(made, "run", "tests.connect.shop:topology", cwd=ROOT) as started:
        yield started
    shutil.rmtree(made)


@pytest.fixture
def connected_folder(shop: Running, monkeypatch: pytest.MonkeyPatch) -> Running:
    """Have this process look for systems where `shop` is."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(shop.runtime))
    return shop


@pytest.fixture(autouse=True)
def _nothing_left(no_leaks: None) -> None:
    """Children, descriptors, threads and shared memory are as they were."""
