"""The credit that one sending node gets back for what an actor took, once per turn of the loop."""

from __future__ import annotations

from typing import TYPE_CHECKING

from actors._base.twins import bind
from actors._remoting import protocol as wire
from actors.transport import Lane

if TYPE_CHECKING:
    from actors._remoting.link import Link

__all__ = ["CreditReturn"]


class CreditReturn:
    """Counts what an actor took, for one sending node (a `DeliveryHooks`); the count goes back as credit."""

    __slots__ = ("_due", "_link", "bytes", "taken", "uid")

    def __init__(self, link: Link, uid: int, due: list[CreditReturn]) -> None:
        self._link = link
        self._due = due
        self.taken = self.bytes = 0
        self.uid = uid

    def on_taken(self) -> None:
        """Count a message that left the mailbox."""
        self.taken += 1
        if self.taken == 1 and not self.bytes:
            self._become_due()

    on_dropped = on_taken

    def on_deferred(self) -> None:
        """Keep the credit of one message, which waits again: that of the next one if its own is on its way."""
        self.taken -= 1

    def give_back(self, size: int) -> None:
        """As `ByteCount.give_back`."""
        if size and not self.taken and not self.bytes:
            self._become_due()
        self.bytes += size

    def _become_due(self) -> None:
        if not self._due:
            self._link.host.loop.call_soon(_flush, self._due)
        self._due.append(self)

    def for_resume(self) -> None:
        """Return nothing: a message leaves the mailbox once, however many turns it takes."""

    def flush(self) -> None:
        """Return the credit."""
        # What is below 0 is owed by messages that were deferred, and taken off the next.
        taken, size = max(self.taken, 0), max(self.bytes, 0)
        self.taken -= taken
        self.bytes -= size
        if self._link.closed is None and (taken or size):
            given_back = [taken, size] if size else [taken]
            self._link.send([wire.CREDIT, self.uid, *given_back], Lane.CONTROL)


bind(CreditReturn)


def _flush(due: list[CreditReturn]) -> None:
    credits_due = due.copy()
    due.clear()
    for credit in credits_due:
        credit.flush()
