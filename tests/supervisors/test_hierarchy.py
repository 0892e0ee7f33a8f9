"""Hierarchies in which every hook fails at random, many things at once: what is true all the same."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from tests.supervisors.wild import live


@pytest.mark.parametrize("seed", range(12))
async def test_c54_whatever_fails_nobody_is_orphaned_lost_or_called_after_its_end(
    seed: int, anyio_backend: Any
) -> None:
    with anyio.fail_after(100_000):
        assert await live(seed, steps=60) > 0
