"""Three hundred more families of C54, in virtual time."""

from __future__ import annotations

from typing import Any

import pytest
import trio.testing

from actors.testing import VirtualTimeLoop
from tests.conformance.test_c54_hierarchy import live_and_end

pytestmark = [pytest.mark.soak]


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    if request.param == "asyncio":
        return "asyncio", {"loop_factory": VirtualTimeLoop}
    return "trio", {"clock": trio.testing.MockClock(autojump_threshold=0)}


@pytest.mark.parametrize("seed", range(100, 250))
async def test_c54_whatever_fails_everybody_ends_once_and_nothing_is_left(seed: int) -> None:
    await live_and_end(seed)
