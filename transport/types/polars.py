"""Data frames and series of polars: in Arrow's stream format, in one buffer, in which they lie on arrival.

Within a process they are cloned, which copies no data. Arrow reads the buffer for polars, whose own reader ends
the process where the bytes make no sense; so pyarrow has to be installed.
"""

import io
from typing import Any, Final

import polars as pl

from actors.transport.errors import Undecodable, Unsendable
from actors.transport.types.adapters import Adapter
from actors.transport.types.arrow import read_schema, read_table

__all__ = ["ADAPTERS"]


def _take_apart(value: Any) -> tuple[Any, ...]:
    frame = _frame(value)
    file = io.BytesIO()
    try:
        frame.write_ipc_stream(file)
        read_schema(file.getbuffer())
    except Exception as error:  # one of polars' or Arrow's many
        raise Unsendable("", value, f"Arrow cannot write it: {error}") from error
    return frame.columns, file.getbuffer()


def _frame(value: Any) -> Any:
    """The data frame, or one of the series, without objects of Python."""
    frame = value if isinstance(value, pl.DataFrame) else value.to_frame()
    for name, dtype in frame.schema.items():
        if dtype == pl.Object:
            why = f"the objects in its column {name!r} do not travel; cast it to another type"
            raise Unsendable("", value, why)
    return frame


def _put_together(names: Any, data: Any) -> Any:
    table = read_table(data)
    try:
        frame: Any = pl.from_arrow(table)
        frame.columns = names  # it gives names to columns without one
    except Exception:
        raise
    except BaseException as error:  # a panic of its Rust code is no Exception
        if type(error).__name__ != "PanicException":
            raise
        raise Undecodable(f"polars cannot read a data frame: {error}") from error
    return frame


def _clone(value: Any) -> Any:
    _frame(value)
    return value.clone()


ADAPTERS: Final[dict[type, Adapter]] = {
    pl.DataFrame: Adapter(_take_apart, _put_together, copy=_clone),
    pl.Series: Adapter(
        _take_apart, lambda names, data: _put_together(names, data).to_series(0), copy=_clone
    ),
}
