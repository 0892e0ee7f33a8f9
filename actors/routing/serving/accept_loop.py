"""How a node takes part in accepting from one listening socket: only while it is its turn.

Rule 1: it accepts one connection, tries to read it, and looks at the scoreboard again. So a kill loses one
connection that nobody has read, at most.
Rule 2: it never accepts on an old look: after a callback that has kept the loop it looks first.
Rule 3: it looks after each connection and each close, and every 20 ms while there is something to do;
otherwise it rests, and then the socket wakes it, whether it is its turn or not.
Rule 4: a node that is next and does not react for a while although clients wait is passed over by all.
"""

from __future__ import annotations

import math
import os
import select
import socket
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from actors._base.loop import Loop, Timer
from actors.routing.balancer.acceptor import Acceptor
from actors.routing.interfaces import Report
from actors.routing.policy.lag import NOISE, decayed, observe
from actors.routing.policy.turn import Placed, Turn, share_of, turn_of
from actors.routing.scoreboard import ABLE, OUT, WATCHING, OwnSeat, ScoreboardReader, Seat
from actors.routing.serving.bells import Bells
from actors.routing.serving.suspicion import Suspicion

__all__ = ["AcceptLoop", "Place"]

_SECOND: Final = 1e9
_EVERY: Final = 0.02
"""Seconds between two looks of a node that has something to do."""
_RESTS_AFTER: Final = 200_000_000
"""Nanoseconds without a connection, an end or a bell after which a node rests."""
_BATCH: Final = 64
_MOST_MISSED: Final = 16
"""Turns that a node makes up for when it was passed over."""
_FIRST_READ: Final = 65536
_UNACKED: Final = 24
"""Where TCP_INFO has `tcpi_unacked`: of a listening socket, the connections that nobody has accepted."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """What a node is given to accept with.

    Attributes:
        listening: the socket that all nodes accept from; the node owns this copy.
        board: the scoreboard.
        seat: the node's own seat, and its number.
        bell: an eventfd that others write to when it is this node's turn; the node owns it.
        limit: connections that the node serves at a time; None for no limit.
        by_load: whether open connections decide (`LeastConnections`) or only scores (`RoundRobin`).
        read_first: whether the first bytes are read for the server; otherwise it reads them itself.
    """

    listening: socket.socket
    board: ScoreboardReader
    seat: OwnSeat
    number: int
    bell: int
    limit: int | None
    by_load: bool
    read_first: bool


class AcceptLoop:
    """Accepts for one node.

    Args:
        place: what it accepts with.
        loop: the node's event loop.
        serve: takes each connection, with its first bytes if they have come.
        open_: connections that the node serves already.
        report: takes the records of `actors.routing.events`.
        listener: the listener's name, for reports.
    """

    def __init__(
        self,
        place: Place,
        loop: Loop,
        *,
        serve: Callable[[socket.socket, bytes], object],
        open_: int,
        report: Report,
        listener: str,
    ) -> None:
        self._place = place
        self._loop = loop
        self._serve = serve
        self._open = open_
        self._reads_first = place.read_first
        self._accepted = 0
        self._score = 0
        self._unread = 0
        self._in = True
        self._watching = False
        self._looks_soon = False
        self._resting = False
        self._last_event = time.monotonic_ns()
        self._lag = 0.0
        self._lag_at = 0.0
        self._lag_shown = 0
        self._shown = Seat()
        self._suspicion = Suspicion()
        self._bells = Bells(place.bell)
        self._taken: tuple[int, ...] = ()
        self._timer: Timer | None = None
        self._due = math.inf
        self._backlog = select.poll()
        self._backlog.register(place.listening, select.POLLIN)
        self._acceptor = Acceptor(
            place.listening,
            loop,
            accepted=self._take,
            room=self._room,
            report=report,
            listener=listener,
            tried=self._tried,
            paused=self._look,
            watch=self._watch,
        )
        # The loop watches this, not the socket: to watch the socket or not is one cheap system call here.
        self._gate = select.epoll()
        self._gate.register(place.listening, 0)
        self._join()

    def _join(self) -> None:
        self._loop.watch_readable(self._gate.fileno(), self._acceptor.readable)
        self._loop.watch_readable(self._bells.own, self._woken)
        self._score = min((seat.score for _, seat in self._others() if seat.mark != OUT), default=0)
        self._start_timer(_EVERY)
        self._look()

    def add_bells(self, numbers: Sequence[int], bells: Sequence[int]) -> None:
        """Take the bells of other seats; the loop owns the descriptors."""
        if self._in:
            self._bells.add(numbers, bells)
            return
        for bell in bells:
            os.close(bell)

    def begin(self) -> None:
        """Count a connection that is served from now on."""
        self._open += 1
        self._accepted += 1
        self._score += 1
        if not self._in:
            self._show(OUT, time.monotonic_ns())

    def end(self) -> None:
        """Count a connection that has ended; it may be this node's turn now."""
        self._open -= 1
        if not self._in:
            self._show(OUT, time.monotonic_ns())
        elif not self._looks_soon:
            self._looks_soon = True
            self._loop.call_soon(self._some_have_ended)

    def _some_have_ended(self) -> None:
        self._looks_soon = False
        if self._in:
            self._event()
            self._look()

    def leave(self) -> None:
        """Accept nothing more, and wake the node that is next."""
        if not self._in:
            return
        self._in = False
        self._look()
        self._acceptor.close()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        place = self._place
        self._loop.unwatch_readable(self._gate.fileno())
        self._gate.close()
        self._loop.unwatch_readable(place.bell)
        self._bells.close()
        place.listening.close()

    def close(self) -> None:
        """Leave, and count no more."""
        self.leave()
        self._place.seat.close()
        self._place.board.close()

    # -- accepting ---------------------------------------------------------------------------

    def _watch(self, watch: bool) -> None:  # noqa: FBT001 - the only argument
        self._gate.modify(self._place.listening, select.EPOLLIN if watch else 0)

    def _room(self) -> int:
        """Return how many clients to accept now that some wait."""
        self._event()
        turn = self._look()
        room = self._share(turn) if turn.able else _BATCH
        if room == 0:
            self._observe(turn)
            return 0
        self._unread = 1
        self._place.seat.set_unread(1)
        return room

    def _share(self, turn: Turn) -> int:
        place = self._place
        room = _BATCH if place.limit is None else place.limit - self._open
        waiting = min(_waiting(place.listening), room, _BATCH)
        share = share_of(self._shown, turn.able, waiting, by_load=place.by_load)
        return max(share, int(turn.watch))

    def _take(self, sock: socket.socket, _client: object) -> None:
        first = b""
        if self._reads_first:
            try:
                first = sock.recv(_FIRST_READ)
            except OSError:
                first = b""  # nothing has come yet; if the client is gone, the server will see it
        self._serve(sock, first)

    def _tried(self) -> None:
        """It has accepted, or there was nobody."""
        if self._reads_first:
            self._unread = 0
        else:
            self._loop.call_soon(self._has_read)  # behind the first step of the task that reads
        self._look()

    def _has_read(self) -> None:
        self._unread = 0
        self._place.seat.set_unread(0)

    # -- whose turn it is --------------------------------------------------------------------

    def _others(self) -> list[Placed]:
        place = self._place
        taken = place.board.taken()
        if taken is not self._taken:
            self._taken = taken
            self._bells.keep(taken)
        read, mine = place.board.seat, place.number
        return [(number, read(number)) for number in taken if number != mine]

    def _look(self) -> Turn:
        """Look at the others and do what follows."""
        place, now = self._place, time.monotonic_ns()
        limit = place.limit
        able = self._in and not self._acceptor.paused and (limit is None or self._open < limit)
        mark = OUT if not able else WATCHING if self._watching else ABLE
        seat = self._seat(mark, now)
        turn = turn_of((place.number, seat), self._others(), now, by_load=place.by_load)
        if turn.ring and self._watching and turn.best not in self._bells:
            turn = turn._replace(watch=True)  # until the other looks by itself
        # One that rests watches in any case: should the one whose turn it is not react, others are there.
        watch = able and (turn.watch or self._resting)
        if watch != self._watching:
            self._watching = watch
            self._acceptor.set_accepting(watch)
            seat = self._seat(OUT if not able else WATCHING if watch else ABLE, now)
        place.seat.show(seat)
        self._shown = seat
        if turn.ring:
            self._bells.ring(turn.best, turn.stamp)
        return turn

    def _seat(self, mark: int, now: int) -> Seat:
        suspicion = self._suspicion
        return Seat(
            mark,
            self._open,
            self._accepted,
            self._score,
            now,
            self._resting,
            self._lag_shown,
            suspicion.seat,
            suspicion.stamp,
            self._unread,
        )

    def _show(self, mark: int, now: int) -> None:
        self._place.seat.show(self._seat(mark, now))

    def _catch_up(self) -> None:
        """Forgo turns that this node has missed, but for a few, so that it does not get all clients at once."""
        least = min((seat.score for _, seat in self._others() if seat.mark != OUT), default=0)
        self._score = max(self._score, least - _MOST_MISSED)

    def _observe(self, turn: Turn) -> None:
        """Suspect the node that is next if it has not looked for a while although clients wait."""
        if turn.best < 0 or turn.watch or not self._in or not self._backlog.poll(0):
            self._suspicion.nobody_waits()
        elif self._suspicion.clients_wait(turn.best, turn.stamp, time.monotonic_ns()):
            self._look()
        else:
            self._start_timer(self._suspicion.patience / _SECOND)

    # -- when it looks -----------------------------------------------------------------------

    def _woken(self) -> None:
        """Another node, or the parent, says that it is this node's turn."""
        self._bells.hear()
        self._event()
        self._look()

    def _event(self) -> None:
        """There is something to do."""
        self._last_event = time.monotonic_ns()
        if self._resting:
            self._resting = False
            self._catch_up()
            self._start_timer(_EVERY)

    def _start_timer(self, seconds: float) -> None:
        """Look again in *seconds*, or earlier if that is planned already."""
        due = self._loop.now() + seconds
        if self._timer is not None:
            if self._due <= due:
                return
            self._timer.cancel()
        self._due = due
        self._timer = self._loop.call_later(seconds, self._tick)

    def _tick(self) -> None:
        self._timer = None
        now = self._loop.now()
        late = max(0.0, now - self._due)
        self._suspicion.timer_was_late(late * _SECOND)
        self._lag = observe(decayed(self._lag, now - self._lag_at), late)
        self._lag_at = now
        self._lag_shown = int(self._lag * _SECOND) if self._lag > NOISE else 0
        self._catch_up()
        idle = time.monotonic_ns() - self._last_event > _RESTS_AFTER
        self._resting = idle and not self._suspicion.open
        self._observe(self._look())
        if not self._resting:
            self._start_timer(_EVERY)


def _waiting(listening: socket.socket) -> int:
    """Return how many clients wait to be accepted, 0 if the kernel does not say."""
    if listening.family == socket.AF_UNIX:
        return 0
    info = listening.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _UNACKED + 4)
    return int.from_bytes(info[_UNACKED:], sys.byteorder)
