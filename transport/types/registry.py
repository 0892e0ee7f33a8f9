"""Types that users and links add to the sendable ones; each has to be added before its first message."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Generic, NamedTuple, TypeVar, cast

__all__ = [
    "CUSTOM",
    "OPAQUE",
    "Custom",
    "Extra",
    "Local",
    "local",
    "register",
    "register_immutable",
]

T = TypeVar("T")


class Custom(NamedTuple):
    """How a registered type becomes a sendable value and back."""

    encode: Callable[[Any], Any]
    decode: Callable[[Any], Any]


CUSTOM: Final[dict[type, Custom]] = {}
OPAQUE: Final[set[type]] = set()


@dataclass(frozen=True, slots=True)
class Extra(Generic[T]):
    """A type that only the encoder and decoder of one link know, such as a ref.

    Attributes:
        cls: the exact type.
        encode: from the object to any sendable value.
        decode: from that value to the object.
    """

    cls: type[T]
    encode: Callable[[T], Any]
    decode: Callable[[Any], T]


@dataclass(frozen=True, slots=True)
class Local(Generic[T]):
    """Marks a value that is passed by reference and never leaves its process."""

    value: T


def local(value: T) -> T:
    """Mark `value` so that it is passed by reference; typed as the value, for signatures."""
    return cast("T", Local(value))


def register(cls: type[T], encode: Callable[[T], Any], decode: Callable[[Any], T]) -> None:
    """Make instances of exactly `cls` sendable, on every encoder.

    Args:
        cls: the type; its subclasses are not included.
        encode: from an instance to any sendable value.
        decode: from that value to an instance; a copy in the same process goes through both.

    Raises:
        TypeError: `cls` is not a class.
    """
    _check_class(cls)
    CUSTOM[cls] = Custom(encode, decode)


def register_immutable(cls: type) -> None:
    """Let snapshots hand instances of exactly `cls` over by reference.

    Raises:
        TypeError: `cls` is not a class.
    """
    _check_class(cls)
    OPAQUE.add(cls)


def _check_class(cls: object) -> None:
    if not isinstance(cls, type):
        raise TypeError(f"only a class can be registered, got {cls!r}")
