"""How one payload travels: a pure table over what it is and where it goes."""

from enum import Enum
from typing import Any, Final

from transport._registry import Local
from transport._tags import LEAVES

__all__ = ["Mode", "choose_mode"]


class Mode(Enum):
    """What happens to a payload on its way."""

    REFERENCE = "reference"
    COPY = "copy"
    REFUSED = "refused"


class _Sort(Enum):
    LEAF = 1
    LOCAL = 2
    OTHER = 3


_TABLE: Final = {
    (_Sort.LEAF, True): Mode.REFERENCE,
    (_Sort.LEAF, False): Mode.COPY,
    (_Sort.LOCAL, True): Mode.REFERENCE,
    (_Sort.LOCAL, False): Mode.REFUSED,
    (_Sort.OTHER, True): Mode.COPY,
    (_Sort.OTHER, False): Mode.COPY,
}


def choose_mode(value: Any, *, same_process: bool) -> Mode:
    """How `value` as a whole travels to a receiver in the same process or another.

    A COPY within one process shares what is immutable inside it.
    """
    cls = type(value)
    sort = _Sort.LEAF if cls in LEAVES else _Sort.LOCAL if cls is Local else _Sort.OTHER
    return _TABLE[sort, same_process]
