"""Which system runs where the calling code runs: what `current` looks at, in this order.

1. The context: the task that started a system has it, and so have the tasks that it starts.
2. The actor whose code this is.
3. The node whose thread this is.
4. The event loop, if one system runs on it; for a thread of `anyio.to_thread`, the loop that waits for it.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from anyio import from_thread
from anyio.lowlevel import RunVar

from actors._base.errors import NoSystem
from actors._messaging.turn import TURN

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["RunningSystem", "enter_context", "find_system", "on_this_loop", "set_node_system"]


@dataclass(slots=True, eq=False)
class RunningSystem:
    """A system while it runs; `system` is None afterwards, because contexts live longer."""

    system: Any


_CONTEXT: Final[ContextVar[tuple[RunningSystem, ...]]] = ContextVar("actors_systems", default=())
_NODE: Final = threading.local()
_LOOP: Final[RunVar[list[Any]]] = RunVar("actors_systems")


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
    """Return the systems of the running loop, or of the one that waits for this worker thread."""
    try:
        return _LOOP.get([])
    except RuntimeError:  # no loop runs in this thread
        pass
    try:
        return from_thread.run_sync(_LOOP.get, [])
    except RuntimeError:  # nor does one wait for it
        return []


def enter_context(started: RunningSystem) -> None:
    """Make a system that of the calling context, until it has ended."""
    before = [one for one in _CONTEXT.get() if one.system is not None]
    _CONTEXT.set((*before, started))


def set_node_system(system: Any) -> None:
    """Make *system* that of all code in this thread, which is a node's."""
    _NODE.system = system


@contextmanager
def on_this_loop(system: Any) -> Iterator[None]:
    """Count *system* among those of the running loop."""
    here = _LOOP.get([])
    _LOOP.set([*here, system])
    try:
        yield
    finally:
        _LOOP.set([one for one in _LOOP.get() if one is not system])
