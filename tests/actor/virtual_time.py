"""The loops of the tests about seconds: time jumps to the next timer when nothing can run."""

from __future__ import annotations

from typing import Any, Final

import trio.testing

from actors.testing import VirtualTimeLoop

__all__ = ["VIRTUAL_LOOPS", "virtual_loop"]

VIRTUAL_LOOPS: Final = ("asyncio", "trio")


def virtual_loop(name: str) -> tuple[str, dict[str, Any]]:
    """Return one of `VIRTUAL_LOOPS` as a backend for anyio's pytest plugin."""
    if name == "asyncio":
        return name, {"loop_factory": VirtualTimeLoop}
    return name, {"clock": trio.testing.MockClock(autojump_threshold=0)}
