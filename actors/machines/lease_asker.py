"""The agent's side of its lease: a thread that asks for it, and moves the page that the place's nodes read.

Rule 1: the page is never moved beyond what was granted, counted from when the question was sent.
Rule 2: when the lease is over, or the connection has ended, the agent is told once; the nodes need nobody to
tell them of the former.
"""

from __future__ import annotations

import os
import select
import threading
from typing import TYPE_CHECKING, Final

from actors.machines.lease import QUESTIONS, HeldLease
from actors.machines.lease_line import ANSWER, QUESTION, Answer, ClockOffset, LeaseLine, to_ns
from actors.machines.lease_page import LeasePage, boot_time

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors.machines.lease_line import Session

__all__ = ["LeaseAsker"]

_UNKNOWN: Final = 0
"""The error of a clock's offset of which nothing is known."""


class LeaseAsker:
    """Asks on *session*, which it owns, from now on until `close` or the end.

    Args:
        session: to the parent.
        length: seconds of a lease.
        on_ended: called once, in its thread, with why the place may run no more nodes.

    Attributes:
        page: what nodes hold; see `hold_lease`.
        every: seconds after which a node looks at the page again.
    """

    def __init__(self, session: Session, length: float, on_ended: Callable[[str], object]) -> None:
        self.page: LeasePage = LeasePage()
        self.every: float = length / (4 * QUESTIONS)
        self._line = LeaseLine(session, ANSWER)
        self._lease = HeldLease(length)
        self._sent: dict[int, float] = {}
        self._offset = (0, _UNKNOWN)
        self._begun = boot_time()
        self._on_ended = on_ended
        self._held = threading.Event()
        self._closing = threading.Event()
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._thread = threading.Thread(target=self._run, name="actors lease", daemon=True)
        self._thread.start()

    @property
    def left(self) -> float:
        """Seconds until the lease is over, 0 or more."""
        return max(0.0, self._lease.until - boot_time())

    @property
    def offset(self) -> ClockOffset | None:
        """How the clocks of parent and agent differ; None before the first answer."""
        ahead, error = self._offset
        return ClockOffset.of_ns(ahead, error) if error else None

    def wait_held(self, seconds: float) -> bool:
        """Wait, in a thread, until there is a lease; return whether there is."""
        return self._held.wait(seconds)

    def close(self) -> None:
        """Ask no more; the lease runs out by itself."""
        self._closing.set()
        os.eventfd_write(self._wake, 1)
        self._thread.join()
        self._line.close()
        os.close(self._wake)
        self.page.close()

    # -- the thread --------------------------------------------------------------------------

    def _run(self) -> None:
        ask_at = self._begun
        while not self._closing.is_set():
            now = boot_time()
            if now >= ask_at:
                self._ask(now)
                ask_at = now + self._lease.length / QUESTIONS
            self._wait(min(ask_at, self._over_at) - now)
            self._line.go_on()
            came = boot_time()
            for fields in self._line.read():
                self._take(Answer(*fields), came)
            if self._closing.is_set():
                return
            why = self._line.ended
            if boot_time() >= self._over_at:
                why = f"the lease of {self._lease.length:g} s is over"
            if why:
                self._on_ended(why)
                return

    @property
    def _over_at(self) -> float:
        """When to give up: a first lease that does not come is as over as one that was held."""
        return max(self._lease.until, self._begun + self._lease.length)

    def _wait(self, seconds: float) -> None:
        poll = select.poll()
        poll.register(self._wake, select.POLLIN)
        poll.register(self._line.session.fileno(), self._line.wants)
        poll.poll(max(0.0, seconds) * 1000 + 1)

    def _ask(self, now: float) -> None:
        number = self._lease.ask(now)
        self._sent = {number: now}
        self._line.write(QUESTION.pack(number, *self._offset))

    def _take(self, answer: Answer, now: float) -> None:
        sent = self._sent.get(answer.number)
        if sent is not None:
            error = max(1, to_ns((now - sent) / 2))
            self._offset = (answer.clock - to_ns((sent + now) / 2), error)
        until = self._lease.granted(answer.number)
        if until >= 0:
            self.page.move(until)
            self._held.set()
