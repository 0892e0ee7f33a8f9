"""Renewal: an incarnation that ends in order hands a state over to the next one.

Rule: whatever goes wrong with that is one event, and never changes how the incarnation ends.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from actors._actor.base import Actor

if TYPE_CHECKING:
    from actors._actor.interfaces import IncarnationInterface, Renewed
    from actors._base.loop import Interrupt

__all__ = ["Renewal"]

_A_DAY: Final = 86_400.0
"""Seconds in place of a `shutdown` without an end, which no timer takes."""


class Renewal:
    """What one incarnation has to do with the one before it and the next one.

    Attributes:
        state: what the one before it handed over, as the arguments of `on_start`.
        asked: whether this one is to hand over, too.
        keep: takes what it hands over.
    """

    __slots__ = ("_done", "asked", "keep", "state")

    def __init__(self) -> None:
        self.state: tuple[Any, ...] = ()
        self.asked: bool = False
        self._done: bool = False
        self.keep: Renewed | None = None

    async def hand_over(
        self, run: IncarnationInterface, actor: Actor, interrupt: Interrupt
    ) -> None:
        """Keep what `on_renew` of *actor* returns; that has half of the actor's `shutdown` seconds."""
        if not self.asked or self.keep is None or type(actor).on_renew is Actor.on_renew:
            return
        seconds = run.cell.shutdown / 2
        late = run.loop.call_later(min(seconds, _A_DAY), interrupt.request)
        why = f"on_renew took more than {seconds:g} s, half of its shutdown"
        try:
            await interrupt.run(lambda: self._step(run, actor))
        except run.loop.passes:
            raise
        except BaseException as error:  # noqa: BLE001 - reported
            why = f"on_renew: {type(error).__name__}: {error}"
        finally:
            late.cancel()
        if not self._done:
            run.cell.host.state_lost(run.ref, why)

    async def _step(self, run: IncarnationInterface, actor: Actor) -> None:
        state = await run.in_thread(actor.on_renew)
        if state is not None and self.keep is not None:
            await self.keep(state)
        self._done = True
