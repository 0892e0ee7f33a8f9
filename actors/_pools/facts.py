"""What every process knows of a pool: it travels with the pool's address."""

from __future__ import annotations

from dataclasses import astuple, dataclass
from typing import Any

__all__ = ["PoolFacts"]


@dataclass(frozen=True, slots=True)
class PoolFacts:
    """The fixed properties of one pool.

    Attributes:
        number: its number in its system; never used again.
        name: its name.
        cls_path: the class of its members as "module:qualname"; "" for a pool of functions.
        at_once: how many tasks a worker runs at the same time.
        queue: how many tasks may wait; None is no bound.
        grace: seconds that cancelled code has to end before its process is killed.
        why_not_killable: why its workers cannot be ended one by one; "" if they can.
        per_node: the group each of whose nodes has such a pool of its own; "" if this is one pool.
        size: how many workers it had at first; `map` keeps a multiple of it under way.
    """

    number: int
    name: str
    cls_path: str
    at_once: int
    queue: int | None
    grace: float
    why_not_killable: str
    size: int
    per_node: str = ""

    @property
    def fields(self) -> list[Any]:
        """What travels; the constructor takes it."""
        return list(astuple(self))

    @property
    def killable(self) -> bool:
        """Whether a worker can be ended without harm to others."""
        return not self.why_not_killable

    @property
    def has_lines(self) -> bool:
        """Whether a worker may have brief tasks in advance."""
        return self.killable and self.at_once == 1 and not self.cls_path
