"""What two nodes tell each other about shared memory: plain numbers, and one descriptor per segment."""

from collections.abc import Sequence
from enum import Enum
from typing import Any, Final, NamedTuple

from actors.transport.errors import OutOfRange, short_repr
from actors.transport.memory.segment import SegmentLayout

__all__ = [
    "NUMBERS_PER_LEASE",
    "Availability",
    "Lease",
    "LeaseDescriptor",
    "SegmentIntroduction",
    "check_ints",
    "parse_descriptor",
]

_integers: Final = frozenset({int}).issuperset
NUMBERS_PER_LEASE: Final = 3
"""Numbers per lease in a batch that goes back: segment, offset, generation."""


class Availability(Enum):
    """Whether a segment would take a payload now."""

    WARM = "warm"
    COLD = "cold"
    FULL = "full"


class LeaseDescriptor(NamedTuple):
    """Where a payload is: plain numbers, to go in the message itself."""

    segment: int
    offset: int
    length: int
    generation: int


class SegmentIntroduction(NamedTuple):
    """What makes a segment known to a peer; it has to arrive before a descriptor that names the segment.

    Attributes:
        layout: plain numbers.
        fd: a descriptor of the segment, from here on the caller's: to be passed on, or closed.
    """

    layout: SegmentLayout
    fd: int


class Lease(NamedTuple):
    """A payload in shared memory, ready to be told of.

    Attributes:
        descriptor: where it is.
        introduction: to be sent ahead, if the peer has not seen this segment yet; else None.
    """

    descriptor: LeaseDescriptor
    introduction: SegmentIntroduction | None


def parse_descriptor(fields: Sequence[Any]) -> LeaseDescriptor:
    """A descriptor as a peer wrote it, its numbers not yet looked at.

    Raises:
        OutOfRange: it is not four numbers from 0 up.
    """
    return LeaseDescriptor(*check_ints(fields, len(LeaseDescriptor._fields)))


def check_ints(fields: Sequence[Any], count: int | None = None) -> Sequence[int]:
    """`fields` as they are, if they are integers from 0 up.

    Args:
        fields: whatever a peer sent.
        count: how many there have to be; None if any number will do.

    Raises:
        OutOfRange: they are something else.
    """
    if (
        not isinstance(fields, list | tuple)
        or count not in (None, len(fields))
        or (fields and (not _integers(map(type, fields)) or min(fields) < 0))
    ):
        many = "numbers" if count is None else f"{count} numbers"
        raise OutOfRange(f"{many} from 0 up say where memory is, got {short_repr(fields)}")
    return fields
