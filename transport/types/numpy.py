"""numpy arrays as bytes and a layout, without a copy, and its scalars.

numpy is imported only when an array or scalar came from another process.
"""

import math
import sys
from importlib import import_module
from typing import Any, NamedTuple

from actors.transport.errors import Undecodable, short_repr

__all__ = [
    "ArrayLayout",
    "array_bytes",
    "array_layout",
    "copy_scalar",
    "in_one_piece",
    "is_array",
    "is_scalar",
    "layout_from_plain",
    "layout_to_plain",
    "rebuild_array",
    "scalar_from_plain",
    "scalar_to_plain",
    "why_no_layout",
]


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


def is_scalar(value: object) -> bool:
    """Whether it is a scalar of exactly one of numpy's own types."""
    generic = getattr(sys.modules.get("numpy"), "generic", None)
    if generic is None or not isinstance(value, generic):
        return False
    dtype: Any = getattr(value, "dtype", None)
    return dtype.type is type(value)


def array_bytes(array: Any) -> memoryview | None:
    """A flat view of its bytes; None if they are not in one piece, or are no plain bytes."""
    order = _order(array)
    if order is None or array.dtype.hasobject or not array.nbytes:
        return None
    flat = (array if order == "C" else array.T).reshape(-1)
    return memoryview(flat.view("u1"))


def array_layout(array: Any) -> ArrayLayout | None:
    """What else is needed to rebuild it, or a scalar; None if its type is not one of numpy's own."""
    dtype = array.dtype
    if dtype.hasobject:
        return None
    npformat = sys.modules["numpy"].lib.format
    try:
        described = npformat.dtype_to_descr(dtype)
        rebuilt = npformat.descr_to_dtype(_fields(_plain_fields(described)))
    except (ValueError, TypeError):  # overlapping fields, titles that are no text
        return None
    if rebuilt != dtype or rebuilt.type is not dtype.type:
        return None
    return ArrayLayout(described, array.shape, _order(array) or "C")


def in_one_piece(array: Any) -> Any:
    """The array itself, or a copy of one whose items are not side by side."""
    return array if _order(array) else array.copy(order="C")


def why_no_layout(value: Any) -> str:
    """Why an array or a scalar does not travel."""
    if value.dtype.hasobject:
        return "an array of objects does not travel; send value.tolist()"
    return f"numpy cannot describe its dtype {value.dtype!s:.60} as plain data; send the fields one by one"


def scalar_to_plain(scalar: Any) -> list[Any] | None:
    """A scalar as a layout and its bytes; None if its type is not one of numpy's own."""
    if isinstance(scalar, str | bytes):  # an array drops NULs at their end
        return ["", scalar[:]]
    layout = array_layout(scalar)
    return None if layout is None else [layout_to_plain(layout), scalar.tobytes()]


def scalar_from_plain(layout: Any, data: Any) -> Any:
    """Undo `scalar_to_plain`.

    Raises:
        Undecodable: as `rebuild_array`.
    """
    if layout == "" and isinstance(data, str | bytes):
        numpy = _numpy()
        return numpy.str_(data) if type(data) is str else numpy.bytes_(data)
    return rebuild_array(memoryview(data), layout_from_plain(layout))[()]


def copy_scalar(scalar: Any) -> Any:
    """The scalar itself, or a copy of a record, the only kind that can be changed."""
    return scalar.copy() if scalar.dtype.type is sys.modules["numpy"].void else scalar


def layout_to_plain(layout: ArrayLayout) -> list[Any]:
    """A layout as lists, since msgpack has no tuples."""
    return [_plain_fields(layout.dtype), list(layout.shape), layout.order]


def _plain_fields(dtype: Any) -> Any:
    if isinstance(dtype, list | tuple):
        return [_plain_fields(part) for part in dtype]
    if type(dtype) not in (str, int):
        raise TypeError(f"{dtype!r:.40} in the description of a dtype")
    return dtype


def layout_from_plain(plain: Any) -> tuple[Any, tuple[Any, ...], Any]:
    """Undo `layout_to_plain`: numpy needs the fields of a record as tuples."""
    dtype, shape, order = plain
    return (_fields(dtype), tuple(shape), order)


def _fields(dtype: Any) -> Any:
    """Records as numpy wants them: tuples; a field with a title has a tuple as its name."""
    if type(dtype) is not list:
        return dtype
    return [
        (tuple(name) if type(name) is list else name, _fields(kind), *map(tuple, shape))
        for name, kind, *shape in dtype
    ]


def _order(array: Any) -> str | None:
    if array.flags.c_contiguous:
        return "C"
    return "F" if array.flags.f_contiguous else None


def rebuild_array(data: memoryview, layout: Any) -> Any:
    """An array over these bytes, without a copy; read-only if they are.

    Raises:
        Undecodable: numpy is not installed here, or the layout does not fit the bytes.
    """
    numpy = _numpy()
    try:
        wire, shape, order = layout
        dtype = numpy.lib.format.descr_to_dtype(wire)
        # Checked before the array is made: bytes of a peer must never become pointers.
        fits = not dtype.hasobject and math.prod(shape) * dtype.itemsize == data.nbytes
        if fits and min(shape, default=0) >= 0:
            return numpy.ndarray(tuple(shape), dtype=dtype, buffer=data, order=order)
    except Exception as error:  # whatever numpy makes of a layout that is not one
        raise Undecodable(f"no array has the layout {short_repr(layout)}: {error}") from error
    raise Undecodable(f"{short_repr(layout)} is not the layout of {data.nbytes} plain bytes")


def _numpy() -> Any:
    """Import numpy for what came from another process.

    Raises:
        Undecodable: it cannot be imported here.
    """
    loaded = sys.modules.get("numpy")
    if loaded is not None:
        return loaded
    try:
        return import_module("numpy")
    except Exception as error:  # ImportError, or whatever a broken installation raises
        raise Undecodable(f"an array came, and numpy cannot be imported here: {error}") from error
