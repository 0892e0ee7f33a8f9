"""The error classes of the transport. The first word after each name says who can do something about it.

TransportError
 +-- Unsendable       the sender: this value does not travel (its path is named)
 +-- TooBig           the sender: this message is over the limit
 +-- NoRoom           the sender: too many big messages wait already, send this one later
 +-- Undecodable      the receiver: the bytes are sound, the value could not be rebuilt
 |    +-- VersionSkew     both: the two sides define this class differently
 +-- FrameError       the peer: its bytes break the protocol; the link ends
 |    +-- SegmentError    the peer: it broke the rules of shared memory
 |         +-- Unsealed        it passed memory that may shrink, or no memory at all
 |         +-- WrongSize       it passed a segment of another size than it said
 |         +-- OutOfRange      it named a segment, slot or bytes that do not exist
 |         +-- StaleLease      it named a slot that is not, or no longer, leased to it
 +-- Moved            the user: this was moved before, only its receiver has it now
 +-- StillViewed      the user: views of this buffer are alive, release them before it is moved
 +-- ChannelClosed    nobody: this side closed the channel
 +-- ChannelBroken    nobody: the peer closed the channel or died
"""

from typing import Any, Final

from actors._root_errors import ActorsError

__all__ = [
    "ChannelBroken",
    "ChannelClosed",
    "FrameError",
    "Moved",
    "NoRoom",
    "OutOfRange",
    "SegmentError",
    "StaleLease",
    "StillViewed",
    "TooBig",
    "TransportError",
    "Undecodable",
    "Unsealed",
    "Unsendable",
    "VersionSkew",
    "WrongSize",
    "short_repr",
]

_SHOWN: Final = 120


def short_repr(value: object) -> str:
    """The value's repr, cut to 120 characters; never raises."""
    try:
        text = repr(value)
    except Exception as error:  # noqa: BLE001 - a user's __repr__ may raise anything
        return f"<{type(value).__qualname__} whose repr failed: {type(error).__qualname__}>"
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


class TransportError(ActorsError):
    """Root of everything this package raises."""


class Unsendable(TransportError):
    """A value that does not travel, found before anything was sent.

    Attributes:
        path: where it sits, such as ``args[0].items[3].callback``.
        value: the value itself.
        why: the reason, in words.
    """

    def __init__(self, path: str, value: object, why: str) -> None:
        super().__init__(path, value, why)
        self.path: str = path
        self.value = value
        self.why = why

    def inside(self, container: str) -> "Unsendable":
        """Return this error with `container` put before its path; each enclosing container calls it."""
        self.path = container + self.path
        self.args: tuple[Any, ...] = (self.path, self.value, self.why)
        return self

    def __str__(self) -> str:
        return f"{self.path}: cannot send {short_repr(self.value)}: {self.why}"


class TooBig(TransportError):
    """One message is bigger than messages may be; nothing was sent.

    Attributes:
        size: bytes the message would take.
        limit: bytes allowed.
        why: more about the limits, from whoever knows.
    """

    def __init__(self, size: int, limit: int) -> None:
        super().__init__(size, limit)
        self.size = size
        self.limit = limit
        self.why = ""

    def __str__(self) -> str:
        return f"the message takes {self.size} bytes, and a message may have {self.limit}{self.why}"


class NoRoom(TransportError):
    """Too many bytes of big messages wait to be written; nothing was sent, and there will be room."""


class Undecodable(TransportError):
    """A payload that could not be rebuilt; the link and other messages are unharmed."""


class VersionSkew(Undecodable):
    """The two sides define a class differently.

    Attributes:
        cls: ``module.qualname`` of the class.
        field: the first field (or enum member) that differs.
        why: the difference, in words.
    """

    def __init__(self, cls: str, field: str, why: str = "differs between the two sides") -> None:
        super().__init__(cls, field, why)
        self.cls = cls
        self.field = field
        self.why = why

    def __str__(self) -> str:
        return f"{self.cls}.{self.field} {self.why}: both sides must run the same code"


class FrameError(TransportError):
    """The bytes of the peer break the protocol; the link ends."""


class SegmentError(FrameError):
    """The peer broke the rules of shared memory; the link ends."""


class Unsealed(SegmentError):
    """The peer passed memory that may shrink while it is read, or a descriptor that is not memory."""


class WrongSize(SegmentError):
    """The peer passed a segment of another size than it said."""


class OutOfRange(SegmentError):
    """The peer named a slot, or bytes in one, that do not exist."""


class StaleLease(SegmentError):
    """The peer named a slot that is not, or no longer, leased to it."""


class Moved(TransportError):
    """What was moved belongs to the receiver; it cannot be used or moved here any more."""


class StillViewed(TransportError, BufferError):
    """A buffer that still has views cannot be moved; nothing was changed."""


class ChannelClosed(TransportError):
    """We closed the channel; nothing more can be sent through it."""


class ChannelBroken(TransportError):
    """The peer closed the channel or died; what it sent before was delivered."""


def raise_ended(broken: TransportError | None) -> None:
    """Raise the error of a send over a channel that has ended.

    Args:
        broken: the error that ended it; None if this side closed it.

    Raises:
        ChannelClosed, ChannelBroken: always one of them.
    """
    if broken is None:
        raise ChannelClosed("this channel was closed here")
    raise ChannelBroken(f"the peer of this channel is gone: {broken}") from broken
