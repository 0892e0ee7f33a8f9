"""Which of the nodes that accept for themselves is next, as each of them decides it.

Rule 1: pure functions over the seats of a scoreboard; no clock.
Rule 2: all nodes come to the same answer from the same seats. Where they look at different moments, two
may watch the socket for a while, and one of them finds nothing; if none does, each finds out at its next look.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final, NamedTuple, TypeAlias

from actors.routing.policy.lag import lags_behind
from actors.routing.policy.policy import LeastConnections, Policy, RoundRobin
from actors.routing.scoreboard import OUT, WATCHING, Seat, is_supported

__all__ = ["STALE", "Placed", "Turn", "accepts_in_nodes", "share_of", "turn_of"]

STALE: Final = 100_000_000
"""Nanoseconds after which a node that has not looked is passed over."""
_AWAKE: Final = 1_000_000
"""Nanoseconds after a look in which the next one is so near that nobody needs to ring."""
_SECOND: Final = 1e9

_OPEN: Final = Seat._fields.index("open")
_SCORE: Final = Seat._fields.index("score")

Placed: TypeAlias = tuple[int, Seat]
"""A seat and its number."""


class Turn(NamedTuple):
    """What a node does after it has looked."""

    watch: bool
    """Whether it watches the listening socket and accepts."""
    best: int = -1
    """The seat of the node that is next, if it is another; -1 otherwise."""
    stamp: int = 0
    """The stamp of that seat."""
    ring: bool = False
    """Whether that node has to be woken, because it does not watch."""
    able: Sequence[Placed] = ()
    """The other nodes that would take a connection."""


def accepts_in_nodes(policy: Policy) -> bool:
    """Whether *policy* is applied by the nodes themselves, which accept from one listening socket."""
    return type(policy) in (LeastConnections, RoundRobin) and is_supported()


def _best_of(placed: Sequence[Placed], *, by_load: bool) -> Placed:
    """Return who is next, by open connections (then lag and score) if *by_load*, otherwise by score."""
    if not by_load:
        return min(placed, key=_by_score)
    if any(seat.lag for _, seat in placed):
        least = min(seat.lag for _, seat in placed) / _SECOND
        return min(placed, key=lambda one: _by_load(one, least))
    return min(placed, key=_by_open)


def _by_score(one: Placed) -> tuple[int, int]:
    return one[1].score, one[0]


def _by_open(one: Placed) -> tuple[int, int, int]:
    return one[1].open, one[1].score, one[0]


def _by_load(one: Placed, least: float) -> tuple[int, bool, int, int]:
    number, seat = one
    return seat.open, lags_behind(seat.lag / _SECOND, least), seat.score, number


def _candidates(
    placed: Sequence[Placed], now: int, suspects: Collection[tuple[int, int]]
) -> list[Placed]:
    """Return the nodes that would take a connection now: able, not stale, and not suspected to hang."""
    return [
        one
        for one in placed
        if one[1].mark != OUT
        and (one[1].resting or now - one[1].stamp <= STALE)
        and (not suspects or (one[0], one[1].stamp) not in suspects)
    ]


def share_of(mine: Seat, able: Sequence[Placed], waiting: int, *, by_load: bool) -> int:
    """Return how many of the clients that wait a node may accept at once, beyond what its turn allows.

    As many as leave enough for the *able* others to catch up, so that in the end all have the same.
    """
    at = _OPEN if by_load else _SCORE
    has, theirs = mine[at], [seat[at] for _, seat in able]
    share = 0
    while share < waiting:
        after = has + share + 1
        if waiting - share - 1 < sum([after - one for one in theirs if one < after]):
            break
        share += 1
    return share


def turn_of(me: Placed, others: Sequence[Placed], now: int, *, by_load: bool) -> Turn:
    """Return what the node *me*, whose seat is up to date, does now.

    It watches if it is next. If another is, which does not watch yet, that one is rung; but if that one has
    no fewer connections and has looked in this very moment, it will look again: meanwhile this one goes on.
    """
    mine = me[1]
    suspects = [(one.suspect, one.suspect_stamp) for _, one in others if one.suspect >= 0]
    if mine.suspect >= 0:
        suspects.append((mine.suspect, mine.suspect_stamp))
    able = _candidates(others, now, suspects)
    if not able:
        return Turn(watch=mine.mark != OUT)
    number, best = _best_of([me, *able] if mine.mark != OUT else able, by_load=by_load)
    if number == me[0]:
        return Turn(watch=True, able=able)
    even = by_load and mine.open <= best.open
    goes_on = even and mine.mark == WATCHING and now - best.stamp < _AWAKE
    if best.mark == WATCHING:
        return Turn(watch=False, best=number, stamp=best.stamp, able=able)
    return Turn(watch=goes_on, best=number, stamp=best.stamp, ring=not goes_on, able=able)
