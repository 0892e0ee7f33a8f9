"""A class registered with `via="pickle"` travels as a pickle that names nothing and calls nothing else."""

from __future__ import annotations

import copyreg
import datetime as dt
import operator
import os
import pickle
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from actors.transport import (
    Decoder,
    Encoder,
    Mode,
    Undecoded,
    Unsendable,
    VersionSkew,
    register,
    snapshot,
)
from actors.transport.types.registry import CUSTOM, PICKLED
from tests.transport.attachment_link import AttachmentLink
from tests.transport.sample_values import carry, travel


class Cell:
    """Part of a grid."""

    def __init__(self, value: Any) -> None:
        self.value = value


class Grid:
    """Its parts are of every kind."""

    def __init__(self, *cells: Any) -> None:
        self.cells = [Cell(cell) for cell in cells]
        self.me = self

    @property
    def values(self) -> list[Any]:
        return [cell.value for cell in self.cells]


class Samples:
    """Gives its bytes as a buffer beside the pickle, and is made by a function."""

    def __init__(self, data: Any) -> None:
        self.data = data

    def __reduce_ex__(self, protocol: Any) -> Any:
        return samples_of, (pickle.PickleBuffer(self.data),)


def samples_of(data: Any) -> Samples:
    return Samples(data)


class Broken:
    """Cannot be pickled."""

    def __getstate__(self) -> Any:
        raise OSError("no state today")


CALLED: list[Any] = []


def called(*args: Any) -> None:
    CALLED.append(args)


register(Grid, via="pickle", globals=[Cell])
register(Samples, via="pickle", globals=[samples_of])
register(Broken, via="pickle")


@pytest.fixture(params=["wire", "snapshot"])
def send(request: pytest.FixtureRequest) -> Callable[[Any], Any]:
    return travel if request.param == "wire" else snapshot


def test_it_arrives_whole_with_its_own_circles(send: Callable[[Any], Any]) -> None:
    grid = Grid(1, [2, {"x": (3,)}], None)
    grid.cells.append(grid.cells[0])
    again = send({"a": grid})["a"]
    assert type(again) is Grid
    assert again.values == [1, [2, {"x": (3,)}], None, 1]
    assert again.me is again
    assert again.cells[3] is again.cells[0]
    grid.cells[1].value.append(9)
    assert again.values[1] == [2, {"x": (3,)}]


def test_arrays_dates_and_paths_in_it_need_no_entry(send: Callable[[Any], Any]) -> None:
    day = dt.datetime(2024, 2, 29, tzinfo=dt.UTC)
    again = send(Grid(np.arange(6).reshape(2, 3), day, np.float32(2), Path("a/b")))
    assert again.values[0].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert again.values[1:] == [day, 2, Path("a/b")]
    assert type(again.values[2]) is np.float32


def test_its_buffers_are_copied_out_of_band(send: Callable[[Any], Any]) -> None:
    data = bytearray(b"abc")
    again = send(Samples(data))
    data[:] = b"xyz"
    assert (bytes(again.data), memoryview(again.data).readonly) == (b"abc", True)


def test_big_buffers_and_arrays_go_by_shared_memory() -> None:
    link = AttachmentLink()
    try:
        link.warm(80_000, 8)
        again = link.ship([Samples(bytearray(80_000)), Grid(np.zeros(10_000))])
        assert link.here.modes[Mode.LEASE] == 2
        assert len(again[0].data) == 80_000
        assert again[1].values[0].sum() == 0
        del again
    finally:
        link.close()


# -- refused where it is registered or sent


@pytest.mark.parametrize(
    "entry", [eval, os.system, os.popen, operator.attrgetter, copyreg.pickle, getattr, object],
    ids=lambda entry: str(entry.__name__),
)  # fmt: skip
def test_an_entry_with_which_a_pickle_could_do_anything_is_refused(entry: Any) -> None:
    with pytest.raises(ValueError, match="could do anything: it cannot be registered"):
        register(Unlisted, via="pickle", globals=[entry])
    assert Unlisted not in PICKLED


def test_what_is_registered_wrongly_is_one_error() -> None:
    loose: Any = register
    for call, error, why in (
        (lambda: loose(Unlisted, via="pickle", globals=["os.system"]), TypeError, "as objects, got 'os.sys"),
        (lambda: loose(Unlisted, via="json"), ValueError, "via must be \"pickle\", got 'json'"),
        (lambda: loose(Unlisted, str, str, via="pickle"), TypeError, "takes no encode and no decode"),
        (lambda: loose(Unlisted), TypeError, 'takes encode and decode, or via="pickle"'),
        (lambda: loose(Unlisted, str, str, globals=[Cell]), TypeError, "takes encode and decode, or"),
        (lambda: loose("Unlisted", via="pickle"), TypeError, "only a class can be registered, got 'Unl"),
    ):  # fmt: skip
        with pytest.raises(error, match=why):
            call()  # type: ignore[no-untyped-call]
    assert Unlisted not in PICKLED
    assert Unlisted not in CUSTOM


class Unlisted:
    """Is in no list."""


@pytest.mark.parametrize(
    "value, why",
    [
        (
            Grid(Unlisted()),
            r'a pickle of Grid names it, and register\(Grid, via="pickle", globals=',
        ),
        (Grid([called]), "cannot send <function called at .*>: a pickle of Grid names it, and"),
        (Grid([].append), "cannot send <built-in method append of .*>: a pickle of Grid names it"),
        (Grid(threading.Lock()), "pickling it failed: cannot pickle '_thread.lock' object"),
        (Broken(), "pickling it failed: no state today"),
        (Grid(np.array([None])), "an array of objects does not travel"),
    ],
)
def test_what_it_may_not_hold_is_refused_at_the_sender(
    send: Callable[[Any], Any], value: Any, why: str
) -> None:
    with pytest.raises(Unsendable, match=why) as caught:
        send({"a": [value]})
    assert caught.value.path == "value['a'][0]"


class Child(Grid):
    """Is not registered itself."""


def test_a_subclass_is_not_included(send: Callable[[Any], Any]) -> None:
    with pytest.raises(Unsendable, match="Child is not a known type"):
        send(Child())


# -- a receiver that knows less, or a peer that lies


@pytest.fixture
def later() -> Iterator[None]:
    kept = PICKLED[Grid]
    yield
    PICKLED[Grid] = kept


def test_a_receiver_with_another_list_says_what_differs(later: None) -> None:
    encoder = Encoder()
    value = encoder.encode_value(Grid(1))
    register(Grid, via="pickle", globals=[called])
    failed = carry(encoder, Decoder(), [1, value])[1].error
    assert isinstance(failed, VersionSkew)
    assert failed.field == "called"
    encoder = Encoder()
    value = encoder.encode_value(Grid())
    del PICKLED[Grid]
    failed = carry(encoder, Decoder(), [1, value])[1].error
    assert "is registered by the sender and not here; call register()" in str(failed)


def forged(*parts: Any) -> Any:
    """What a receiver makes of a `Grid` whose parts a peer has made up."""
    encoder = Encoder()
    encoded = encoder.encode_value([Grid(), called])
    number, grid = encoder._introduced[Grid], encoded[0]
    packed = [encoder._walk(part, 0) for part in parts]
    message = [1, grid._replace(data=encoder.batches.pack_one([number, *packed]))]
    return carry(encoder, Decoder(), message)[1]


MARKED = pickle.PROTO + b"\x05"
ENTRY = pickle.BININT1 + b"\0" + pickle.BINPERSID
BESIDE = pickle.BININT + b"\xff\xff\xff\xff" + pickle.BINPERSID
CALL = pickle.EMPTY_TUPLE + pickle.REDUCE + pickle.STOP
GRID = ENTRY + pickle.EMPTY_TUPLE + pickle.NEWOBJ + pickle.STOP

LIES: dict[str, tuple[Any, ...]] = {
    "a name": (MARKED + b"cos\nsystem\n" + CALL, []),
    "a name on the stack": (
        MARKED + b"\x8c\x02os\x8c\x06system" + pickle.STACK_GLOBAL + CALL, [],
    ),
    "a registered number": (MARKED + pickle.EXT1 + b"\1" + CALL, []),
    "something to call as a buffer": (MARKED + pickle.NEXT_BUFFER + CALL, [called]),
    "something to call beside": (MARKED + BESIDE + CALL, [], called),
    "a class beside": (MARKED + BESIDE + CALL, [], Cell),
    "no such entry": (MARKED + pickle.BININT1 + b"\x09" + pickle.BINPERSID + CALL, []),
    "an entry that is text": (MARKED + b"\x8c\x01x" + pickle.BINPERSID + CALL, []),
    "a big place in the memo": (MARKED + b"N" + pickle.LONG_BINPUT + b"\xff\xff\xff\x7f.", []),
    "a big bytearray": (MARKED + pickle.BYTEARRAY8 + b"\xff\xff\xff\xff\xff\0\0\0" + b"ab.", []),
    "a long integer": (MARKED + pickle.LONG4 + b"\xff\xff\xff\x7f" + b"ab.", []),
    "a big frame": (MARKED + pickle.FRAME + b"\xff\xff\xff\xff\xff\0\0\0" + GRID, []),
    "no end": (MARKED + ENTRY + pickle.EMPTY_TUPLE + pickle.NEWOBJ, []),
    "two ends": (MARKED + GRID + GRID, []),
    "another protocol": (pickle.dumps(1, 2), []),
    "no pickle": (b"", []),
    "no bytes": (7, []),
    "no buffers": (MARKED + GRID, None),
    "a missing buffer": (MARKED + pickle.NEXT_BUFFER + pickle.STOP, []),
    "too little": (MARKED + GRID,),
    "another class": (MARKED + pickle.BININT1 + b"\1" + GRID[2:], []),
    "a plain value": (MARKED + b"N.", []),
    "an empty stack": (MARKED + pickle.TUPLE3 + b".", []),
}  # fmt: skip


@pytest.mark.parametrize("name", LIES)
def test_a_pickle_that_lies_is_one_error_and_calls_nothing(name: str) -> None:
    tracemalloc.start()
    try:
        assert isinstance(forged(*LIES[name]), Undecoded)
        assert tracemalloc.get_traced_memory()[1] < 4_000_000  # Python 3.15 begins with a mebibyte
    finally:
        tracemalloc.stop()
    assert CALLED == []


def test_a_pickle_that_does_not_lie_is_read() -> None:
    assert type(forged(MARKED + GRID, [])) is Grid
