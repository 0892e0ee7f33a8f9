"""What the functions in C do is what their twins in Python do: the same results, the same errors."""

from __future__ import annotations

import gc
import os
import random
import re
import subprocess
import sys
import tracemalloc
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, make_dataclass
from enum import Enum
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings, strategies as st

from actors._extensions import checksum, load, not_loaded
from actors.transport import (
    Decoder,
    Encoder,
    FrameError,
    Lane,
    Undecoded,
    snapshot,
    snapshot_args,
)
from actors.transport.codec.snapshot import snapshot_args_in_python, snapshot_in_python
from actors.transport.types import twins
from actors.transport.types.tags import MAX_DEPTH, Tag
from tests.transport.fuzz import rebuilt, unpacked
from tests.transport.sample_values import (
    SAMPLES,
    Box,
    Color,
    Frozen,
    Point,
    Registered,
    Slotted,
    types,
    values,
)

EXAMPLES = int(os.environ.get("TWIN_EXAMPLES", "60"))
"""Of each strategy; the soak tries more."""

pytestmark = pytest.mark.skipif(twins.COMPILED is None, reason=not_loaded())


@contextmanager
def python() -> Iterator[None]:
    """What is made within the block has no functions in C."""
    compiled, twins.COMPILED = twins.COMPILED, None  # type: ignore[misc] # as where nothing is compiled
    try:
        yield
    finally:
        twins.COMPILED = compiled  # type: ignore[misc]


def in_python(make: Callable[[], Any]) -> Any:
    with python():
        return make()


def outcome(function: Callable[..., Any], *args: Any) -> Any:
    """What it returns, or the error that it raises."""
    try:
        return function(*args)
    except Exception as error:  # noqa: BLE001 - any difference matters
        return type(error), str(error)


class Opaque:
    """Cannot be sent."""

    def __repr__(self) -> str:
        return "Opaque()"


@dataclass
class Three:
    """Holds anything."""

    a: Any
    b: Any = 2
    c: Any = "c"


broken = st.recursive(
    st.one_of(st.integers(), st.just(Opaque()), values),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(st.text(), inner, max_size=3),
        st.builds(Box, inner, inner),
        st.builds(Three, inner, inner, inner),
        st.builds(Point, inner, inner),
    ),
    max_leaves=6,
)


# ---------------------------------------------------------------- snapshots


def shared(copy: Any, value: Any) -> Any:
    """Which parts of a copy are the original's own."""
    if isinstance(value, list | tuple) and type(copy) is type(value):
        parts = [shared(a, b) for a, b in zip(copy, value, strict=True)]
    elif isinstance(value, dict):
        parts = [shared(a, b) for a, b in zip(copy.values(), value.values(), strict=True)]
    elif isinstance(value, Box):
        parts = shared(vars(copy), vars(value))
    else:
        parts = []
    return copy is value, parts


@given(values)
@settings(max_examples=EXAMPLES)
def test_both_make_the_same_snapshot_and_share_the_same_parts(value: Any) -> None:
    ours, theirs = snapshot(value), snapshot_in_python(value)

    assert ours == theirs
    assert types(ours) == types(theirs)
    assert shared(ours, value) == shared(theirs, value)


@given(broken)
@settings(max_examples=EXAMPLES)
def test_both_name_the_same_place_of_what_cannot_be_sent(value: Any) -> None:
    assert told(outcome(snapshot, value)) == told(outcome(snapshot_in_python, value))
    both = [
        outcome(made, (1, value), {"key": value})
        for made in (snapshot_args, snapshot_args_in_python)
    ]
    assert told(both[0]) == told(both[1])


@given(
    st.integers(MAX_DEPTH - 150, MAX_DEPTH + 5), st.sampled_from(["list", "dict", "tuple", "box"])
)
def test_both_go_equally_deep(depth: int, kind: str) -> None:
    value: Any = [1]
    for _ in range(depth):
        value = {"list": [value], "dict": {"k": value}, "tuple": (value,), "box": Box(value)}[kind]

    assert repr(outcome(snapshot, value)) == repr(outcome(snapshot_in_python, value))
    ours, theirs = Encoder(), in_python(Encoder)
    assert outcome(frames, ours, value) == outcome(frames, theirs, value)


def test_both_refuse_what_contains_itself() -> None:
    value: list[Any] = []
    value.append(value)

    assert outcome(snapshot, value) == outcome(snapshot_in_python, value)
    assert outcome(frames, Encoder(), value) == outcome(frames, in_python(Encoder), value)


def test_a_class_that_reads_its_attributes_by_code_of_its_own_is_left_to_python() -> None:
    @dataclass
    class Doubling:
        n: int = 1

        def __getattribute__(self, name: str) -> Any:
            found = super().__getattribute__(name)
            return found * 2 if name == "n" else found

    Doubling.__qualname__ = Doubling.__name__ = "Doubling"
    sys.modules[__name__].Doubling = Doubling  # type: ignore[attr-defined]

    for _ in range(2):
        assert snapshot(Doubling(3)).n == snapshot_in_python(Doubling(3)).n


def test_an_instance_that_has_more_or_less_than_its_fields_is_copied_by_python() -> None:
    for _ in range(2):  # the second time, the class is known
        more, less = Three(1), Three([])
        more.extra = [2]  # type: ignore[attr-defined]
        del less.b
        assert vars(snapshot(more)) == {"a": 1, "b": 2, "c": "c", "extra": [2]}
        assert vars(snapshot(less)) == vars(snapshot_in_python(less))
        slotted = Slotted([1])
        del slotted.two
        assert not hasattr(snapshot(slotted), "two")


@dataclass(frozen=True, eq=False)
class Key:
    """Is hashable, and holds what can change."""

    items: list[int]


def test_a_key_that_holds_what_can_change_is_copied() -> None:
    for _ in range(2):
        key = Key([1])
        for value in ({key: 1}, {key: [1]}, {(1, key): 1}, {key}, frozenset({key})):
            ours, theirs = snapshot(value), snapshot_in_python(value)
            assert type(ours) is type(theirs)
            assert next(iter(ours)) is not next(iter(value))


def test_a_copied_instance_is_as_independent_as_python_makes_it() -> None:
    original = Three([1], {"k": [2]}, (3, [4]))
    for _ in range(2):
        copy = snapshot(original)
        copy.a.append(0)
        copy.b["k"].append(0)
        copy.c[1].append(0)
        copy.d = 5
        assert vars(original) == {"a": [1], "b": {"k": [2]}, "c": (3, [4])}


# ---------------------------------------------------------------- values to bytes


def frames(encoder: Encoder, value: Any) -> list[bytes]:
    """The frames of a message with the value, in its arguments, its keywords and by itself."""
    args, keywords = encoder.encode_args((1, value), {"key": value})
    encoder.pack([1, 7, "method", args, keywords])
    encoder.pack([2, 7, encoder.encode_value(value)])
    return [body for lane in Lane for body in encoder.take(lane)]


@given(st.lists(values, min_size=1, max_size=3))
@settings(max_examples=EXAMPLES)
def test_both_write_the_same_bytes(several: list[Any]) -> None:
    ours, theirs = Encoder(), in_python(Encoder)

    for value in (*several, *several):  # the second time, the classes are known
        assert frames(ours, value) == frames(theirs, value)


@given(broken)
@settings(max_examples=EXAMPLES)
def test_both_refuse_the_same_values(value: Any) -> None:
    ours, theirs = Encoder(), in_python(Encoder)

    for _ in range(2):
        assert outcome(frames, ours, value) == outcome(frames, theirs, value)


@pytest.mark.parametrize(
    "number", [2**n + d for n in (5, 7, 8, 15, 16, 31, 32, 63, 64, 200) for d in (-1, 0, 1)]
)
def test_both_write_the_same_integers(number: int) -> None:
    for each in (number, -number):
        assert frames(Encoder(), each) == frames(in_python(Encoder), each)


@pytest.mark.parametrize("size", [0, 1, 15, 16, 31, 32, 255, 256, 4095, 4096, 65_535, 65_536])
def test_both_write_the_same_sizes(size: int) -> None:
    sized = (
        b"b" * size,
        "t" * size,
        [None] * size,
        (0,) * size,
        dict.fromkeys(range(size)),
        {(1, 2): "s" * size},
    )
    for value in sized:
        assert frames(Encoder(), value) == frames(in_python(Encoder), value)


@pytest.mark.parametrize(
    "message",
    [
        [1, Opaque()],
        [1, {Opaque(): 1}],
        [1, [object]],
        [True],
        [Color.RED],
        [1, {"a": "\ud800"}],
        [1, 2**70],
        [1, b"x", (2, 3)],
    ],
    ids=lambda message: type(message[-1]).__name__,
)
def test_both_pack_the_same_messages(message: list[Any]) -> None:
    ours, theirs = Encoder().batches.pack_one, in_python(Encoder).batches.pack_one

    assert str(outcome(ours, message)) == str(outcome(theirs, message))


@pytest.mark.parametrize("behind", [0, 1, 60, 70, 5_000])
def test_both_pack_what_stands_before_and_behind_big_binaries(behind: int) -> None:
    message = [1, "t" * 900, b"b" * 300_000, *range(behind), b"c" * 70_000, "end"]

    assert Encoder().batches.pack_one(message) == in_python(Encoder).batches.pack_one(message)


def test_a_message_that_is_left_to_python_may_hold_packed_values() -> None:
    encoder, theirs = Encoder(), in_python(Encoder)
    fields = [[1], (2,), {"k": {3}}]

    ours = encoder.batches.pack_one([Level.ONE, *map(encoder.encode_value, fields)])

    assert ours == theirs.batches.pack_one([Level.ONE, *map(theirs.encode_value, fields)])


class Level(int, Enum):
    ONE = 1


# ---------------------------------------------------------------- bytes to values


def without_addresses(text: str) -> str:
    return re.sub(" at 0x[0-9a-f]+", "", text)


def told(part: Any) -> Any:
    """A value as something that can be compared, whatever it is."""
    if type(part) is Undecoded:
        return type(part.error), without_addresses(str(part.error))
    if type(part) in (list, tuple):
        return [told(each) for each in part]
    if type(part) is dict:
        return [(told(key), told(item)) for key, item in part.items()]
    if isinstance(part, Registered):
        return told(part.value)
    try:
        text = without_addresses(repr(part))
        # Where a nan is in a set depends on its address.
        return types(part), sorted(text) if "nan" in text else text
    except Exception as error:  # noqa: BLE001 - fields may be missing, an array hold what is no character
        return type(part), type(error), str(error)


def read(decoder: Decoder, introductions: tuple[bytes, ...], body: bytes) -> Any:
    try:
        for each in introductions:
            decoder.feed(each)
        return [told(message) for message in decoder.feed(body)]
    except FrameError as error:
        return without_addresses(str(error))


@given(st.lists(values, min_size=1, max_size=3))
@settings(max_examples=EXAMPLES)
def test_both_read_the_same_values(several: list[Any]) -> None:
    encoder, ours, theirs = Encoder(), Decoder(), in_python(Decoder)

    for value in (*several, *several):
        for body in frames(encoder, value):
            assert read(ours, (), body) == read(theirs, (), body)


def damaged(seed: int, each: int) -> Iterator[tuple[tuple[bytes, ...], bytes, bytes]]:
    """Introductions, a body and a damaged copy of it, of every kind of value that goes in a frame."""
    chance = random.Random(seed)
    encoder = Encoder()
    bodies = []
    for value in SAMPLES.values():
        encoder.pack(
            [1, 7, "method", [encoder.encode_value(value)], {"key": encoder.encode_value(value)}]
        )
        bodies += encoder.take(Lane.DATA)
    introductions = tuple(encoder.take(Lane.CONTROL))
    parts = [message for body in bodies for message in unpacked(body)]
    for body in bodies:
        for _ in range(each):
            messages = [rebuilt(message, chance, parts) for message in unpacked(body)]
            encoded = bytearray(b"".join(map(in_python(Encoder).batches.pack_one, messages)))
            if chance.randrange(3) == 0 and encoded:
                encoded[chance.randrange(len(encoded))] = chance.randrange(256)
            if chance.randrange(5) == 0:
                del encoded[chance.randrange(len(encoded) + 1) :]
            yield introductions, body, bytes(encoded)


def test_both_make_the_same_of_damaged_bytes() -> None:
    for introductions, body, bad in damaged(seed=3, each=25):
        ours, theirs = Decoder(), in_python(Decoder)
        # The sound one first: it makes the classes known.
        assert read(ours, introductions, body) == read(theirs, introductions, body)
        assert read(ours, (), bad) == read(theirs, (), bad), bad


@given(st.binary(max_size=40))
@settings(max_examples=5 * EXAMPLES)
def test_both_make_the_same_of_any_bytes(body: bytes) -> None:
    assert read(Decoder(), (), body) == read(in_python(Decoder), (), body)


def test_both_have_the_same_limit_of_a_frame() -> None:
    body = b"".join(Encoder().batches.pack_one([1, "x" * 50]) for _ in range(3))
    for limit in (len(body) - 1, len(body), len(body) + 1):
        ours, theirs = Decoder(limit=limit), in_python(lambda: Decoder(limit=limit))  # noqa: B023 - called at once
        assert read(ours, (), body) == read(theirs, (), body)


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"\xdd\x7f\xff\xff\xff" * 50, id="lists"),
        pytest.param(b"\xdf\x7f\xff\xff\xff" * 50, id="maps"),
        pytest.param(
            b"\x91\xc9\x00\x00\x01\x00\x01" + b"\xdd\x00\x00\x00\xff" * 51 + b"\xc0", id="inside"
        ),
        pytest.param(b"\x92\x01\xdb\xff\xff\xff\xff", id="text"),
    ],
)
def test_a_claim_of_more_than_has_come_takes_no_memory(body: bytes) -> None:
    decoder = Decoder()
    tracemalloc.start()
    try:
        with pytest.raises(FrameError):
            decoder.feed(body)
        assert tracemalloc.get_traced_memory()[1] < 1024 * 1024
    finally:
        tracemalloc.stop()


def test_a_decoder_keeps_the_keys_of_few_dicts() -> None:
    decoder, encoder = Decoder(), Encoder()
    kept = [decoder.feed(encoder.batches.pack_one([1, {f"key{n}": n}])) for n in range(2000)]
    del kept
    tracemalloc.start()
    try:
        for n in range(2000):
            decoder.feed(encoder.batches.pack_one([1, {f"other{n}": n}]))
        assert tracemalloc.get_traced_memory()[0] < 64 * 1024
    finally:
        tracemalloc.stop()


# ---------------------------------------------------------------- memory


def everything(encoder: Encoder, decoder: Decoder, bad: list[bytes]) -> None:
    for value in LEAKY:
        outcome(snapshot, value)
        outcome(snapshot_args, (1, value), {"k": value})
        for body in outcome(frames, encoder, value):
            if type(body) is bytes:
                decoder.feed(body)
    for body in bad:
        read(decoder, (), body)


class Member(NamedTuple):
    a: Any
    b: Any


INNER = [1]
LEAKY: list[Any] = [
    (INNER, [INNER], INNER, {"k": INNER}, Three(INNER, INNER), Member(INNER, (INNER, INNER))),
    *SAMPLES.values(),
    [[1, (2, [3])], {"a": {"b": {4}}}],
    {(1, 2): [3], (4, (5,)): {6}},
    Three(Three([Frozen(1, [2])]), Slotted({"k": (1,)}), Color.RED),
    [Member(1, [2]), Member(1, 2)],
    [Three(1), Opaque()],
    {"a": [1, (2, Opaque())]},
    Frozen(1, Opaque()),
    2**100,
    "\ud800",
]


@pytest.mark.skipif(
    "libasan" in os.environ.get("LD_PRELOAD", ""), reason="the sanitizer has memory of its own"
)
def test_nothing_leaks() -> None:
    encoder, decoder = Encoder(), Decoder()
    bad = [body for _, _, body in damaged(seed=5, each=10)]
    for _ in range(3):
        everything(encoder, decoder, bad)
    gc.collect()
    tracemalloc.start()
    try:
        everything(encoder, decoder, bad)
        gc.collect()
        before, objects = tracemalloc.get_traced_memory()[0], len(gc.get_objects())
        references = [sys.getrefcount(value) for value in (Three, Member, INNER)]
        for _ in range(5):
            everything(encoder, decoder, bad)
        gc.collect()
        grown = tracemalloc.get_traced_memory()[0] - before
        assert len(gc.get_objects()) - objects < 20
    finally:
        tracemalloc.stop()
    assert grown < 20_000, "bytes after five rounds"
    assert [sys.getrefcount(value) for value in (Three, Member, INNER)] == references


def test_an_encoder_and_a_decoder_can_be_collected() -> None:
    class Marker:
        pass

    made: list[Any] = [Encoder(), Decoder()]
    gone = []
    for one in made:
        one.marker = Marker()
        gone.append(weakref.ref(one.marker))
    del one
    made.clear()
    gc.collect()
    assert [reference() for reference in gone] == [None, None]


def test_a_finalizer_that_changes_what_is_copied_does_no_harm() -> None:
    target: list[Any] = []

    class Meddler:
        def __init__(self) -> None:
            self.me = self

        def __del__(self) -> None:
            target.clear()

    threshold = gc.get_threshold()
    gc.set_threshold(1)
    try:
        for _ in range(200):
            target[:] = [[n, {"k": [n]}] for n in range(20)]
            Meddler()
            assert len(snapshot([target, {"t": target}])) == 2
            target[:] = [[n, {"k": (n,)}] for n in range(20)]
            Meddler()
            Encoder().encode_value([target, {"t": target}])
    finally:
        gc.set_threshold(*threshold)


# ---------------------------------------------------------------- the extension


def test_both_have_the_same_numbers() -> None:
    numbers = {
        name: number for name, number in vars(twins.COMPILED).items() if name.startswith("TAG_")
    }

    assert numbers == {f"TAG_{tag.name}": tag.value for tag in Tag if f"TAG_{tag.name}" in numbers}
    assert numbers
    assert twins.COMPILED.DEEPEST < MAX_DEPTH


def test_a_plan_of_what_is_no_such_class_is_refused() -> None:
    assert twins.new_plan(twins.PlanKind.FIELDS, int) is None
    assert twins.new_plan(twins.PlanKind.FIELDS, Slotted, ("one",), (Box.__init__,)) is None
    assert twins.new_plan(twins.PlanKind.NAMEDTUPLE, list) is None
    foreign = make_dataclass("Foreign", ["one"], slots=True)
    assert twins.new_plan(twins.PlanKind.FIELDS, Slotted, ("one",), (foreign.one,)) is None  # type: ignore[attr-defined]


IN_ANOTHER = """
import importlib.util
spec = importlib.util.spec_from_file_location("actors.transport._speedups", PATH)
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
assert module.all_leaves([1, "a"]) and not module.all_leaves([[]])
module.plans[int] = module.Plan(0, int, (), None, False)
assert module.copy_all([[1], {"a": (1, [2])}]) == [[1], {"a": (1, [2])}]
"""
TWO_INTERPRETERS = """
import importlib.util, sys
import actors.transport
name = "_interpreters" if importlib.util.find_spec("_interpreters") else "_xxsubinterpreters"
interpreters = importlib.import_module(name)
for _ in range(2):
    made = interpreters.create()
    failed = interpreters.run_string(made, f"PATH = {sys.argv[1]!r}\\n{sys.argv[2]}")
    assert not failed, failed
    interpreters.destroy(made)
print(actors.transport.snapshot([1, [2]]))
"""


def test_another_interpreter_of_the_process_has_its_own() -> None:
    command = [sys.executable, "-c", TWO_INTERPRETERS, twins.COMPILED.__file__, IN_ANOTHER]

    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout) == (0, "[1, [2]]\n"), done.stderr


@given(values)
def test_both_say_the_same_of_leaves(value: Any) -> None:
    assert twins.all_leaves([value]) is twins.all_leaves_in_python([value])
    assert twins.all_leaves(iter((1, value, None))) is twins.all_leaves_in_python((1, value, None))


def failing() -> Any:
    yield 1
    raise KeyError("broken")


@pytest.mark.parametrize(
    "values,error", [(lambda: 5, TypeError), (failing, KeyError)], ids=["int", "iterator"]
)
def test_both_raise_the_same(values: Any, error: type[Exception]) -> None:
    with pytest.raises(error) as raised:
        twins.all_leaves(values())
    with pytest.raises(error, match=str(raised.value)):
        twins.all_leaves_in_python(values())


def test_an_extension_from_other_sources_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "_speedups.c").write_text("int main(void) { return 0; }")
    monkeypatch.setattr(twins.COMPILED, "__file__", str(tmp_path / "_speedups.so"))
    monkeypatch.delenv("ACTORS_SPEEDUPS", raising=False)

    assert load("actors.transport._speedups") is None
    assert not_loaded().startswith("actors.transport._speedups was compiled from other sources")
    monkeypatch.setenv("ACTORS_SPEEDUPS", "1")
    with pytest.raises(ImportError, match="compiled from other sources"):
        load("actors.transport._speedups")


def test_a_folder_without_sources_has_no_checksum(tmp_path: Path) -> None:
    assert checksum(tmp_path) == ""


@pytest.mark.parametrize("switch,compiled", [("0", False), ("1", True)])
def test_the_environment_decides(switch: str, compiled: bool) -> None:
    code = "from actors.transport.types import twins; print(twins.COMPILED is not None)"
    environment = os.environ | {"ACTORS_SPEEDUPS": switch}

    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )

    assert done.stdout.strip() == str(compiled)


def test_a_switch_that_is_no_switch_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACTORS_SPEEDUPS", "yes")
    with pytest.raises(ValueError, match="ACTORS_SPEEDUPS must be 0 or 1, got 'yes'"):
        load("actors.transport._speedups")
