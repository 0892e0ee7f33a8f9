"""Mutants that no test can notice, or that none should, each with the reason."""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import Mutant

__all__ = ["REASONS", "reason_of"]

_SPEED: Final = "how much is written at a time: a little more or less is a little faster or slower"

_EXACT: Final = (
    "at exactly this value: it is decided as well one byte, or one look at the clock, later"
)

_NO_RING: Final = "where there is no extension: there no ring is ever made"

_NO_RULE: Final = "a number that was chosen: one more is as good"

REASONS: Final[dict[tuple[str, str], str]] = {
    ("transport/channels/outbound_ring.py, module", "0  ->  (0 + 1)"): _NO_RING,
    ("transport/channels/inbound_ring.py, module", "0  ->  (0 + 1)"): _NO_RING,
    (
        "actors/_actor/cron.py, CronSchedule.__init__",
        "self.after(datetime.now(UTC))  ->  pass",
    ): "cronsim itself refuses the expressions that are never due, as far as we know of them",
    (
        "actors/_actor/cron.py, _instant",
        "after - before > timedelta(seconds=1)  ->  (after - before >= timedelta(seconds=1))",
    ): "half a second nearer to a whole second, which is what is kept",
    (
        "transport/channels/spin.py, module",
        "100_000  ->  (100000 + 1)",
    ): "a nanosecond more to look",
    (
        "transport/channels/spin.py, module",
        "250_000  ->  (250000 + 1)",
    ): "a nanosecond more to look",
    (
        "transport/channels/spin.py, Spin.__init__",
        "0  ->  (0 + 1)",
    ): "wake-ups are counted from when looking is given up, which sets their number",
    ("transport/wire/outbox.py, module", "32  ->  (32 + 1)"): _SPEED,
    ("transport/wire/outbox.py, module", "1024  ->  (1024 + 1)"): _SPEED,
    (
        "transport/wire/outbox.py, Outbox.gather",
        "len(buffers) >= 2 * _GATHER_FRAMES  ->  (len(buffers) > 2 * _GATHER_FRAMES)",
    ): _SPEED,
    (
        "transport/channels/socket_channel.py, Channel._add_frame",
        (
            "outbox.size - outbox.bulk >= self._limits.high_water  ->  "
            "(outbox.size - outbox.bulk > self._limits.high_water)"
        ),
    ): _EXACT,
    (
        "transport/channels/socket_channel.py, Channel._on_write_error",
        "self._watch_writable(wanted=False)  ->  pass",
    ): "a channel that has ended writes nothing when it is called, and stops watching when it closes",
    (
        "transport/channels/socket_channel.py, Channel._write",
        (
            "outbox.size - outbox.bulk < self._limits.low_water  ->  "
            "(outbox.size - outbox.bulk <= self._limits.low_water)"
        ),
    ): _EXACT,
    (
        "transport/channels/thread_channel.py, _SenderInPython.send",
        "total - out.taken >= self._high  ->  (total - out.taken > self._high)",
    ): _EXACT,
    (
        "transport/channels/thread_channel.py, ThreadChannel._has_room",
        "2  ->  (2 + 1)",
    ): _SPEED,
    (
        "transport/channels/thread_channel.py, ThreadChannel._take_turn",
        "until - self._received  ->  (until + self._received)",
    ): "of the control lane: it is emptied before the data of the same turn in any case",
    (
        "transport/channels/thread_channel.py, ThreadChannel._has_room",
        "self._limits.fds // 2  ->  (self._limits.fds + 2)",
    ): _SPEED,
    (
        "transport/codec/snapshot.py, _identical",
        "True  ->  False",
    ): "both have one length: `strict` is there for whoever changes a caller",
    (
        "transport/memory/free_list.py, FreeList.trim",
        "break  ->  pass",
    ): "without a budget the other slots are looked at, and nothing of them is cooled",
    (
        "actors/routing/balancer/dispatch.py, Dispatch.__init__",
        "1  ->  (1 + 1)",
    ): "numbers of connections have to differ and to grow, and may begin anywhere",
    (
        "actors/routing/balancer/dispatch.py, Dispatch._check_age",
        "age >= _LATE_AFTER  ->  (age > _LATE_AFTER)",
    ): _EXACT,
    (
        "actors/routing/balancer/dispatch.py, Dispatch._check_age",
        "age >= _SUSPECT_AFTER  ->  (age > _SUSPECT_AFTER)",
    ): _EXACT,
    ("actors/_actor/parking.py, module", "200  ->  (200 + 1)"): _NO_RULE,
    (
        "actors/_actor/parking.py, _NoTask",
        "False  ->  True",
    ): "nobody asks for it: whoever may interrupt an actor wakes it first",
    (
        "actors/_actor/parking.py, Parked.done",
        "self._successor is None  ->  None",
    ): "who wakes an actor takes this out of its mailbox first",
    (
        "actors/routing/serving/send_watch.py, waiting_bytes",
        "0  ->  (0 + 1)",
    ): "the kernel overwrites it, and no connection has the descriptor of standard input",
    ("actors/routing/serving/send_watch.py, module", "4  ->  (4 + 1)"): _NO_RULE,
    ("actors/machines/lease.py, module", "5  ->  (5 + 1)"): _NO_RULE,
    (
        "actors/machines/lease.py, module",
        "2 * QUESTIONS  ->  (2 + QUESTIONS)",
    ): "answers to questions of more than one lease ago are of no use in any case",
    (
        "actors/machines/lease_timer.py, hold_lease",
        "_TIMER.hold(fd, every)  ->  pass",
    ): "where there is no extension: there is no such timer",
    (
        "actors/machines/lease_timer.py, _SignalEvent",
        "48  ->  (48 + 1)",
    ): "room at the end of a structure, of which the kernel reads nothing",
    (
        "actors/machines/lease_timer.py, module",
        "1_000_000_000  ->  (1000000000 + 1)",
    ): "a nanosecond for each second since the machine was started",
}
"""By the name of the mutant and the change in one line."""


def reason_of(mutant: Mutant) -> str | None:
    """Return why *mutant* may survive, None if it may not."""
    return REASONS.get((mutant.name, mutant.change))
