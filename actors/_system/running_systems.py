"""Which system runs where the calling code runs: what `current` looks at, in this order.

1. The context: the task that started a system has it, and so have the tasks that it starts.
2. The actor whose code this is.
3. The node whose thread this is.
4. The event loop of this thread, if one system runs on it; for a thread of `anyio.to_thread`, the loop that
   waits for it, or the node whose loop that is.
"""

from __future__ import annotations

import os
import threading
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from anyio import from_thread

from actors._base.errors import NoSystem
from actors._messaging.turn import TURN

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from actors._base.loop import Loop

__all__ = ["RunningSystem", "enter_context", "find_system", "on_this_loop", "set_node_system"]


@dataclass(slots=True, eq=False)
class RunningSystem:
    """A system while it runs; `system` is None afterwards, because contexts live longer."""

    system: Any


@dataclass(frozen=True, slots=True, eq=False)
class _OnLoop:
    """A running system, its loop and that loop's thread, and what ends it when the interpreter does."""

    system: Any
    loop: Loop
    thread: int
    at_exit: Callable[[], None]


_CONTEXT: Final[ContextVar[tuple[RunningSystem, ...]]] = ContextVar("actors_systems", default=())
_NODE: Final = threading.local()
_RUNNING: Final[list[_OnLoop]] = []


def find_system() -> Any:
    """Return the System of the calling code.

    Raises:
        NoSystem: there is none, or several run on this loop and the code belongs to none of them.
    """
    for started in reversed(_CONTEXT.get()):
        if started.system is not None:
            return started.system
    turn = TURN.get()
    system = (turn and turn.sender.system) or getattr(_NODE, "system", None)
    if system is not None:
        return system
    here = _of_loop()
    if len(here) > 1:
        raise NoSystem(
            f"{len(here)} systems run on this event loop, and this code was started by none of them: "
            "hand it the System it is to use"
        )
    if not here:
        raise NoSystem(
            "no system runs here: use `async with actors.System()`, or call this from an actor or a node"
        )
    return here[0]


def _of_loop() -> list[Any]:
    """Return the systems of this thread's loop or node, or of those that wait for this worker thread."""
    mine = [one for one in _RUNNING if one.thread == threading.get_ident()]
    if mine:
        # IPython runs a line without an await while its loop stands still.
        return [one.system for one in mine if not one.loop.elsewhere()]
    node = getattr(_NODE, "system", None)
    if node is not None:
        return [node]
    try:
        return from_thread.run_sync(_of_loop)
    except RuntimeError:  # no loop waits for it
        return []


def enter_context(started: RunningSystem) -> None:
    """Make a system that of the calling context, until it has ended."""
    before = [one for one in _CONTEXT.get() if one.system is not None]
    _CONTEXT.set((*before, started))


def set_node_system(system: Any) -> None:
    """Make *system* that of all code in this thread, which is a node's."""
    _NODE.system = system


@contextmanager
def on_this_loop(system: Any, loop: Loop, at_exit: Callable[[], None]) -> Iterator[None]:
    """Count *system* among those of the loop; call *at_exit* if the interpreter ends before the system."""
    running = _OnLoop(system, loop, threading.get_ident(), at_exit)
    _RUNNING.append(running)
    try:
        yield
    finally:
        with suppress(ValueError):  # this is a fork
            _RUNNING.remove(running)


def _at_exit() -> None:
    for running in reversed(_RUNNING):
        running.at_exit()


# Before the interpreter waits for the threads of systems, which is before what `atexit` has.
threading._register_atexit(_at_exit)  # type: ignore[attr-defined] # noqa: SLF001 - as concurrent.futures does


def _after_fork() -> None:
    """In a fork: no system runs here, and its end is not that of a system, whose nodes it would kill."""
    _RUNNING.clear()
    _NODE.__dict__.clear()
    _CONTEXT.set(())
    TURN.set(None)


os.register_at_fork(after_in_child=_after_fork)
