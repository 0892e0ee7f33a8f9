"""Arrays travel as bytes and a form, and come out as arrays over those very bytes."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st
from hypothesis.extra import numpy

from actors.transport import (
    ArrayLayout,
    Decoder,
    Encoder,
    Mode,
    Undecodable,
    Unsendable,
    array_bytes,
    array_layout,
    choose_mode,
    is_array,
    payload_bytes,
    rebuild_array,
    snapshot,
)
from tests.transport.sample_values import carry, travel


def test_numpy_is_imported_only_for_what_came_from_another_process() -> None:
    program = "import sys, transport as t; t.choose_mode([1], same_process=False); t.is_array(1)\n"
    program += "t.snapshot([1, (2,)]); assert 'numpy' not in sys.modules\n"
    program += "print(t.rebuild_array(memoryview(b'ab'), ('|u1', (2,), 'C')).tolist())\n"
    program += "del sys.modules['numpy']; sys.path.clear(); t.rebuild_array(memoryview(b'x'), ())"
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "[97, 98]\n"
    assert "Undecodable: an array came, and numpy cannot be imported here: No mod" in done.stderr


@pytest.fixture
def np() -> Any:
    return pytest.importorskip("numpy")


def _arrays(np: Any) -> dict[str, Any]:
    record = np.dtype([("a", "<i4"), ("b", "<f8", (2,))])
    return {
        "C": np.arange(24, dtype="<i4").reshape(2, 3, 4),
        "F": np.asfortranarray(np.arange(12.0).reshape(3, 4)),
        "big endian": np.arange(4, dtype=">i2"),
        "bool": np.array([True, False]),
        "complex": np.array([1j, 2]),
        "text": np.array(["ab", "c"]),
        "bytes": np.array([b"ab", b"c"]),
        "time": np.array(["2024-01-01", "NaT"], dtype="M8[ns]"),
        "span": np.array([1, 2], dtype="m8[s]"),
        "record": np.array([(1, (2, 3)), (4, (5, 6))], dtype=record),
        "scalar": np.array(7.5),
        "slice": np.arange(100)[10:20],
    }


def test_an_array_is_rebuilt_over_the_same_bytes_with_the_same_form(np: Any) -> None:
    for name, array in _arrays(np).items():
        data, form = array_bytes(array), array_layout(array)
        assert data is not None, name
        assert (data.format, data.nbytes) == ("B", array.nbytes), name
        again = rebuild_array(data.toreadonly(), snapshot(tuple(form or ())))
        assert (again.dtype, again.shape) == (array.dtype, array.shape), name
        assert again.tobytes() == array.tobytes(), name
        assert again.flags.f_contiguous == array.flags.f_contiguous, name
        assert np.shares_memory(again, array), name
        assert not again.flags.writeable, name


def test_what_is_not_in_one_piece_or_holds_objects_has_no_bytes(np: Any) -> None:
    for array in (np.arange(9)[::2], np.array([None]), np.arange(16).reshape(4, 4)[:, :2]):
        assert array_bytes(array) is None
        assert choose_mode(array, same_process=False) is Mode.COPY
    assert array_bytes(np.zeros((3, 0))) is None


@pytest.fixture(params=["wire", "snapshot"])
def send(request: pytest.FixtureRequest) -> Callable[[Any], Any]:
    def carried(value: Any) -> Any:
        encoder = Encoder()
        return carry(encoder, Decoder(), [1, encoder.encode_value(value)])[1]

    return carried if request.param == "wire" else snapshot


def test_an_array_of_any_form_arrives_with_its_values(np: Any, send: Callable[[Any], Any]) -> None:
    cube = np.arange(24).reshape(2, 3, 4)
    titled = [(("Title", "a"), "i4"), ("n", [(("Deep", "x"), "f8", (2,))]), ("z", "S3")]
    for array in (
        *_arrays(np).values(), cube[:, 0], cube[::-1], cube[..., ::2], cube.transpose(1, 0, 2), cube.T,
        np.broadcast_to(np.float32(2), (3, 2)), np.zeros((0, 3)), np.zeros((3, 0)), np.zeros(0),
        np.diag(cube[0, :, :3]), np.zeros(2, titled)[::2], np.zeros(2, np.dtype("i1,f8", align=True)),
    ):  # fmt: skip
        again = send(array)
        assert (type(again), again.dtype, again.shape) == (type(array), array.dtype, array.shape)
        assert again.dtype.fields == array.dtype.fields
        assert str(again) == str(array)
        # Of what is not in one piece, a copy in C's order arrives.
        assert again.flags.f_contiguous == (
            array.flags.f_contiguous or array.size < 2 or array.ndim < 2
        )
        assert again.flags.c_contiguous or again.flags.f_contiguous
        assert not again.flags.writeable
        assert not np.shares_memory(again, array)


def test_a_numpy_scalar_arrives_as_itself(np: Any, send: Callable[[Any], Any]) -> None:
    record = np.array([(1, 2.0)], dtype=[("a", "i4"), ("b", "f8")])[0]
    scalars = [
        np.arange(4.0).mean(),
        np.int64(3),
        np.True_,
        np.float16(2),
        np.longdouble(2),
        record,
    ]
    scalars += [
        np.datetime64("2020"),
        np.timedelta64(3, "s"),
        np.str_("a\0"),
        np.bytes_(b"a\0"),
        np.void(b"ab"),
    ]
    for scalar in scalars:
        again = send(scalar)
        assert (type(again), again.dtype, again) == (type(scalar), scalar.dtype, scalar)
    assert send({np.int64(1): [np.str_("")]}) == {np.int64(1): [np.str_("")]}
    assert np.isnat(send(np.datetime64("NaT", "s")))
    again = send(record)
    record["a"] = 7
    assert again["a"] == 1


def test_what_numpy_cannot_describe_is_refused_at_the_sender_with_advice(
    np: Any, send: Callable[[Any], Any]
) -> None:
    class Mine(np.float64):  # type: ignore[misc]
        pass

    overlapping = np.dtype({"names": ["a", "b"], "formats": ["i4", "i4"], "offsets": [0, 2]})
    for value, why in (
        (np.array(["a", None], dtype=object), "an array of objects does not travel; send value.tolist()"),
        (np.zeros(2, [("a", object)]), "an array of objects does not travel"),
        (np.zeros(2, overlapping), "numpy cannot describe its dtype"),
        (np.zeros(2, overlapping)[0], "numpy cannot describe its dtype"),
        (np.zeros(1, [("a", "i4")]).view(np.recarray)[0], "numpy cannot describe its dtype"),
        (Mine(1), "Mine is a subclass of float"),
        (np.ma.masked_array([1], mask=[True]), "a masked array does not travel; send value.filled(), or"),
        (np.ma.masked, "a masked array does not travel"),
        (np.zeros(1, "i4,i4").view(np.recarray), "send numpy.asarray(value)"),
    ):  # fmt: skip
        with pytest.raises(Unsendable, match=why.replace("(", r"\(").replace(")", r"\)")):
            send(value)


@pytest.mark.parametrize("form, shape", [("B", (0,)), ("i", (0,)), ("d", (0, 3))])
def test_an_empty_view_arrives_with_its_form(
    np: Any, send: Callable[[Any], Any], form: str, shape: tuple[int, ...]
) -> None:
    again = send(memoryview(np.zeros(shape, dtype=form)))
    assert (again.format, again.shape, again.readonly, again.nbytes) == (form, shape, True, 0)


def test_a_big_array_goes_by_shared_memory(np: Any) -> None:
    array = np.zeros(65536, dtype="u1")
    assert choose_mode(array, same_process=False) is Mode.LEASE
    assert choose_mode(array[1:], same_process=False) is Mode.COPY
    assert choose_mode(array, same_process=True) is Mode.COPY
    assert is_array(array)
    view = payload_bytes(array)
    assert view is not None
    view[5] = 3
    assert array[5] == 3


def test_a_form_that_lies_is_refused(np: Any) -> None:
    data = memoryview(bytes(64))
    for form in (
        None, (), ("<i4",), ("<i4", (8,), "C"), ("<i4", (17,), "C"), ("<i4", (-1,), "C"),
        ("<i4", (-4, -4), "C"), ("<i4", (2, 8.0), "C"), ("<i4", 16, "C"),
        ("<i4", (2**62, 2**62), "C"), ("O", (8,), "C"), ("|O8", (8,), "C"), ("nonsense", (1,), "C"),
        ("<i4", (16,), "X"), ("<i4", "ab", "C"), ([("a", "O")], (8,), "C"), (5, (1,), "C"),
    ):  # fmt: skip
        with pytest.raises(Undecodable):
            rebuild_array(data, form)
    assert rebuild_array(data, ArrayLayout("<i4", (16,), "C")).shape == (16,)


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_an_array_of_any_type_and_shape_arrives_by_either_way(data: st.DataObject) -> None:
    kinds = st.one_of(numpy.scalar_dtypes(), numpy.array_dtypes(max_size=3))
    array = data.draw(numpy.arrays(kinds, numpy.array_shapes(min_dims=0, min_side=0, max_side=4)))
    if array.ndim and data.draw(st.booleans()):
        array = array.T[data.draw(numpy.basic_indices(array.T.shape, allow_newaxis=True))]
    for send in (snapshot, travel):
        again = send((array,))[0]
        assert type(again) is type(array)
        assert (again.dtype, again.shape) == (array.dtype, array.shape)
        assert again.tobytes() == array.tobytes()
