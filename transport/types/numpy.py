"""numpy arrays as bytes and a layout, without a copy; numpy is used if it is loaded, never imported."""

import math
import sys
from typing import Any, Final, NamedTuple

from actors.transport.errors import Undecodable, short_repr

__all__ = [
    "NOT_PLAIN",
    "ArrayLayout",
    "array_bytes",
    "array_layout",
    "is_array",
    "layout_from_plain",
    "layout_to_plain",
    "rebuild_array",
]


NOT_PLAIN: Final = "only arrays of plain data in one piece travel; send numpy.ascontiguousarray(it)"


class ArrayLayout(NamedTuple):
    """What an array is besides its bytes: plain data, with tuples.

    Attributes:
        dtype: a string, or for records a list, as in numpy's own file format.
        shape: items along each dimension.
        order: C or F.
    """

    dtype: Any
    shape: tuple[int, ...]
    order: str


def is_array(value: object) -> bool:
    """Whether it is exactly a numpy array."""
    return type(value) is getattr(sys.modules.get("numpy"), "ndarray", None)


def array_bytes(array: Any) -> memoryview | None:
    """A flat view of its bytes; None if they are not in one piece, or are no plain bytes."""
    order = _order(array)
    if order is None or array.dtype.hasobject or not array.nbytes:
        return None
    flat = (array if order == "C" else array.T).reshape(-1)
    return memoryview(flat.view("u1"))


def array_layout(array: Any) -> ArrayLayout | None:
    """What else is needed to rebuild it; None if its type is not one of numpy's own."""
    npformat = sys.modules["numpy"].lib.format
    dtype = npformat.dtype_to_descr(array.dtype)
    order = _order(array)
    if order is None or array.dtype.hasobject or npformat.descr_to_dtype(dtype) != array.dtype:
        return None
    return ArrayLayout(dtype, array.shape, order)


def layout_to_plain(layout: ArrayLayout) -> list[Any]:
    """A layout without tuples, which a frame does not hold as they are."""
    return [_plain_fields(layout.dtype), list(layout.shape), layout.order]


def _plain_fields(dtype: Any) -> Any:
    return [_plain_fields(part) for part in dtype] if isinstance(dtype, list | tuple) else dtype


def layout_from_plain(plain: Any) -> tuple[Any, tuple[Any, ...], Any]:
    """Undo `layout_to_plain`: a record's fields are tuples, as numpy wants them."""
    dtype, shape, order = plain
    return (_fields(dtype) if type(dtype) is list else dtype, tuple(shape), order)


def _fields(records: list[Any]) -> list[Any]:
    return [
        (name, _fields(kind) if type(kind) is list else kind, *map(tuple, shape))
        for name, kind, *shape in records
    ]


def _order(array: Any) -> str | None:
    if array.flags.c_contiguous:
        return "C"
    return "F" if array.flags.f_contiguous else None


def rebuild_array(data: memoryview, layout: Any) -> Any:
    """The array over these very bytes; it cannot be written if they cannot.

    Raises:
        Undecodable: numpy is not loaded here, or the layout does not fit the bytes.
    """
    numpy = sys.modules.get("numpy")
    if numpy is None:
        raise Undecodable(
            "an array came, and numpy is not imported here; import it where actors run"
        )
    try:
        wire, shape, order = layout
        dtype = numpy.lib.format.descr_to_dtype(wire)
        # Before anything is made of it: bytes of a peer must never become pointers.
        fits = not dtype.hasobject and math.prod(shape) * dtype.itemsize == data.nbytes
        if fits and min(shape, default=0) >= 0:
            return numpy.ndarray(tuple(shape), dtype=dtype, buffer=data, order=order)
    except Exception as error:  # whatever numpy makes of a layout that is not one
        raise Undecodable(f"no array has the layout {short_repr(layout)}: {error}") from error
    raise Undecodable(f"{short_repr(layout)} is not the layout of {data.nbytes} plain bytes")
