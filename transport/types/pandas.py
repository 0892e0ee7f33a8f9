"""Data frames, series, indexes and columns of pandas, by the arrays that they are made of; and its timestamps.

Each array is sent as itself, so big ones go by shared memory; Arrow's strings are Arrow's arrays, and a column
of objects is a list. Columns of one plain type are sent as one array.
"""

from collections.abc import Callable
from typing import Any, Final

import numpy as np
import pandas as pd

from actors.transport.errors import Undecodable, Unsendable
from actors.transport.types.adapters import Adapter, by_reference, paths

__all__ = ["ADAPTERS"]

_FIRST_COLUMN: Final = 5


# -- the items of one column or index


def _items(array: Any) -> Any:
    """The items of a column: a plain array, a list of objects, or an array of pandas, which has an adapter."""
    if isinstance(array, pd.arrays.SparseArray):
        raise Unsendable("", array, "sparse columns do not travel; send value.sparse.to_dense()")
    plain = type(array) is pd.arrays.NumpyExtensionArray or array.dtype.kind in "mM"
    if not plain or getattr(array, "tz", None) is not None:
        return array
    items = array.to_numpy()
    return list(items) if items.dtype == object else items


def _array(items: Any) -> tuple[Any, Any]:
    """The items of a column again, and their dtype, which pandas would otherwise infer."""
    if type(items) is list:
        objects = np.empty(len(items), dtype=object)
        for index, item in enumerate(items):
            objects[index] = item
        items = objects
    if not isinstance(items, np.ndarray | pd.api.extensions.ExtensionArray) or items.ndim != 1:
        raise Undecodable(f"a {type(items).__name__} is no column")
    return items, items.dtype


def _flags(value: Any) -> tuple[Any, bool]:
    return value.attrs or None, value.flags.allows_duplicate_labels


def _flagged(value: Any, attrs: Any, duplicates: Any) -> Any:
    if attrs:
        value.attrs = attrs
    if not duplicates:
        value.flags.allows_duplicate_labels = False
    return value


# -- data frames and series


def _frame_parts(frame: Any) -> tuple[Any, ...]:
    dtypes = {*frame.dtypes}
    one = len(dtypes) == 1 and all(
        isinstance(dtype, np.dtype) and not dtype.hasobject for dtype in dtypes
    )
    head = (frame.columns, frame.index, one, *_flags(frame))
    if one:
        return *head, frame.to_numpy()
    columns = []
    for number in range(frame.shape[1]):
        try:
            columns.append(_items(frame.iloc[:, number].array))
        except Unsendable as error:
            error.inside(_frame_path(frame, number + _FIRST_COLUMN))
            raise
    return *head, *columns


def _frame_path(frame: Any, index: int) -> str:
    if index >= _FIRST_COLUMN:
        return f"[{frame.columns[index - _FIRST_COLUMN]!r}]"
    return (".columns", ".index", "", ".attrs", "")[index]


def _frame(columns: Any, index: Any, one: Any, attrs: Any, duplicates: Any, *parts: Any) -> Any:
    if one:
        made = _block(columns, index, *parts)
    else:
        # They share one index, so that pandas aligns nothing.
        series = {number: _filled_series(part, index) for number, part in enumerate(parts)}
        made = pd.DataFrame(series, index=index, columns=range(len(series)), copy=False)
        made.columns = columns
    return _flagged(made, attrs, duplicates)


def _block(columns: Any, index: Any, values: Any) -> Any:
    if not isinstance(values, np.ndarray) or values.shape != (len(index), len(columns)):
        raise Undecodable("the items of a data frame do not fit its index and columns")
    return pd.DataFrame(values, index=index, columns=columns, copy=False)


def _filled_series(items: Any, index: Any, name: Any = None) -> Any:
    array, dtype = _array(items)
    return pd.Series(array, index=index, dtype=dtype, name=name, copy=False)


def _series_parts(series: Any) -> tuple[Any, ...]:
    return _items(series.array), series.index, series.name, *_flags(series)


def _series(items: Any, index: Any, name: Any, attrs: Any, duplicates: Any) -> Any:
    return _flagged(_filled_series(items, index, name), attrs, duplicates)


# -- indexes


def _index_parts(index: Any) -> tuple[Any, ...]:
    freq = getattr(index, "freq", None) if index.dtype.kind in "mM" else None
    text = None if freq is None else freq.freqstr
    if text is not None and _frequency(text) != freq:  # a calendar of holidays, perhaps
        text = None
    return _items(index.array), index.name, text


def _frequency(text: str) -> Any:
    try:
        return pd.tseries.frequencies.to_offset(text)
    except ValueError:
        return None


def _index(cls: type) -> Callable[..., Any]:
    def put_together(items: Any, name: Any, freq: Any) -> Any:
        array, dtype = _array(items)
        made = pd.Index(array, dtype=dtype, name=name, copy=False, tupleize_cols=False)
        if freq is not None:
            made = type(made)(made, freq=freq)
        if type(made) is not cls:
            raise Undecodable(f"expected a {cls.__name__}, got a {type(made).__name__}")
        return made

    return put_together


def _levels(index: Any) -> tuple[Any, ...]:
    codes = [np.asarray(codes) for codes in index.codes]
    return list(index.levels), codes, list(index.names)


# -- arrays of pandas


def _utc(value: Any) -> tuple[Any, Any]:
    """Times without their zone, and the zone."""
    if value.tz is None:
        return value, None
    return value.tz_convert("UTC").tz_localize(None), value.tz


def _zoned(value: Any, zone: Any) -> Any:
    return value if zone is None else value.tz_localize("UTC").tz_convert(zone)


def _times(array: Any) -> tuple[Any, ...]:
    naive, zone = _utc(array)
    return naive.to_numpy(), zone


def _masked(array: Any) -> tuple[Any, ...]:
    dtype = array.dtype.numpy_dtype
    return array.to_numpy(dtype=dtype, na_value=dtype.type(0)), np.asarray(array.isna())


def _strings(array: Any) -> tuple[Any, ...]:
    dtype = array.dtype
    missing = dtype.na_value is pd.NA
    if dtype.storage == "pyarrow":
        return dtype.storage, missing, array.__arrow_array__()
    return dtype.storage, missing, array.to_numpy(dtype=object, na_value=None).tolist()


def _text(storage: Any, missing: Any, items: Any) -> Any:
    dtype = pd.StringDtype(storage, na_value=pd.NA if missing else np.nan)
    return pd.array(items, dtype=dtype) if type(items) is list else _from_arrow(dtype, items)


def _from_arrow(dtype: Any, items: Any) -> Any:
    return dtype.__from_arrow__(items)


def _string_classes() -> set[type]:
    found = set()
    for storage in ("python", "pyarrow"):
        for missing in (pd.NA, np.nan):
            try:
                found.add(type(pd.array([], dtype=pd.StringDtype(storage, na_value=missing))))
            except ImportError:  # pyarrow is not installed
                break
    return found


_INDEXES: Final[tuple[Any, ...]] = (
    pd.Index,
    pd.DatetimeIndex,
    pd.TimedeltaIndex,
    pd.PeriodIndex,
    pd.IntervalIndex,
    pd.CategoricalIndex,
)
_MASKED: Final[tuple[Any, ...]] = (
    pd.arrays.IntegerArray,
    pd.arrays.FloatingArray,
    pd.arrays.BooleanArray,
)

ADAPTERS: Final[dict[type, Adapter]] = {
    pd.DataFrame: Adapter(_frame_parts, _frame, _frame_path),
    pd.Series: Adapter(_series_parts, _series, paths("", ".index", ".name", ".attrs", "")),
    **{cls: Adapter(_index_parts, _index(cls), paths("", ".name", "")) for cls in _INDEXES},
    pd.RangeIndex: Adapter(
        lambda index: (index.start, index.stop, index.step, index.name),
        lambda start, stop, step, name: pd.RangeIndex(start, stop, step, name=name),
        paths("", "", "", ".name"),
    ),
    pd.MultiIndex: Adapter(
        _levels,
        lambda levels, codes, names: pd.MultiIndex(levels, codes, names=names),
        paths(".levels", "", ".names"),
    ),
    pd.Categorical: Adapter(
        lambda array: (array.codes, array.categories, bool(array.ordered)),
        lambda codes, categories, ordered: pd.Categorical.from_codes(
            codes, categories=categories, ordered=ordered
        ),
        paths("", ".categories", ""),
    ),
    pd.arrays.DatetimeArray: Adapter(
        _times, lambda items, zone: _zoned(pd.DatetimeIndex(items), zone).array, paths("", ".tz")
    ),
    pd.arrays.TimedeltaArray: Adapter(
        lambda array: (array.to_numpy(),), lambda items: pd.TimedeltaIndex(items).array
    ),
    pd.arrays.PeriodArray: Adapter(
        lambda array: (array.asi8, array.freqstr),
        lambda items, freq: pd.PeriodIndex.from_ordinals(items, freq=freq).array,
    ),
    pd.arrays.IntervalArray: Adapter(
        lambda array: (array.left, array.right, array.closed), pd.arrays.IntervalArray.from_arrays
    ),
    **{cls: Adapter(_masked, cls) for cls in _MASKED},
    **{cls: Adapter(_strings, _text) for cls in _string_classes()},
    pd.arrays.ArrowExtensionArray: Adapter(
        lambda array: (array.__arrow_array__(),),
        lambda items: _from_arrow(pd.ArrowDtype(items.type), items),
    ),
    pd.Timestamp: Adapter(
        lambda value: (_utc(value)[0].asm8, value.tz),
        lambda value, zone: _zoned(pd.Timestamp(value), zone),
        paths("", ".tz"),
    ),
    pd.Timedelta: Adapter(lambda value: (value.asm8,), pd.Timedelta, copy=by_reference),
    pd.Period: Adapter(
        lambda value: (value.ordinal, value.freqstr),
        lambda ordinal, freq: pd.Period(ordinal=ordinal, freq=freq),
        copy=by_reference,
    ),
    pd.Interval: Adapter(lambda value: (value.left, value.right, value.closed), pd.Interval),
    type(pd.NaT): Adapter(lambda _: (), lambda: pd.NaT, copy=by_reference),
    type(pd.NA): Adapter(lambda _: (), lambda: pd.NA, copy=by_reference),
}
