"""What a mailbox is like: how many messages may wait in it, how many bytes, and in which order they leave it.

Values only; the mailbox that obeys them is in `mailbox`.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass, replace
from typing import Any, Final, TypeAlias

from actors._base.errors import ActorsError, InvalidSpec
from actors._known_options import known_options
from actors._messaging.byte_bound import COUNTED_FROM

__all__ = [
    "LEAST_PRIORITY",
    "MAILBOX_BYTES",
    "MOST_PRIORITY",
    "Bounded",
    "MailboxOption",
    "Priority",
    "at_least",
    "bounds_of",
    "check_mailbox",
    "check_priority",
    "packed",
    "unpacked",
]

LEAST_PRIORITY: Final = -(2**63)
MOST_PRIORITY: Final = 2**63 - 1
"""What a link can carry."""

_MESSAGES: Final = 1024
MAILBOX_BYTES: Final = 64 * 1024 * 1024
"""How many bytes of big arguments may wait in one mailbox, unless it says otherwise."""


@known_options(InvalidSpec)
@dataclass(frozen=True, slots=True)
class Bounded:
    """A mailbox with bounds of its own: ``spawn(Clerk, mailbox=Bounded(messages=100, bytes=2**30))``.

    ``mailbox=100`` is short for ``mailbox=Bounded(100)``. Who sends to a mailbox that is full waits, or gets
    `MailboxFull`.

    Args:
        messages: how many messages may wait.
        bytes: how many bytes of big arguments may wait together, 65536 or more. An argument counts if it is
            text, bytes, a buffer or an array of more than 64 KiB. A message that is bigger than the bound
            waits alone.

    Raises:
        InvalidSpec: a value that can never work.
    """

    messages: int = _MESSAGES
    bytes: int = MAILBOX_BYTES

    def __post_init__(self) -> None:
        problem = self.problem()
        if problem:
            raise InvalidSpec(f"{type(self).__name__}: {problem}")

    def has_room(self, held: int, size: int) -> bool:
        """Return whether a message of *size* may join *held* bytes; one of any size may wait alone."""
        return not held or held + size <= self.bytes

    def problem(self) -> str:
        """Return what is wrong with the values; "" if nothing is."""
        if type(self.messages) is not int or self.messages < 1:
            return f"messages must be a whole number of 1 or more, got {self.messages!r}"
        if type(self.bytes) is not int or self.bytes < COUNTED_FROM:
            return f"bytes must be a whole number of {COUNTED_FROM} or more, got {self.bytes!r}"
        return ""


@known_options(InvalidSpec)
@dataclass(frozen=True, slots=True)
class Priority(Bounded):
    """A mailbox in which messages of a higher priority are first: ``spawn(Printer, mailbox=Priority())``.

    A message has the priority 0, or that of ``ref.priority(n)``, by which it was sent. Within one priority
    the first that came is the first to be handled; so are the senders that wait for room. Nothing
    waits forever: every 16th message is the one that has waited longest, whatever its priority.

    Args:
        messages: how many messages may wait.
        bytes: how many bytes of big arguments may wait together; see `Bounded`.

    Raises:
        InvalidSpec: a value that can never work.
    """


MailboxOption: TypeAlias = int | Bounded
"""What `mailbox=` takes."""

_PLAIN: Final = Bounded()


def check_mailbox(where: str, mailbox: object) -> None:
    """Refuse a value of `mailbox=` that can never work.

    Raises:
        InvalidSpec: naming it.
    """
    if isinstance(mailbox, Bounded):
        # Checked when it was made, unless a node has sent it.
        problem = "" if type(mailbox) in {Bounded, Priority} else "is of another class"
        problem = problem or mailbox.problem()
        if problem:
            raise InvalidSpec(f"{where}: mailbox {problem}")
    elif type(mailbox) is not int or mailbox < 1:
        raise InvalidSpec(
            f"{where}: mailbox must be a whole number of 1 or more, Bounded(...) or Priority(...), "
            f"got {mailbox!r}"
        )


def check_priority(ref: object, bounds: Bounded, priority: object) -> None:
    """Refuse the argument of a ``priority`` that can never work.

    Raises:
        InvalidSpec: it is not a whole number of 64 bits at most.
        ActorsError: the mailbox of *ref* has no priorities.
    """
    if type(priority) is not int or not LEAST_PRIORITY <= priority <= MOST_PRIORITY:
        raise InvalidSpec(
            f"{ref}: priority must be a whole number, of 64 bits at most; got {priority!r}"
        )
    if type(bounds) is not Priority:
        raise ActorsError(
            f"{ref}: its mailbox has no priorities; start it with mailbox=actors.Priority()"
        )


def bounds_of(mailbox: MailboxOption) -> Bounded:
    """Return the value of `mailbox=` with all its bounds."""
    if isinstance(mailbox, Bounded):
        return mailbox
    return _PLAIN if mailbox == _MESSAGES else Bounded(mailbox)


def at_least(mailbox: MailboxOption, messages: int) -> MailboxOption:
    """Return *mailbox* with room for as many *messages* or more."""
    bounds = bounds_of(mailbox)
    return bounds if bounds.messages >= messages else replace(bounds, messages=messages)


def packed(bounds: Bounded) -> int | list[Any]:
    """Return *bounds* for a link: most are a number."""
    if type(bounds) is Bounded and bounds.bytes == MAILBOX_BYTES:
        return bounds.messages
    return [type(bounds) is Priority, *astuple(bounds)]


def unpacked(sent: int | list[Any]) -> MailboxOption:
    """Return what was `packed`.

    Raises:
        InvalidSpec, ValueError: it cannot be that.
    """
    if type(sent) is int:
        return sent
    priority, messages, size = sent  # type: ignore[misc] # the wire is untyped
    return Priority(messages, size) if priority else Bounded(messages, size)
