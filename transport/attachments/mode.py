"""How one payload is sent: a pure table over its kind and its destination."""

from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

from actors.transport.attachments.move import Move
from actors.transport.memory.buffer import Buffer
from actors.transport.memory.lease import Availability
from actors.transport.memory.shared_array import SharedArray
from actors.transport.memory.shared_buffer import SharedBuffer
from actors.transport.types.numpy import array_bytes, is_array
from actors.transport.types.registry import Local
from actors.transport.types.tags import LEAVES
from actors.transport.wire.frames import FRAME_LIMIT

__all__ = ["Mode", "Thresholds", "choose_mode", "payload_bytes", "payload_size"]


class Mode(Enum):
    """How a payload gets to its receiver.

    REFERENCE: the receiver gets the object itself.
    COPY: it is copied; between processes, into the frame.
    LEASE: it is copied once, into shared memory, which the receiver maps.
    TRANSFER: its owner changes, and nothing is copied.
    SHARED: both sides have the same bytes.
    REFUSED: it cannot be sent.
    """

    REFERENCE = "reference"
    COPY = "copy"
    LEASE = "lease"
    TRANSFER = "transfer"
    SHARED = "shared"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """Sizes in bytes from which another mode is cheaper.

    Attributes:
        share: from this size on, contiguous payloads go by shared memory.
        frame: a bigger payload goes even by cold shared memory.
    """

    share: int = 64 * 1024
    frame: int = FRAME_LIMIT

    def __post_init__(self) -> None:
        if not 0 < self.share <= self.frame:
            raise ValueError(f"share must be in 1..frame, got {self.share} and {self.frame}")


class _PayloadKind(Enum):
    LEAF = 1
    BIG_LEAF = 2
    BIG = 3
    MOVED_BIG = 4
    MOVED_SMALL = 5
    MOVED = 6
    SHARED = 7
    LOCAL = 8
    OTHER = 9


# The columns: within this process; to another one, with shared memory warm, cold or full.
_TABLE: Final[dict[_PayloadKind, tuple[Mode, Mode, Mode, Mode]]] = {
    _PayloadKind.LEAF: (Mode.REFERENCE, Mode.COPY, Mode.COPY, Mode.COPY),
    _PayloadKind.BIG_LEAF: (Mode.REFERENCE, Mode.LEASE, Mode.COPY, Mode.COPY),
    _PayloadKind.BIG: (Mode.COPY, Mode.LEASE, Mode.COPY, Mode.COPY),
    _PayloadKind.MOVED_BIG: (Mode.TRANSFER, Mode.LEASE, Mode.COPY, Mode.COPY),
    _PayloadKind.MOVED_SMALL: (Mode.TRANSFER, Mode.COPY, Mode.COPY, Mode.COPY),
    _PayloadKind.MOVED: (Mode.TRANSFER, Mode.TRANSFER, Mode.TRANSFER, Mode.TRANSFER),
    _PayloadKind.SHARED: (Mode.SHARED, Mode.SHARED, Mode.SHARED, Mode.SHARED),
    _PayloadKind.LOCAL: (Mode.REFERENCE, Mode.REFUSED, Mode.REFUSED, Mode.REFUSED),
    _PayloadKind.OTHER: (Mode.COPY, Mode.COPY, Mode.COPY, Mode.COPY),
}
_COLUMN: Final = {Availability.WARM: 1, Availability.COLD: 2, Availability.FULL: 3}


def choose_mode(
    value: Any,
    *,
    same_process: bool,
    availability: Availability = Availability.WARM,
    thresholds: Thresholds | None = None,
) -> Mode:
    """The mode of `value` as a whole; a COPY within one process shares the immutable parts of it.

    Args:
        value: the payload.
        same_process: whether the receiver lives in this process.
        availability: what `SegmentPool.availability` says of its size.
        thresholds: sizes; None takes the defaults.
    """
    thresholds = thresholds or Thresholds()
    size = payload_size(value.value if type(value) is Move else value)
    modes = _TABLE[_kind_of(value, big=size >= thresholds.share)]
    if same_process:
        return modes[0]
    if size > thresholds.frame and availability is Availability.COLD:
        availability = Availability.WARM
    return modes[_COLUMN[availability]]


def _kind_of(value: Any, *, big: bool) -> _PayloadKind:
    cls = type(value)
    if cls is Move:
        if type(value.value) is bytearray:
            return _PayloadKind.MOVED_BIG if big else _PayloadKind.MOVED_SMALL
        return _PayloadKind.MOVED
    if cls in LEAVES:
        return _PayloadKind.BIG_LEAF if big else _PayloadKind.LEAF
    if cls is SharedBuffer or cls is SharedArray:
        return _PayloadKind.SHARED
    if cls is Local:
        return _PayloadKind.LOCAL
    return _PayloadKind.BIG if big else _PayloadKind.OTHER


def payload_size(value: Any) -> int:
    """The size of a payload that is contiguous bytes; 0 for any other."""
    cls = type(value)
    if cls is bytes or cls is bytearray:
        return len(value)
    if cls is Buffer:
        return 0 if value.moved else len(value)
    if cls is memoryview:
        return value.nbytes if value.c_contiguous and value.format != "O" else 0
    # Most values are no arrays, and those of no other module are.
    if cls.__module__ != "numpy" or not is_array(value) or array_bytes(value) is None:
        return 0
    return int(value.nbytes)


def payload_bytes(value: Any) -> memoryview | None:
    """The bytes of a payload, without a copy; None if it is not contiguous bytes.

    The format and shape of a memoryview or array have to be sent in addition.
    """
    cls = type(value)
    if cls is bytes or cls is bytearray:
        return memoryview(value)
    if cls is Buffer:
        view: memoryview = value.view()
        return view
    if cls is memoryview:
        return value.cast("B") if value.c_contiguous and value.nbytes else None
    return array_bytes(value) if is_array(value) else None
