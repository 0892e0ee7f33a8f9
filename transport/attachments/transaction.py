"""What one message sends beside its frame, until the message is sent or given up.

Rule: whatever was prepared can be undone until `commit`; only then the sender loses what it moves.
"""

from collections.abc import Callable
from typing import Any, Final, NamedTuple

from actors.transport.errors import Moved, Unsendable, short_repr
from actors.transport.wire.outbox import close_all

__all__ = ["MAX_DESCRIPTORS", "Prerequisite", "SendTransaction"]

MAX_DESCRIPTORS: Final = 256
"""Sockets and shared buffers of one message."""


class Prerequisite(NamedTuple):
    """What has to be sent before a message: plain numbers, and descriptors that become the link's."""

    op: str
    numbers: list[int]
    fds: list[int]


class SendTransaction:
    """What the message that is being encoded needs; used for one message after the other."""

    def __init__(self) -> None:
        self.prerequisites: list[Prerequisite] = []
        self._undo: list[Callable[[], object]] = []
        self._done: list[Callable[[], object]] = []
        self._moved: set[int] = set()
        self._descriptors = 0
        self.empty: bool = True
        """Whether there is nothing to commit or undo; a plain attribute, read once per message."""
        self.lent: int = 0
        """Bytes of the payloads that the message lends."""

    def need(self, prerequisite: Prerequisite) -> None:
        """Have *prerequisite* sent ahead of the message."""
        self.prerequisites.append(prerequisite)
        self.empty = False

    def add_moved(self, value: object) -> None:
        """Record that the message moves `value`.

        Raises:
            Moved: it moves it already.
        """
        if id(value) in self._moved:
            raise Moved(f"{short_repr(value)} is moved twice in one message")
        self._moved.add(id(value))

    def count_descriptors(self, value: object) -> None:
        """Count one more socket or shared buffer of the message.

        Raises:
            Unsendable: there are too many.
        """
        self._descriptors += 1
        if self._descriptors > MAX_DESCRIPTORS:
            why = f"one message carries at most {MAX_DESCRIPTORS} sockets and shared buffers"
            raise Unsendable("", value, why)

    def on_undo(self, step: Callable[[], object]) -> None:
        """Call *step* if the message is not sent."""
        self._undo.append(step)
        self.empty = False

    def on_commit(self, step: Callable[[], object]) -> None:
        """Call *step* when the message is sent."""
        self._done.append(step)
        self.empty = False

    def commit(self) -> None:
        """The message is sent, after its prerequisites: do what waited for that."""
        for step in self._clear(self._done):
            step()

    def undo(self) -> None:
        """The message will not be sent: undo what was prepared, in reverse order."""
        for step in reversed(self._clear(self._undo)):
            step()
        # Undoing a lease has removed its own prerequisite.
        for prerequisite in self.prerequisites:
            close_all(prerequisite.fds)
        self.prerequisites.clear()

    def _clear(self, steps: list[Callable[[], Any]]) -> list[Callable[[], Any]]:
        kept = steps.copy()
        self._done.clear()
        self._undo.clear()
        self._moved.clear()
        self._descriptors = self.lent = 0
        self.empty = True
        return kept
