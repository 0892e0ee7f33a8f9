"""From events to log lines: the default subscriber, and the only place that words them.

Rule: what happens at any rate (dead letters, failed messages) is told once, then counted: no flood,
no silence.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from ._log import get_logger

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ._events import Event
    from ._log import Logger

__all__ = ["LogSubscriber"]

_NUMBER: Final = re.compile(r"-\d+.*")
_KINDS: Final = 1024
"""How many kinds of them are counted apart; past it, counting begins anew."""
_EVERY: Final = 10.0
"""Seconds between two lines about the same kind."""

_AT_ANY_RATE: Final = {"dead_letter", "message_failed"}

_LEVELS: Final = {
    "child_ended": "info",
    "child_start_failed": "error",
    "child_misbehaved": "error",
    "restart_scheduled": "warning",
    "restarts_given_up": "error",
    "budget_exceeded": "error",
    "shutdown_overrun": "warning",
    "node_ready": "info",
    "node_ended": "info",
    "node_died": "error",
    "dead_letter": "warning",
    "message_failed": "warning",
    "link_failed": "warning",
    "listening": "info",
    "accept_paused": "warning",
    "accept_resumed": "info",
    "node_suspect": "warning",
    "node_trusted": "info",
    "redispatched": "warning",
    "dropped": "error",
    "hand_over_failed": "warning",
    "policy_failed": "error",
    "handler_failed": "error",
    "request_timed_out": "info",
    "control_socket": "info",
    "cpu_budget": "warning",
    "system_ready": "info",
    "system_stopping": "info",
    "system_stopped": "info",
    "events_lost": "warning",
    "control_refused": "warning",
}


def _is_news(facts: Mapping[str, Any]) -> bool:
    """Whether a child's end is worth a line: not when it was wanted, and not when its node's is."""
    if facts.get("expected") or facts.get("asked") or facts.get("supervisor") == "nodes":
        return False
    return not str(facts.get("exit", "")).startswith("NODE_DOWN")


class LogSubscriber:
    """Writes one line for each event that an operator wants to see."""

    def __init__(self, clock: Any) -> None:
        self._log: Logger = get_logger()
        self._clock = clock
        self._letters: dict[tuple[str, str, str], tuple[float, int]] = {}
        self._started = False

    def __call__(self, event: Event) -> None:
        """Take one event."""
        facts = {key: value for key, value in event.facts.items() if value not in (None, "")}
        level = _LEVELS.get(event.kind, "debug")
        if event.kind == "system_ready":
            self._started = True
        if event.kind == "child_ended":
            level = "error" if _is_news(facts) else "debug"
        elif event.kind in _AT_ANY_RATE:
            counted = self._count(facts)
            if counted is None:
                return
            facts |= counted
        elif event.kind == "child_start_failed" and not self._started:
            level = "debug"  # whoever starts the system is told by the error it raises
        elif event.kind == "listening" and facts.pop("beyond_loopback", False):
            level = "warning"
            facts["warning"] = "other machines can reach this address, and it has no TLS"
        name = event.kind.replace("_", " ")
        if "traceback" in facts and level == "debug":
            del facts["traceback"]
        getattr(self._log, level)(name, **facts)

    def _count(self, facts: dict[str, Any]) -> dict[str, Any] | None:
        """Return what to add to the line, or None for no line."""
        # Unnamed actors go by their class: a thousand of them may go down with one node.
        actor = _NUMBER.sub("", str(facts.get("actor")))
        error = str(facts.get("error")).partition(":")[0]
        key = (actor, str(facts.get("message")), error)
        now = self._clock()
        if len(self._letters) >= _KINDS:
            self._letters.clear()
        last, unsaid = self._letters.get(key, (float("-inf"), 0))
        if now - last < _EVERY:
            self._letters[key] = (last, unsaid + 1)
            return None
        self._letters[key] = (now, 0)
        return {"unsaid": unsaid} if unsaid else {}
