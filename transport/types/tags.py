"""The numbers of the wire: extension tags and kinds of classes; and the types that need neither."""

from enum import IntEnum
from typing import Final

__all__ = [
    "INTRODUCE",
    "LEAVES",
    "MAX_DEPTH",
    "MAX_EXTRAS",
    "PLAIN",
    "TOO_DEEP",
    "ClassKind",
    "Tag",
]

LEAVES: Final = frozenset({type(None), bool, int, float, str, bytes})
"""Exact types that are immutable, hold nothing, and are packed natively."""

PLAIN: Final = LEAVES - {bytes}
"""The leaves that always go in the frame; big bytes may go by shared memory."""

INTRODUCE: Final = 0
"""First element of the message that introduces a class; callers number their own from 1."""

MAX_DEPTH: Final = 200
TOO_DEEP: Final = f"nested deeper than {MAX_DEPTH} levels, or contains itself"

MAX_EXTRAS: Final = 32


class Tag(IntEnum):
    """Extension tags; from EXTRA upwards one per `Extra`, by position."""

    TUPLE = 1
    SET = 2
    FROZENSET = 3
    BYTEARRAY = 4
    BIG_INT = 5
    COMPLEX = 6
    DATETIME = 7
    DATE = 8
    TIME = 9
    TIMEDELTA = 10
    TIMEZONE = 11
    UUID = 12
    DECIMAL = 13
    PATH = 14
    RANGE = 15
    DICT = 16
    DEQUE = 17
    MEMORYVIEW = 18
    ENUM = 19
    INSTANCE = 20
    NAMEDTUPLE = 21
    PYDANTIC = 22
    CUSTOM = 23
    EXCEPTION = 24
    ATTACHMENT = 25
    NAMED = 26
    ADAPTED = 27
    EXTRA = 64


class ClassKind(IntEnum):
    """What an introduced class is; NAMED is a class or function that is itself the value."""

    NAMEDTUPLE = 1
    DATACLASS = 2
    ATTRS = 3
    PYDANTIC = 4
    ENUM = 5
    EXCEPTION = 6
    CUSTOM = 7
    NAMED = 8
    ADAPTED = 9
    PICKLED = 10
