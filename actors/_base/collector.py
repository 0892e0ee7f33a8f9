"""The garbage collector of a process that is the system's own: of a node, a command, or `actors.run`."""

from __future__ import annotations

import gc
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["collect_less_often", "collecting_less_often"]

_DEFAULTS: Final = {(700, 10, 10), (2000, 10, 10), (2000, 10, 0)}
"""The thresholds that interpreters begin with, by version: any other has been set by the user."""
_YOUNG: Final = 5_000
"""New containers until the youngest are looked at: about two hundred actors, or a few megabytes."""


def collect_less_often() -> None:
    """Look for cycles less often, unless code of the user's has said how often.

    Starting many actors makes many objects that live long, and hardly a cycle among them: with the threshold of
    the interpreter a third of the time goes into looking at them again and again. So it does with messages that
    wait in mailboxes: those of some actors are enough to have the whole heap looked at.
    """
    young, *older = gc.get_threshold()
    if (young, *older) in _DEFAULTS:
        gc.set_threshold(_YOUNG, *older)


@contextmanager
def collecting_less_often() -> Iterator[None]:
    """`collect_less_often` inside this block; afterwards as before, unless code inside has said how often."""
    before = gc.get_threshold()
    collect_less_often()
    ours = gc.get_threshold()
    try:
        yield
    finally:
        if gc.get_threshold() == ours:
            gc.set_threshold(*before)
