"""The parent's side of `LeastConnections` and `RoundRobin`: it keeps the socket that the nodes accept from.

Rule 1: the parent accepts nothing as long as there are nodes: it gives out seats on the scoreboard and bells.
Rule 2: it holds the listening socket longer than any node, so clients that wait outlive every node.
Rule 3: should clients wait for 100 ms while no node watches that has looked in that time, it rings one.
"""

from __future__ import annotations

import errno
import os
import select
import socket
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from itertools import cycle, islice
from typing import Final

from actors._base.loop import Loop, Timer
from actors.routing.balancer.bound_router import RouterStats
from actors.routing.balancer.socket_router import SocketMember, SocketRouter
from actors.routing.balancer.unavailable import UnavailableResponder
from actors.routing.errors import ListenFailed
from actors.routing.events import HandOverFailed
from actors.routing.interfaces import Report
from actors.routing.listen.listener import Listener
from actors.routing.policy.turn import STALE
from actors.routing.scoreboard import ABLE, SEATS, WATCHING, Scoreboard, Seat

__all__ = ["AcceptRouter"]

_EVERY: Final = 0.1
_RESTING: Final = 1.0
"""Seconds between two checks while all nodes rest: each watches the socket itself."""
_AT_ONCE: Final = 100
"""Bells in one message."""
_MOST_BELLS: Final = 24
"""Nodes that have bells of each other: beyond it, those in threads would need too many descriptors."""
_REST: Final = 16
"""Seats that stay empty for a while before one is given to another node."""
_NO_SEAT: Final = f"all {SEATS} seats of the scoreboard are taken"


@dataclass(slots=True, eq=False)
class _Chair:
    """A seat that a node has, and the parent's end of its bell."""

    number: int
    bell: int


class AcceptRouter(SocketRouter):
    """Gives every node of one listener a seat and a copy of the listening socket."""

    via = "each node accepts by itself"

    def __init__(self, spec: Listener, loop: Loop, report: Report) -> None:
        super().__init__(spec, loop, report)
        self._board: Scoreboard | None = None
        self._unused = list(range(SEATS, 0, -1))
        self._free: deque[int] = deque()
        """Seats whose nodes are gone, in the order in which they went."""
        self._chairs: dict[SocketMember, _Chair] = {}
        self._gone_accepted = 0
        self._lost_unread = 0
        self._backlog = select.poll()
        self._waiting = False
        """Whether clients were waiting at the last check."""
        self._timer: Timer | None = None
        self._unavailable = UnavailableResponder(spec, loop, report, listening=lambda: self._socket)

    def open(self) -> None:
        """Bind and listen; see `BoundRouter`."""
        if self._board is not None:
            return
        super().open()
        assert self._socket is not None
        try:
            self._board = Scoreboard()
        except BaseException as error:
            super().stop_listening()
            if isinstance(error, OSError):
                why = f"no memory that nodes share can be made: {error.strerror}"
                raise ListenFailed(self.spec.address, error.errno or 0, why) from error
            raise
        self._backlog.register(self._socket, select.POLLIN)
        self._members_changed()

    def stop_listening(self) -> None:
        """Give the clients that wait to the nodes, have these accept no more, and release the address."""
        self._unavailable.close()
        self._refuse_new()
        if self._socket is not None:
            self._give_waiting_clients(self._socket)
            self._backlog.unregister(self._socket)
        super().stop_listening()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def close(self) -> None:
        """Give the address back and forget all nodes; they keep what they are serving."""
        super().close()
        for chair in self._chairs.values():
            os.close(chair.bell)
        self._chairs.clear()
        if self._board is not None:
            self._board.close()
            self._board = None

    def snapshot(self) -> RouterStats:
        """Describe the router at this moment."""
        for member in self._chairs:
            seat = self._seat_of(member)
            member.open, member.total = seat.open, seat.accepted
        stats = super().snapshot()
        return replace(
            stats, accepted=self._gone_accepted + stats.accepted, lost_unread=self._lost_unread
        )

    # -- seats -------------------------------------------------------------------------------

    def _seat_of(self, member: SocketMember) -> Seat:
        assert self._board is not None
        return self._board.seat(self._chairs[member].number)

    def _attach(self, member: SocketMember) -> None:
        if self._socket is None or not member.ready:
            return
        self._vacate(member)
        number = self._next_seat()
        try:
            self._expect(number)
            bell = self._invite(member, number, self._socket)
        except BaseException:
            self._free.append(number)
            raise
        self._chairs[member] = _Chair(number, bell)
        self._list_seats()
        self._exchange_bells(member)

    def _next_seat(self) -> int:
        """Return a seat that is free; one that has been used if possible, as each that is used takes a page.

        But not one that was used a moment ago: others may still take it for its old node's.
        """
        if self._unused and len(self._free) < _REST:
            return self._unused.pop()
        if not self._free:
            raise OSError(errno.ENOSPC, _NO_SEAT)
        return self._free.popleft()

    def _invite(self, member: SocketMember, number: int, listening: socket.socket) -> int:
        """Send *member* what it accepts with from its seat; return the parent's end of its bell."""
        bell = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        try:
            fds = self._copies(listening, bell)
            node = member.node
            node.attach_socket(self.spec.name, self.spec.limit(node.slot), fds, number)
        except BaseException:
            os.close(bell)
            raise
        return bell

    def _expect(self, number: int) -> None:
        """Have the others count with a node that comes at once: whoever connects first gets the right one."""
        assert self._board is not None
        scores = [self._seat_of(member).score for member in self._chairs if member.ready]
        seat = Seat(mark=ABLE, score=min(scores, default=0), stamp=time.monotonic_ns())
        self._board.show(number, seat)

    def _copies(self, listening: socket.socket, bell: int) -> tuple[int, ...]:
        """Return the descriptors that a node is attached with; see `SocketNode.attach_socket`."""
        board = self._board
        assert board is not None
        return _all_of(
            partial(os.dup, listening.fileno()),
            partial(os.dup, bell),
            board.writable_copy,
            board.readable_copy,
        )

    def _exchange_bells(self, joined: SocketMember) -> None:
        """Send the node that has joined the bells of the others, and them its own, unless there are many."""
        others = [member for member in self._chairs if member.ready and member is not joined]
        if len(others) >= _MOST_BELLS:
            return
        for member in others:
            self._send_bells(member, [self._chairs[joined]])
        chairs = [self._chairs[member] for member in others]
        for first in range(0, len(chairs), _AT_ONCE):
            self._send_bells(joined, chairs[first : first + _AT_ONCE])

    def _send_bells(self, member: SocketMember, chairs: Sequence[_Chair]) -> None:
        try:
            bells = _all_of(*[partial(os.dup, chair.bell) for chair in chairs])
            member.node.add_bells(self.spec.name, [chair.number for chair in chairs], bells)
        except Exception as error:  # noqa: BLE001 - one broken node must not stop the others
            self._report(HandOverFailed(self.spec.name, member.node.name, error))

    def _detached(self, member: SocketMember) -> None:  # noqa: ARG002 - it is not listed, as it is not ready
        self._list_seats()

    def _list_seats(self) -> None:
        """Show the nodes who is to be considered."""
        assert self._board is not None
        self._board.list_seats(
            [chair.number for member, chair in self._chairs.items() if member.ready]
        )

    def _remove(self, name: str, *, dead: bool) -> None:
        member = self._members.get(name)
        super()._remove(name, dead=dead)
        if dead and member is not None:
            self._vacate(member)

    def _vacate(self, member: SocketMember) -> None:
        """Note what a node has counted up to its end, and take its seat back."""
        if member not in self._chairs:
            return
        assert self._board is not None
        seat = self._seat_of(member)
        self._gone_accepted += seat.accepted
        self._lost_unread += seat.unread
        chair = self._chairs.pop(member)
        self._list_seats()
        self._board.show(chair.number, Seat())
        self._free.append(chair.number)
        os.close(chair.bell)

    # -- clients -----------------------------------------------------------------------------

    def _give_waiting_clients(self, listening: socket.socket) -> None:
        """Accept the clients that wait, as the socket is about to be closed, and send them to the nodes."""
        ready = self._ready
        for member in islice(cycle(ready), self.spec.backlog):
            try:
                sock, _ = listening.accept()
            except OSError:  # nobody waits any more
                return
            try:
                member.node.send_connection(sock.detach(), self.spec.name)
            except Exception as error:  # noqa: BLE001 - as above
                self._report(HandOverFailed(self.spec.name, member.node.name, error))

    def _members_changed(self) -> None:
        if self._socket is None:
            return
        ready = bool(self._ready)
        self._unavailable.set_ready(ready)
        if ready and self._timer is None:
            self._timer = self._loop.call_later(_EVERY, self._check)

    def _check(self) -> None:
        """Ring the nodes if clients wait and nobody seems to watch; see rule 3."""
        self._timer = None
        waiting = bool(self._backlog.poll(0))
        placed = [self._seat_of(member) for member in self._chairs if member.ready]
        now = time.monotonic_ns()
        watched = any(seat.mark == WATCHING and now - seat.stamp <= STALE for seat in placed)
        if waiting and self._waiting and not watched:
            for chair in self._chairs.values():
                with suppress(BlockingIOError):  # it has been rung very often
                    os.eventfd_write(chair.bell, 1)
        self._waiting = waiting
        if self._ready:
            rest = not waiting and all(seat.resting for seat in placed)
            self._timer = self._loop.call_later(_RESTING if rest else _EVERY, self._check)


def _all_of(*makers: Callable[[], int]) -> tuple[int, ...]:
    """Return the descriptor that each makes; none stays open if one cannot be made."""
    made: list[int] = []
    try:
        for make in makers:
            made.append(make())  # noqa: PERF401 - what was made before an error has to be closed
    except BaseException:
        for fd in made:
            os.close(fd)
        raise
    return tuple(made)
