"""Deferral: a handler ends by `context.defer()`; its message comes again behind the next one that is handled.

Rule 1: a message that is deferred lets no other come again, so that an actor which defers all it has waits.
Rule 2: what is deferred keeps its place among the others, its asker, its deadline and its place in the bound.
"""

from __future__ import annotations

__all__ = ["Deferral", "deferral_of"]


class Deferral(BaseException):
    """Ends the handler of a message that is to come again; no ``except Exception`` stops it.

    Attributes:
        progress: how many messages were done until then, by the count of the message loop. One that is done
            while the handler still ends is the next one, too.
    """

    def __init__(self, progress: int) -> None:
        super().__init__(progress)
        self.progress = progress


def deferral_of(error: BaseException) -> Deferral | None:
    """Return the deferral that *error* is, or a group is of nothing else: task groups wrap what leaves them."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error if isinstance(error, Deferral) else None
