"""`array.array`: a code of its type and its bytes, which go by shared memory if there are many."""

from array import array
from typing import Any, Final

from actors.transport.types.adapters import Adapter

__all__ = ["ADAPTERS"]

_TEXT: Final = "uw"
"""Codes of characters, whose bytes cannot be viewed as such."""


def _take_apart(value: "array[Any]") -> tuple[Any, ...]:
    if value.typecode in _TEXT or not value:
        return value.typecode, value.tobytes()
    return value.typecode, memoryview(value).cast("B")


def _put_together(typecode: Any, data: Any) -> "array[Any]":
    made: array[Any] = array(typecode)
    made.frombytes(data)
    return made


ADAPTERS: Final[dict[type, Adapter]] = {
    array: Adapter(_take_apart, _put_together, copy=lambda value: value[:]),
}
