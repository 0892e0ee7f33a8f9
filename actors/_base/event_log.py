"""The event log: the default subscriber of the event stream, which writes one log line per event.

Rule 1: of events that may come at any rate (dead letters, failed messages) one is logged of each kind, then
one every `_EVERY` seconds with the number of those between.
Rule 2: advice about the program is logged once for each place that it is about.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from actors._base.events import TRACE
from actors._base.log import is_left_out, iso_time, lowest_level, own_node, system_logger
from actors._base.printed_lines import LEVELS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from actors._base.events import Event
    from actors._base.log import Logger

__all__ = ["LogSubscriber"]

_NUMBER: Final = re.compile(r"-\d+.*")
_KINDS: Final = 1024
"""Kinds of such events that are counted; one more, and all counts start again."""
_EVERY: Final = 10.0
"""Seconds between two lines about one kind of such events."""

_RATE_LIMITED: Final = {
    "connection_dropped",
    "cron_missed",
    "dead_letter",
    "hand_over_failed",
    "handler_failed",
    "key_unlearned",
    "loop_blocked",
    "message_failed",
    "pool_full",
    "pool_has_room",
    "request_ended",
    "request_slow",
    "request_timed_out",
}

_ONCE: Final = {
    "big_message": ("of",),
    "slow_import": ("module",),
    "spawned_often": ("what",),
    "websocket_without_key": ("listener",),
}
"""Advice, and the facts that say which place of the program it is about: on how many nodes does not matter."""

_LEVELS: Final = {
    "big_message": "warning",
    "slow_import": "warning",
    "spawned_often": "warning",
    "websocket_without_key": "warning",
    "breakpoint_reached": "warning",
    "breakpoint_passed": "warning",
    "child_ended": "info",
    "child_start_failed": "error",
    "child_call_failed": "error",
    "restart_scheduled": "warning",
    "restarts_given_up": "error",
    "ended_with_node": "info",
    "budget_exceeded": "error",
    "shutdown_overrun": "warning",
    "node_ready": "info",
    "node_abandoned": "error",
    "node_ended": "info",
    "node_died": "error",
    "node_hung": "error",
    "node_over_rss": "warning",
    "recycle_failed": "error",
    "node_unready": "warning",
    "node_ready_again": "info",
    "node_busy": "warning",
    "look_failed": "error",
    "node_killed": "error",
    "place_joined": "info",
    "place_silent": "warning",
    "place_heard": "info",
    "place_leaving": "info",
    "place_left": "info",
    "place_lost": "error",
    "place_failed": "error",
    "place_waits": "warning",
    "agent_spare": "info",
    "agent_gone": "info",
    "agent_refused": "warning",
    "link_parted": "error",
    "output_dropped": "warning",
    "strangers_turned_away": "warning",
    "loop_blocked": "warning",
    "node_draining": "info",
    "node_replaced": "info",
    "worker_ended": "warning",
    "worker_renewed": "info",
    "pool_not_resized": "error",
    "pool_full": "warning",
    "pool_has_room": "info",
    "fork_server_unusable": "warning",
    "preload_threads": "warning",
    "preload_descriptors": "warning",
    "reload_started": "info",
    "reload_done": "info",
    "apply_done": "info",
    "apply_failed": "error",
    "reload_failed": "error",
    "reload_refused": "warning",
    "dead_letter": "warning",
    "cron_missed": "warning",
    "message_failed": "warning",
    "metrics_incomplete": "warning",
    "state_lost": "warning",
    "link_failed": "warning",
    "listening": "info",
    "accept_paused": "warning",
    "accept_resumed": "info",
    "node_suspect": "warning",
    "node_trusted": "info",
    "connections_redispatched": "warning",
    "connection_dropped": "error",
    "hand_over_failed": "warning",
    "policy_failed": "error",
    "proxy_header_missing": "warning",
    "tls_reloaded": "info",
    "tls_reload_failed": "error",
    "unavailable": "error",
    "available": "info",
    "still_starting": "warning",
    "shutdown_failed": "error",
    "handler_failed": "error",
    "key_unlearned": "warning",
    "request_timed_out": "info",
    "request_ended": "error",
    "request_slow": "warning",
    "control_socket": "info",
    "no_control_socket": "warning",
    "cpu_budget": "warning",
    "program_started": "info",
    "program_ready": "info",
    "program_unhealthy": "warning",
    "program_left_processes": "warning",
    "group_scaled": "info",
    "scaling_failed": "error",
    "scaling_limited": "warning",
    "no_control_groups": "info",
    "system_ready": "info",
    "system_not_closed": "warning",
    "system_stopping": "info",
    "system_stopped": "info",
    "events_lost": "warning",
    "control_refused": "warning",
    "admin_request": "info",
    "alert_raised": "warning",
    "alert_cleared": "info",
    "alert_failed": "error",
    "report_failed": "warning",
    "report_written": "info",
    "request_failed": "error",
}


def _is_failure(facts: Mapping[str, Any]) -> bool:
    """Whether the end of a child is logged as an error: not if it was asked for or came with its node."""
    if facts.get("expected") or facts.get("asked") or facts.get("supervisor") == "nodes":
        return False
    return not str(facts.get("exit", "")).startswith("NODE_DOWN")


def _place(traceback: str) -> str:
    """Return where an error was raised: unlike its text, no client chooses that."""
    frames = [line for line in traceback.splitlines() if line.startswith("  File ")]
    return frames[-1] if frames else ""


class LogSubscriber:
    """Writes one log line per event, at the level that `_LEVELS` has for it, or debug.

    Args:
        clock: returns seconds.
        hand_on: is given the facts of every line that is written, with its ``event`` and ``level``.
    """

    def __init__(
        self, clock: Any, hand_on: Callable[[dict[str, Any]], None] = lambda _facts: None
    ) -> None:
        self._hand_on = hand_on
        # Said now: what calls back later may have the context of a thread that is a node.
        self._log: Logger = system_logger(node=own_node())
        self._clock = clock
        self._limited: dict[tuple[str, ...], tuple[float, int]] = {}
        self._given: set[tuple[str, ...]] = set()
        self._started = False

    def __call__(self, event: Event, at: float | None = None) -> None:
        """Log *event*, which happened *at* that time of day (seconds since the epoch) or now."""
        facts = {key: value for key, value in event.facts.items() if value not in (None, "")}
        if event.kind == TRACE or (event.kind in _ONCE and not self._is_new(event.kind, facts)):
            return
        if event.kind in _RATE_LIMITED:
            counted = self._count(event.kind, facts)
            if counted is None:
                return
            facts |= counted
        if event.kind == "system_ready":
            self._started = True
        level = self._level(event.kind, facts)
        if level == "debug":
            facts.pop("traceback", None)
        if at is not None:
            facts["timestamp"] = iso_time(at)
        what = event.kind.replace("_", " ")
        getattr(self._log, level)(what, **facts)
        if LEVELS[level] >= lowest_level() and not is_left_out(what):
            self._hand_on({**facts, "event": what, "level": level})

    def _is_new(self, kind: str, facts: dict[str, Any]) -> bool:
        """Whether this advice has not been given yet; after `_KINDS` pieces of advice none is new."""
        place = (kind, *(str(facts.get(name)) for name in _ONCE[kind]))
        if place in self._given or len(self._given) >= _KINDS:
            return False
        self._given.add(place)
        return True

    def _level(self, kind: str, facts: dict[str, Any]) -> str:
        """Return the log level of an event."""
        if kind == "child_ended":
            return "error" if _is_failure(facts) else "debug"
        if kind == "child_start_failed" and not self._started:
            return "debug"  # starting the system raises this error
        if kind == "listening" and facts.pop("beyond_loopback", False) and not facts.get("tls"):
            facts["warning"] = "other machines can reach this address, and it has no TLS"
            return "warning"
        return _LEVELS.get(kind, "debug")

    def _count(self, kind: str, facts: dict[str, Any]) -> dict[str, Any] | None:
        """Return what to add to the line, or None for no line."""
        # Unnamed actors count as one kind by class: thousands of them may end with one node.
        actor = _NUMBER.sub("", str(facts.get("actor")))
        error = _place(facts["traceback"]) if kind == "handler_failed" else facts.get("error")
        known = map(str, (facts.get("message"), facts.get("listener"), facts.get("part")))
        key = (kind, actor, str(error).partition(":")[0], *known)
        now = self._clock()
        if len(self._limited) >= _KINDS:
            self._limited.clear()
        last, suppressed = self._limited.get(key, (float("-inf"), 0))
        if now - last < _EVERY:
            self._limited[key] = (last, suppressed + 1)
            return None
        self._limited[key] = (now, 0)
        return {"suppressed": suppressed} if suppressed else {}
