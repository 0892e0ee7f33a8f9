"""Arrays travel as bytes and a form, and come out as arrays over those very bytes."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from actors.transport import (
    ArrayLayout,
    Mode,
    Undecodable,
    array_bytes,
    array_layout,
    choose_mode,
    is_array,
    payload_bytes,
    rebuild_array,
    snapshot,
)


def test_nothing_here_imports_numpy() -> None:
    program = "import sys, transport as t; t.choose_mode([1], same_process=False); t.is_array(1)\n"
    program += "assert 'numpy' not in sys.modules; t.rebuild_array(memoryview(b'x'), ())"
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Undecodable: an array came, and numpy is not imported here" in done.stderr


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
        assert array_layout(array) is None
        assert choose_mode(array, same_process=False) is Mode.COPY
    assert array_bytes(np.zeros((3, 0))) is None


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
