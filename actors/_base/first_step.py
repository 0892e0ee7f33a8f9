"""The first step of a coroutine, run before the task that it belongs to gets its turn. Only for asyncio.

Rule 1: that task waits meanwhile, and to code inside the step it is the one that runs: it is the current task,
and its context is the current one. What cancels it meanwhile cancels the coroutine, as soon as that waits.
Rule 2: a step that returns is all there is. A coroutine that waits, or raises, is a `Rest`, and its task awaits
that: errors and cancellations come out of the task, never at whoever ran the step.
Rule 3: steps in a row and steps inside steps are bounded, so that the event loop gets its turn.
"""

from __future__ import annotations

import asyncio
import sys
from asyncio import current_task, isfuture
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final

from actors._base.twins import bind

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Generator
    from contextvars import Context

__all__ = ["NOT_NOW", "Rest", "StepBudget", "Stepper"]

NOT_NOW: Final = object()
"""What `Stepper.step` returns if it ran nothing."""

_MOST_IN_A_ROW: Final = 64
_MOST_SECONDS: Final = 0.010
"""As the turns of a message loop."""
_DEEPEST: Final = 8
"""Steps inside of steps."""


class StepBudget:
    """What steps may still be run before the event loop gets its turn, for all tasks of a loop together."""

    __slots__ = ("depth", "left", "spent")

    def __init__(self) -> None:
        self.depth: int = 0
        """How many steps are being run, one inside another."""
        self.left: int = _MOST_IN_A_ROW
        self.spent: float = 0.0
        """Seconds that the steps have taken."""


class Rest:
    """What is left of a coroutine after its first step; its task awaits it once.

    Attributes:
        cancelled: the cancellation that its task got before it could await this.
    """

    __slots__ = ("_coroutine", "_error", "_waits_for", "cancelled")

    def __init__(
        self,
        coroutine: Coroutine[Any, Any, Any] | None,
        waits_for: Any,
        error: BaseException | None = None,
    ) -> None:
        self._coroutine = coroutine
        self._waits_for = waits_for
        self._error = error
        self.cancelled: BaseException | None = None

    def __await__(self) -> Generator[Any, Any, Any]:
        coroutine, waits_for = self._coroutine, self._waits_for
        error, self._error = self._error, None
        if coroutine is None:
            assert error is not None
            raise error
        cancelled, self.cancelled = self.cancelled, None
        while True:
            try:
                if cancelled is not None:
                    error, cancelled = cancelled, None
                    _cancel(waits_for, error)
                _set_awaited(waits_for, awaited=True)
                yield waits_for
            except GeneratorExit:
                coroutine.close()
                raise
            except BaseException as thrown:  # noqa: BLE001 - it is the coroutine's
                try:
                    waits_for = coroutine.throw(thrown)
                except StopIteration as stop:
                    return stop.value
            else:
                return (yield from coroutine.__await__())


def _cancel(waits_for: Any, cancelled: BaseException) -> None:
    """Cancel as a task does: what the coroutine waits for, or, if that is over, the coroutine itself."""
    if not (isfuture(waits_for) and waits_for.cancel()):
        raise cancelled


def _set_awaited(waits_for: Any, *, awaited: bool) -> None:
    """Say to a task that it waits for this, or take that back: meanwhile others may await it."""
    if isfuture(waits_for):
        waits_for._asyncio_future_blocking = awaited  # noqa: SLF001 - part of the protocol of futures


class Stepper:
    """Runs first steps for one task, which calls this when it is made.

    Args:
        loop: of the task.
        context: of the task.
        budget: of the loop.
    """

    __slots__ = ("_budget", "_context", "_loop", "_task")

    def __init__(
        self, loop: asyncio.AbstractEventLoop, context: Context, budget: StepBudget
    ) -> None:
        self._loop = loop
        self._context = context
        self._budget = budget
        task = current_task(loop)
        assert task is not None
        self._task: Any = task

    def step(
        self, fn: Callable[..., Coroutine[Any, Any, Any]], /, *args: Any, **kwargs: Any
    ) -> Any:
        """Run the first step of ``fn(*args)`` if that may be now; return its result, the `Rest`, or `NOT_NOW`.

        Not while the calling code handles an exception, which would become the context of those in the step,
        and not if its task is being cancelled, so that it gets that where it waits.
        """
        loop, task, budget = self._loop, self._task, self._budget
        caller: Any = current_task(loop)
        if (
            (caller is not None and caller.cancelling() > 0)
            or sys.exc_info()[0] is not None
            or budget.depth >= _DEEPEST
        ):
            return NOT_NOW
        budget.left -= 1
        if budget.left <= 0 or budget.spent >= _MOST_SECONDS:
            # Who asks now waits for the task of the actor, and that is a turn of the loop.
            budget.left, budget.spent = _MOST_IN_A_ROW, 0.0
            return NOT_NOW
        budget.depth += 1
        began = perf_counter()
        if caller is not None:
            _leave_task(loop, caller)
        _enter_task(loop, task)
        try:
            coroutine = fn(*args, **kwargs)
            waits_for = self._context.run(coroutine.send, None)
            _set_awaited(waits_for, awaited=False)
            return Rest(coroutine, waits_for)
        except StopIteration as stop:
            return stop.value
        except BaseException as error:  # noqa: BLE001 - its task raises it
            return Rest(None, None, error)
        finally:
            _leave_task(loop, task)
            if caller is not None:
                _enter_task(loop, caller)
            budget.depth -= 1
            budget.spent += perf_counter() - began


# Documented, in "Extending": what a task calls before and after each of its steps.
_enter_task: Final[Any] = asyncio.tasks._enter_task  # noqa: SLF001
_leave_task: Final[Any] = asyncio.tasks._leave_task  # noqa: SLF001

bind(
    Stepper,
    StepBudget,
    rest=Rest,
    set_awaited=partial(_set_awaited, awaited=False),
    current_task=current_task,
    # From Python 3.12 on; before, the dict is what `_enter_task` writes to.
    swap_task=getattr(asyncio.tasks, "_swap_current_task", None),
    current_tasks=getattr(asyncio.tasks, "_current_tasks", {}),
)
