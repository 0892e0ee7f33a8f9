"""Tables of pandas, polars and Arrow arrive as they were, or are refused by name."""

from __future__ import annotations

import datetime as dt
import decimal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings, strategies as st
from hypothesis.extra import pandas as random_pandas

from actors.transport import Decoder, Encoder, Mode, Undecoded, Unsendable, snapshot
from actors.transport.testing import mutations
from tests.transport.attachment_link import AttachmentLink
from tests.transport.sample_values import carry, travel


@pytest.fixture(params=["wire", "snapshot"])
def send(request: pytest.FixtureRequest) -> Callable[[Any], Any]:
    return travel if request.param == "wire" else snapshot


NOW = dt.datetime(2024, 10, 27, 2, 30, fold=1, tzinfo=ZoneInfo("Europe/Berlin"))

COLUMNS: dict[Any, Any] = {
    "int": [1, 2, 3],
    "small": np.array([1, 2, 3], "i1"),
    "float": [1.5, None, 3],
    "bool": [True, False, True],
    "complex": [1j, 2, 3],
    "text": ["x", None, "é"],
    "objects": pd.Series([1, ["a", None], pd.NA], dtype=object),
    "lists": pd.Series([[1, 2], [3, 4], [5, 6]], dtype=object),
    "category": pd.Categorical(["b", None, "a"], categories=["b", "a", "c"], ordered=True),
    "time": pd.date_range("2020", periods=3),
    "seconds": pd.Series(pd.date_range("2020", periods=3)).dt.as_unit("s"),
    "zoned": pd.date_range(NOW, periods=3, freq="h"),
    "utc": pd.date_range("2020", periods=3, tz="UTC"),
    "span": pd.to_timedelta([1, None, 3], "s"),
    "period": pd.period_range("2020-01", periods=3, freq="M"),
    "interval": pd.interval_range(0, 3, closed="both"),
    "Int": pd.array([1, None, 3], dtype="Int64"),
    "Float": pd.array([1.5, None, 3], dtype="Float32"),
    "Bool": pd.array([True, None, False], dtype="boolean"),
    "string": pd.array(["a", None, "b"], dtype="string"),
    "python": pd.array(["a", None, "b"], dtype=pd.StringDtype("python")),
    "python nan": pd.array(["a", None, "b"], dtype=pd.StringDtype("python", na_value=np.nan)),
    "arrow": pd.array([1, None, 3], dtype="int64[pyarrow]"),
    "times": pd.Series([pd.Timestamp(NOW), pd.NaT, pd.Timedelta(1, "s")], dtype=object),
    7: [1, 2, 3],
}
MIXED = pd.DataFrame(COLUMNS, index=pd.Index(["a", "b", "a"], name="key"))
MIXED.attrs = {"source": ["somewhere"]}

INDEXES = [
    pd.RangeIndex(1, 9, 2, name="r"),
    pd.Index([1, 2]),
    pd.Index(["a", None], dtype=object),
    pd.Index([(1, 2), (3, 4)], tupleize_cols=False),
    pd.Index(pd.array([1, None], dtype="Int64")),
    pd.date_range("2020", periods=3, freq="B", name="day"),
    pd.date_range("2020", periods=3, tz="Asia/Tokyo"),
    pd.timedelta_range("1s", periods=3),
    pd.period_range("2020", periods=3, freq="Q"),
    pd.interval_range(0, 3),
    pd.CategoricalIndex(["a", "b"]),
    pd.MultiIndex.from_arrays([[1, 1, 2], ["a", None, "b"]], names=["x", None]),
]
FRAMES = {
    "mixed": MIXED,
    "without rows": MIXED.head(0),
    "empty": pd.DataFrame(),
    "without columns": pd.DataFrame(index=[1, 2]),
    "of one type": pd.DataFrame(np.arange(12.0).reshape(3, 4)),
    "of times": pd.DataFrame({"a": COLUMNS["time"], "b": COLUMNS["time"]}),
    "of one object type": pd.DataFrame({"a": COLUMNS["objects"], "b": COLUMNS["lists"]}),
    "names twice": pd.DataFrame([[1, "a"], [2, "b"]], columns=["x", "x"]),
    **{f"by {type(index).__name__}": pd.DataFrame({"a": range(len(index))}, index=index) for index in INDEXES},
}  # fmt: skip


@pytest.mark.parametrize("name", FRAMES)
def test_a_data_frame_arrives_as_it_was(send: Callable[[Any], Any], name: str) -> None:
    frame = FRAMES[name]
    again = send([frame])[0]
    pd.testing.assert_frame_equal(again, frame, check_freq=True, check_index_type="exact")
    assert again.attrs == frame.attrs
    across = send(frame.T)
    pd.testing.assert_frame_equal(across, frame.T)


@pytest.mark.parametrize("name", COLUMNS)
def test_a_series_arrives_as_it_was(send: Callable[[Any], Any], name: Any) -> None:
    series = MIXED[name]
    pd.testing.assert_series_equal(send({"a": series})["a"], series)
    array = series.array
    again = (
        send(array)
        if hasattr(array, "dtype") and type(array).__name__ != "NumpyExtensionArray"
        else array
    )
    assert type(again) is type(array)


@pytest.mark.parametrize("index", INDEXES, ids=lambda index: type(index).__name__)
def test_an_index_arrives_as_it_was(send: Callable[[Any], Any], index: Any) -> None:
    again = send((index,))[0]
    pd.testing.assert_index_equal(again, index, exact=True)
    assert getattr(again, "freq", None) == getattr(index, "freq", None)


def test_what_is_in_a_data_frame_arrives_as_itself_too(send: Callable[[Any], Any]) -> None:
    for value in (
        pd.Timestamp("2020"), pd.Timestamp(NOW), pd.Timestamp("2020").as_unit("s"), pd.Timedelta(1, "s"),
        pd.Period("2020-01", "M"), pd.Interval(1, 2), pd.NaT, pd.NA,
        pd.Interval(pd.Timestamp("2020"), pd.Timestamp("2021"), closed="left"),
    ):  # fmt: skip
        again = send([value])[0]
        assert (type(again), repr(again)) == (type(value), repr(value))


def test_a_data_frame_keeps_its_flags_and_loses_a_calendar(send: Callable[[Any], Any]) -> None:
    strict = pd.DataFrame({"a": [1]}).set_flags(allows_duplicate_labels=False)
    assert not send(strict).flags.allows_duplicate_labels
    days = pd.offsets.CustomBusinessDay(holidays=["2020-01-02"])
    index = pd.date_range("2020", periods=3, freq=days)
    pd.testing.assert_index_equal(send(index), index, check_freq=False)


def test_a_copy_shares_nothing_with_the_original(send: Callable[[Any], Any]) -> None:
    frame = pd.DataFrame({"a": [1, 2], "b": pd.Series([[1], [2]], dtype=object)})
    numbers = pd.DataFrame({"a": [1, 2], "b": [3, 4]})
    again, others = send([frame, numbers])
    frame.loc[0, "a"] = 7
    frame["b"].iloc[0].append(2)
    numbers.iloc[0, 0] = 7
    assert (again["a"].tolist(), again["b"].tolist()) == ([1, 2], [[1], [2]])
    assert others["a"].tolist() == [1, 2]
    again["c"] = again["a"] + 1
    copy = again.copy()
    copy.loc[0, "a"] = 9
    assert copy["a"].tolist() == [9, 2]


@given(
    random_pandas.data_frames(
        [
            random_pandas.column("a", dtype=int),
            random_pandas.column("b", elements=st.floats(allow_nan=True)),
            random_pandas.column("c", elements=st.text(), dtype=object),
            random_pandas.column("d", dtype="datetime64[ns]"),
        ]
    )
)
@settings(max_examples=40, deadline=None)
def test_any_data_frame_arrives_by_either_way(frame: Any) -> None:
    for way in (travel, snapshot):
        pd.testing.assert_frame_equal(way(frame), frame)


# -- Arrow and polars

TABLE = pa.table(
    {
        "int": [1, 2, None],
        "text": ["x", None, "é"],
        "lists": [[1], [], None],
        "words": pa.array(["a", "b", "a"]).dictionary_encode(),
        "time": pa.array([NOW] * 3, pa.timestamp("us", "UTC")),
        "view": pa.array(["a", "b" * 40, None], pa.string_view()),
        "struct": [{"a": 1}, None, {"a": 2}],
        "decimal": pa.array([decimal.Decimal("1.50")] * 3),
    }
).replace_schema_metadata({"k": "v"})

ARROW = {
    "table": TABLE,
    "slice": TABLE.slice(1, 1),
    "without rows": TABLE.slice(0, 0),
    "without columns": pa.table({}),
    "of two pieces": pa.concat_tables([TABLE, TABLE]),
    "batch": TABLE.to_batches()[0],
    "empty batch": TABLE.to_batches()[0].slice(0, 0),
    "column": TABLE["text"],
    "empty column": pa.chunked_array([], pa.int8()),
    "array": pa.array([1, None]),
    "slice of an array": pa.array(["a", "b", "c"])[1:2],
    "array of structs": pa.array([{"a": 1}]),
    "empty array": pa.array([]),
    "schema": TABLE.schema,
}


@pytest.mark.parametrize("name", ARROW)
def test_a_value_of_arrow_arrives_as_it_was(send: Callable[[Any], Any], name: str) -> None:
    value = ARROW[name]
    again = send([value])[0]
    assert type(again) is type(value)
    assert again.equals(value, **({"check_metadata": True} if name == "table" else {}))


FRAME = pl.DataFrame(
    {
        "int": [1, 2, None],
        "text": ["x", None, "é"],
        "lists": [[1], [], None],
        "category": pl.Series(["a", "b", "a"], dtype=pl.Categorical),
        "enum": pl.Series(["a", "b", "a"], dtype=pl.Enum(["b", "a"])),
        "time": pl.Series([NOW] * 3, dtype=pl.Datetime("ns", "Europe/Berlin")),
        "struct": [{"a": 1}] * 3,
        "decimal": [decimal.Decimal("1.50")] * 3,
        "span": [dt.timedelta(1)] * 3,
        "clock": [dt.time(1)] * 3,
        "nothing": [None] * 3,
        "array": pl.Series([[1, 2]] * 3, dtype=pl.Array(pl.Int8, 2)),
        "": [b"x", b"", None],
    }
)


@pytest.mark.parametrize("frame", [FRAME, FRAME.head(0), FRAME.slice(1, 1), pl.DataFrame()])
def test_a_data_frame_of_polars_arrives_as_it_was(send: Callable[[Any], Any], frame: Any) -> None:
    again = send([frame])[0]
    assert type(again) is pl.DataFrame
    assert again.schema == frame.schema
    assert again.equals(frame)


@pytest.mark.parametrize("name", FRAME.columns)
def test_a_series_of_polars_arrives_as_it_was(send: Callable[[Any], Any], name: str) -> None:
    series = FRAME[name]
    again = send([series])[0]
    assert (type(again), again.name, again.dtype) == (pl.Series, name, series.dtype)
    assert again.equals(series)


def test_a_change_of_a_polars_frame_is_not_seen(send: Callable[[Any], Any]) -> None:
    frame = pl.DataFrame({"a": [1, 2]})
    again = send(frame)
    frame[0, "a"] = 7
    frame.insert_column(0, pl.Series("b", [1, 2]))
    assert again.to_dict(as_series=False) == {"a": [1, 2]}


# -- refused


class Mine(pd.DataFrame):  # type: ignore[misc] # pandas is not typed here
    pass


REFUSED: list[tuple[Any, str, str]] = [
    (pd.DataFrame({"a": pd.arrays.SparseArray([0, 1])}), "['a']", "send value.sparse.to_dense()"),
    (pd.DataFrame({"a": [1], "b": pd.Series([[sys]], dtype=object)}), "['b'][0][0]", "modules do not"),
    (pd.Series([1], name=sys), ".name", "modules do not"),
    (pd.Series([1], index=pd.Index([sys])), ".index[0]", "modules do not"),
    (Mine({"a": [1]}), "", "Mine is a subclass of DataFrame and would arrive as one"),
    (FRAME.lazy(), "", "send value.collect()"),
    (pl.DataFrame({"a": pl.Series([sys], dtype=pl.Object)}), "", "the objects in its column 'a'"),
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(REFUSED)))
def test_what_cannot_be_sent_is_refused_by_its_path(
    send: Callable[[Any], Any], number: int
) -> None:
    value, path, why = REFUSED[number]
    with pytest.raises(Unsendable) as caught:
        send([value])
    assert caught.value.path == f"value[0]{path}"
    assert why in caught.value.why


def test_without_pyarrow_a_frame_of_polars_is_refused_by_name() -> None:
    program = (
        "import sys, polars; sys.modules['pyarrow'] = None\n"
        "from actors.transport import Encoder, snapshot, Unsendable\n"
        "for send in (snapshot, Encoder().encode_value):\n"
        "    try: send([polars.DataFrame()])\n"
        "    except Unsendable as error: print(error.why)\n"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=True
    )
    assert done.stdout.count("what it takes cannot be imported here: import of pyarrow halted") == 2


# -- memory, and peers that lie


@pytest.mark.parametrize(
    "make, leases",
    [
        (lambda: pd.DataFrame({"a": np.zeros(10_000), "b": "x"}), 2),
        (lambda: pd.DataFrame(np.zeros((100, 100))), 1),
        (lambda: pa.table({"a": np.zeros(10_000)}), 1),
        (lambda: pl.DataFrame({"a": np.zeros(10_000)}), 1),
    ],
    ids=["columns", "one block", "arrow", "polars"],
)
def test_a_big_one_goes_by_shared_memory(make: Callable[[], Any], leases: int) -> None:
    link = AttachmentLink()
    try:
        link.warm(100_000, 8)
        again = link.ship([make()])[0]
        assert link.here.modes[Mode.LEASE] == leases
        assert type(again) is type(make())
        del again
    finally:
        link.close()


@pytest.mark.parametrize("value", [TABLE, FRAME], ids=["arrow", "polars"])
def test_damaged_bytes_of_a_table_make_a_table_or_one_error(value: Any) -> None:
    encoder = Encoder()
    encoded = encoder.encode_value(value)
    outcomes = {"whole": 0, "undecoded": 0}
    for damaged in mutations(encoded.data, 3, 300):
        again = Encoder()
        again.encode_value(value)  # introduces its class
        got = carry_forged(again, encoded._replace(data=damaged))
        outcomes["undecoded" if isinstance(got, Undecoded) else "whole"] += 1
    assert outcomes["undecoded"] > 100


def test_offsets_that_lead_out_of_a_table_are_one_error() -> None:
    encoder = Encoder()
    encoded = encoder.encode_value(pa.table({"text": ["ab", "cd", "ef"]}))
    sound, broken = np.array([2, 4, 6], "<i4"), np.array([2, 2**30, 6], "<i4")
    assert encoded.data.count(sound.tobytes()) == 1
    forged = encoded._replace(data=encoded.data.replace(sound.tobytes(), broken.tobytes()))
    assert isinstance(carry_forged(encoder, forged), Undecoded)


def carry_forged(encoder: Encoder, value: Any) -> Any:
    return carry(encoder, Decoder(), [1, value])[1]


def test_parts_of_a_data_frame_that_lie_are_one_error() -> None:
    column = np.arange(3)
    index = pd.RangeIndex(3)
    names = pd.Index(["a"])
    for parts in (
        (), (names, index, False, None, True, 5), (names, index, False, None, True, np.zeros((2, 2))),
        (names, index, False, None, True, np.arange(4)),
        (names, index, True, None, True), (names, pd.RangeIndex(2**60), False, None, True, column),
        (names, index, False, None, True, column, column), (names, index, False, 5, True, column),
    ):  # fmt: skip
        encoder = Encoder()
        encoded = encoder.encode_value(pd.DataFrame({"a": column}))
        number = encoder._introduced[pd.DataFrame]
        packed = [number, *(encoder._walk(part, 0) for part in parts)]
        forged = encoded._replace(data=encoder.batches.pack_one(packed))
        assert isinstance(carry_forged(encoder, forged), Undecoded), parts


def test_codes_that_name_no_category_or_level_are_one_error() -> None:
    level = pd.Index(["a"])
    for value, parts in (
        (pd.Categorical(["a"]), (np.array([5]), level, False)),
        (pd.MultiIndex.from_arrays([["a"]]), ([level], [np.array([5])], [None])),
    ):
        encoder = Encoder()
        encoded = encoder.encode_value(value)
        number = encoder._introduced[type(value)]
        packed = [number, *(encoder._walk(part, 0) for part in parts)]
        forged = encoded._replace(data=encoder.batches.pack_one(packed))
        assert isinstance(carry_forged(encoder, forged), Undecoded)
