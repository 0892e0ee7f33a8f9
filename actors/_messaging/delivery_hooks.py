"""What is called when a message leaves the mailbox, and those who count the bytes of big messages by that.

Rule: nothing here knows what else a message has.
"""

from __future__ import annotations

from typing import Protocol

__all__ = ["BigMessage", "ByteCount", "DeliveryHooks", "big_message"]


class DeliveryHooks(Protocol):
    """What is called when a message leaves the mailbox: one of the first two, once more after `on_deferred`."""

    def on_taken(self) -> None:
        """The actor begins to handle it. Called in the task that runs the handler."""

    def on_deferred(self) -> None:
        """It was taken, and waits in the mailbox again."""

    def on_dropped(self) -> None:
        """It was withdrawn or refused; nobody will handle it."""

    def for_resume(self) -> DeliveryHooks | None:
        """Return the hooks for the later items of the stream that the message opened."""


class ByteCount(Protocol):
    """What counts bytes until the messages are taken or dropped."""

    def give_back(self, size: int) -> None:
        """The message of *size* bytes was taken or dropped; below 0, it counts again."""


class BigMessage:
    """The `DeliveryHooks` of a message whose bytes count until it leaves the mailbox."""

    __slots__ = ("_count", "_inner", "_size")

    def __init__(self, count: ByteCount, size: int, inner: DeliveryHooks | None) -> None:
        self._count = count
        self._size = size
        self._inner = inner

    def on_taken(self) -> None:
        """Give the bytes back."""
        self._count.give_back(self._size)
        if self._inner is not None:
            self._inner.on_taken()

    def on_deferred(self) -> None:
        """Count the bytes again."""
        self._count.give_back(-self._size)
        if self._inner is not None:
            self._inner.on_deferred()

    def on_dropped(self) -> None:
        """Give the bytes back."""
        self._count.give_back(self._size)
        if self._inner is not None:
            self._inner.on_dropped()

    def for_resume(self) -> DeliveryHooks | None:
        """Return the hooks for later items, which hold no bytes of the message."""
        return None if self._inner is None else self._inner.for_resume()


def big_message(
    sender: ByteCount, mailbox: ByteCount, size: int, inner: DeliveryHooks | None
) -> BigMessage:
    """Count a message of *size* bytes that came over a link; return the hooks that give them back.

    Args:
        sender: who has counted them already.
        mailbox: where it goes.
        size: its bytes.
        inner: further hooks of the message.
    """
    mailbox.give_back(-size)
    return BigMessage(sender, size, BigMessage(mailbox, size, inner))
