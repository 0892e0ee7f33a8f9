"""Context variables, and an actor that says what it sees of them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextvars import ContextVar
from typing import Any

from actors import Actor, Exit, Ref, concurrent
from actors.testing import Recorder
from tests.contracts.contract_actors import Gate

request_id: ContextVar[Any] = ContextVar("request_id", default=None)
tenant: ContextVar[Any] = ContextVar("tenant")
"""Has no default."""
private: ContextVar[Any] = ContextVar("private", default=None)
"""Nobody propagates it."""
no_variable = "text"

PROPAGATED = [f"{__name__}:request_id", f"{__name__}:tenant"]
NOTHING = (None, "no tenant", None)


def seen() -> tuple[Any, Any, Any]:
    """What the calling code sees."""
    return request_id.get(), tenant.get("no tenant"), private.get()


class Witness(Actor):
    """Says what its handlers see."""

    def __init__(self, probe: Ref[Recorder] | None = None) -> None:
        self.probe = probe

    async def _say(self, label: str) -> None:
        assert self.probe is not None
        await self.probe.tell(Recorder.record, (label, *seen()))

    async def look(self) -> tuple[Any, Any, Any]:
        return seen()

    async def tell(self, label: str) -> None:
        await self._say(label)

    async def hold(self, gate: Ref[Gate]) -> None:
        await self._say("holding")
        await gate.ask(Gate.wait)

    @concurrent
    async def look_beside(self) -> tuple[Any, Any, Any]:
        return seen()

    async def watch_many(self, times: int) -> AsyncIterator[tuple[Any, Any, Any]]:
        for _ in range(times):
            yield seen()

    async def pass_on(self, others: list[Ref[Witness]]) -> tuple[Any, Any, Any]:
        return await others[0].ask(Witness.pass_on, others[1:]) if others else seen()

    async def look_in_task(self) -> None:
        async def say() -> None:
            await self._say("task")

        self.context.tasks.start_soon(say)

    async def set_it(self, value: Any) -> None:
        request_id.set(value)

    async def tick_soon(self) -> None:
        self.context.timers.once(0, Witness.tell, "tick")

    async def watch(self, ref: Ref[Any]) -> None:
        self.context.watch(ref)

    async def crash(self) -> None:
        raise RuntimeError("boom")

    async def on_exit(self, ref: Ref[Any], exit: Exit) -> None:  # noqa: A002, ARG002 - the hook's names
        await self._say("on_exit")

    async def on_stop(self, exit: Exit) -> None:  # noqa: A002, ARG002 - as above
        if self.probe is not None:
            await self._say("on_stop")


class BlockingWitness(Actor, blocking=True):
    """Says what it sees in its own thread."""

    def look(self) -> tuple[Any, Any, Any]:
        return seen()

    def ask_other(self, other: Ref[Witness]) -> tuple[Any, Any, Any]:
        return self.context.blocking(other).ask(Witness.look)
