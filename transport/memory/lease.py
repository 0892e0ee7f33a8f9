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
"""Numbers per lease in a batch of returned leases: segment, offset, generation."""


class Availability(Enum):
    """Whether shared memory would take a payload now.

    WARM: a slot with memory behind it is free. COLD: the slot's memory has to be touched first, which
    costs several times the price of a socket. FULL: a limit is reached.
    """

    WARM = "warm"
    COLD = "cold"
    FULL = "full"


class LeaseDescriptor(NamedTuple):
    """Where a payload is: plain numbers that travel in the message itself."""

    segment: int
    offset: int
    length: int
    generation: int


class SegmentIntroduction(NamedTuple):
    """What a peer maps a segment with; it has to arrive before a descriptor that names the segment.

    Attributes:
        layout: plain numbers.
        fd: a descriptor of the segment; the caller owns it, and passes it on or closes it.
    """

    layout: SegmentLayout
    fd: int


class Lease(NamedTuple):
    """A payload in shared memory, ready to be announced to a peer.

    Attributes:
        descriptor: where it is.
        introduction: to be sent before it, if the peer has not mapped the segment yet; else None.
    """

    descriptor: LeaseDescriptor
    introduction: SegmentIntroduction | None


def parse_descriptor(fields: Sequence[Any]) -> LeaseDescriptor:
    """A descriptor as a peer wrote it; whether its numbers name a slot is not checked here.

    Raises:
        OutOfRange: it is not four numbers from 0 up.
    """
    return LeaseDescriptor(*check_ints(fields, len(LeaseDescriptor._fields)))


def check_ints(fields: Sequence[Any], count: int | None = None) -> Sequence[int]:
    """Return `fields` unchanged if they are integers from 0 up.

    Args:
        fields: whatever a peer sent.
        count: how many there have to be; None allows any number.

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
