"""Every test in this folder leaves nothing behind."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _nothing_left(no_leaks: None) -> None:
    """Children, descriptors, threads and shared memory are as they were."""
