"""The parent's side of all leases: a thread that answers agents and knows whose lease is over.

Rule 1: answering needs the interpreter's lock for some microseconds and never the loop, so that a parent whose
loop is kept busy for longer than a lease loses no place.
Rule 2: who was called over is not answered again. Both are done by the one thread.
"""

from __future__ import annotations

import os
import select
import threading
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from actors.machines.lease import GrantedLease
from actors.machines.lease_line import ANSWER, QUESTION, ClockOffset, LeaseLine, Question, to_ns
from actors.machines.lease_page import boot_time

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors.machines.lease_line import Session

__all__ = ["LeaseServer"]


@dataclass(slots=True)
class _Place:
    """An agent's lease, and the connection on which it asks."""

    key: str
    lease: GrantedLease
    line: LeaseLine | None = None
    silent: bool = False
    offset: ClockOffset | None = None

    @property
    def next_at(self) -> float:
        return self.lease.over_at if self.silent else self.lease.silent_at


class LeaseServer:
    """Grants leases from now on until `close`; what it tells, it tells in its own thread.

    Args:
        length: seconds of a lease.
        on_silent: called with the key of a place that has not asked for a third of a lease.
        on_heard: called with the key of a silent place that has asked again.
        on_over: called, once, with the key of a place whose lease is certainly over.
    """

    def __init__(
        self,
        length: float,
        *,
        on_silent: Callable[[str], object],
        on_heard: Callable[[str], object],
        on_over: Callable[[str], object],
    ) -> None:
        self.length: float = length
        self._tell = {"silent": on_silent, "heard": on_heard, "over": on_over}
        self._places: dict[str, _Place] = {}
        self._replaced: list[LeaseLine] = []
        """To be closed by the thread, which may be waiting for them."""
        self._lock = threading.Lock()
        """Held while the places are changed or looked at; never while anybody is told."""
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="actors leases", daemon=True)
        self._thread.start()

    def watch(self, key: str) -> None:
        """Count from now, before the agent has connected to ask."""
        with self._lock:
            self._places[key] = _Place(key, GrantedLease(self.length, boot_time()))
        os.eventfd_write(self._wake, 1)

    def serve(self, key: str, session: Session) -> bool:
        """Answer what comes on *session*, which is the server's from now on.

        Returns:
            whether the place is watched; otherwise the session is closed.
        """
        line = LeaseLine(session, QUESTION)
        with self._lock:
            place = self._places.get(key)
            if place is None:
                line.close()
                return False
            self._retire(place)
            place.line = line
        os.eventfd_write(self._wake, 1)
        return True

    def grant_no_more(self, key: str) -> None:
        """Answer a place no more, and count on until its lease is over."""
        with self._lock:
            place = self._places.get(key)
            if place is not None:
                self._retire(place)
        os.eventfd_write(self._wake, 1)

    def forget(self, key: str) -> None:
        """Count no more for a place, whose nodes have all ended; nobody is told."""
        with self._lock:
            place = self._places.pop(key, None)
            if place is not None:
                self._retire(place)
        os.eventfd_write(self._wake, 1)

    def left(self, key: str) -> float | None:
        """Return the seconds until the lease of a place is over; None if nobody counts for it."""
        with self._lock:
            place = self._places.get(key)
            return None if place is None else place.lease.left(boot_time())

    def offset(self, key: str) -> ClockOffset | None:
        """Return what is known of a place's clock; None before its second question."""
        with self._lock:
            place = self._places.get(key)
            return None if place is None else place.offset

    def close(self) -> None:
        """End the thread, and close all connections; nobody is told of anything any more."""
        self._closing.set()
        os.eventfd_write(self._wake, 1)
        self._thread.join()
        for place in self._places.values():
            self._retire(place)
        self._places.clear()
        self._close_replaced()
        os.close(self._wake)

    def _retire(self, place: _Place) -> None:
        if place.line is not None:
            self._replaced.append(place.line)
            place.line = None

    # -- the thread --------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._closing.is_set():
            with self._lock:
                self._close_replaced()
                places = list(self._places.values())
                lines = [place.line for place in places if place.line is not None]
                next_at = min((place.next_at for place in places), default=None)
            self._wait(lines, next_at)
            told = [news for place in places for news in self._look_at(place)]
            for what, key in told:
                with suppress(RuntimeError):  # the loop that was to be told has ended
                    self._tell[what](key)

    def _close_replaced(self) -> None:
        while self._replaced:
            self._replaced.pop().close()

    def _wait(self, lines: list[LeaseLine], next_at: float | None) -> None:
        """Sleep until something has come, or the next lease is silent or over."""
        poll = select.poll()
        poll.register(self._wake, select.POLLIN)
        for line in lines:
            if not line.ended:
                poll.register(line.session.fileno(), line.wants)
        seconds = None if next_at is None else max(0.0, next_at - boot_time())
        poll.poll(None if seconds is None else seconds * 1000 + 1)
        try:
            os.eventfd_read(self._wake)
        except BlockingIOError:
            return

    def _look_at(self, place: _Place) -> list[tuple[str, str]]:
        """Answer a place, and return what is to be told of it."""
        with self._lock:
            if self._places.get(place.key) is not place:
                return []
            if self._answer(place):
                was_silent, place.silent = place.silent, False
                return [("heard", place.key)] if was_silent else []
            now = boot_time()
            if now >= place.lease.over_at:
                del self._places[place.key]
                self._retire(place)
                return [("over", place.key)]
            if now < place.lease.silent_at or place.silent:
                return []
            place.silent = True
            return [("silent", place.key)]

    def _answer(self, place: _Place) -> bool:
        """Answer the last question of those that have come; return whether there was one in time."""
        line = place.line
        if line is None or line.ended:
            return False
        line.go_on()
        questions = line.read()
        # After the reading: a time before it may be one at which the question had not been sent.
        heard_at = boot_time()
        if not questions or not place.lease.heard(heard_at):
            return False
        question = Question(*questions[-1])
        if question.error:
            place.offset = ClockOffset.of_ns(question.offset, question.error)
        line.write(ANSWER.pack(question.number, to_ns(heard_at)))
        return True
