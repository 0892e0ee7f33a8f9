"""When somebody is told that a system is not well, and how, as data."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from actors._base.errors import InvalidSpec
from actors._known_options import known_options

__all__ = ["ALERTS", "Alerts", "Reading"]

ALERTS: Final = ("lag", "mailbox", "memory", "restarts")
"""What may have a threshold."""
_SHORTEST: Final = 0.1


@dataclass(frozen=True, slots=True)
class Reading:
    """One figure that has a threshold.

    Attributes:
        what: ``lag``, ``mailbox``, ``memory`` or ``restarts``.
        of: the node, the actor, or the system.
        value: what it is now.
    """

    what: str
    of: str
    value: float


@known_options(InvalidSpec)
@dataclass(frozen=True, slots=True, kw_only=True)
class Alerts:
    """Thresholds of a running system, and whom to tell when one of them is crossed.

    Each crossing is an event, ``alert_raised``, and so is its end, ``alert_cleared``. The command and the
    webhook get both.

    Attributes:
        lag: seconds that the event loop of a node is late, or that the node does not answer.
        mailbox: messages that wait for one actor.
        memory: bytes of resident memory of one node.
        restarts: restarts of actors and nodes together within a minute.
        command: a program and its arguments, run with the facts as JSON in the variable ``ACTORS_ALERT``.
        webhook: an address to which the facts are posted as JSON.
        every: seconds between two looks.

    Raises:
        InvalidSpec: there is no threshold, or a value is wrong.
    """

    lag: float | None = None
    mailbox: int | None = None
    memory: int | None = None
    restarts: int | None = None
    command: Sequence[str] = ()
    webhook: str | None = None
    every: float = 5.0

    def __post_init__(self) -> None:
        limits = {name: getattr(self, name) for name in ALERTS}
        if all(limit is None for limit in limits.values()):
            raise InvalidSpec(f"Alerts: there is no threshold; give one of {', '.join(ALERTS)}")
        for name, limit in {**limits, "every": self.every}.items():
            if limit is None:
                continue
            if type(limit) not in {int, float} or not (0 < limit < math.inf):
                raise InvalidSpec(f"Alerts: {name} must be a number above 0, got {limit!r}")
        if self.every < _SHORTEST:
            raise InvalidSpec(f"Alerts: every must be {_SHORTEST:g} or more, got {self.every!r}")
        texts = not isinstance(self.command, str) and all(
            isinstance(part, str) for part in self.command
        )
        if not texts:
            raise InvalidSpec(
                f"Alerts: command must be a program and its arguments, got {self.command!r}"
            )
        if self.webhook is not None and not self.webhook.startswith(("http://", "https://")):
            raise InvalidSpec(f"Alerts: webhook must be an http(s) address, got {self.webhook!r}")

    def limit_of(self, what: str) -> float:
        """Return the threshold of a kind of figure; infinity if there is none."""
        limit: float | None = getattr(self, what)
        return math.inf if limit is None else limit
