"""An exception arrives whole, traceback included, or at least with its text."""

import errno
import json
import re
import sys
import threading
import traceback
from collections.abc import Callable
from typing import Any

import pydantic
import pytest
from pydantic_core import PydanticCustomError

from actors.transport import (
    Decoder,
    Encoder,
    RemoteError,
    RemoteTraceback,
    Undecoded,
    snapshot,
    traceback_text,
)
from tests.transport.sample_values import Box, Odd, carry


def sent(error: BaseException, decoder: Decoder | None = None, **options: Any) -> Any:
    """The error after a trip over a new link."""
    encoder = Encoder(**options)
    return carry(encoder, decoder or Decoder(), [1, encoder.encode_error(error)])[1]


def raised(error: BaseException) -> BaseException:
    try:
        raise error  # noqa: TRY301 - a traceback is wanted
    except BaseException as caught:  # noqa: BLE001 - what was raised is what is returned
        return caught


def chained() -> Exception:
    try:
        try:
            raise KeyError("inner")  # noqa: TRY301
        except KeyError as error:
            raise Odd(7, hint="h") from error
    except Odd as error:
        error.add_note("a note")
        return error


COPIES = [pytest.param(sent, id="wire"), pytest.param(snapshot, id="snapshot")]
Copy = Callable[[BaseException], Any]


@pytest.mark.parametrize("copy", COPIES)
def test_class_args_attributes_notes_and_cause_survive(copy: Copy) -> None:
    error = chained()
    got = copy(error)
    assert got is not error
    assert type(got) is Odd
    assert got.args == ("odd 7",)
    assert (got.code, got.hint, got.__notes__) == (7, "h", ["a note"])
    assert type(got.__cause__) is KeyError
    assert got.__cause__.args == ("inner",)


def _json_error() -> BaseException:
    try:
        json.loads("{")
    except json.JSONDecodeError as error:
        return error
    raise AssertionError


def _decode_error() -> BaseException:
    try:
        b"\xff".decode()
    except UnicodeDecodeError as error:
        return error
    raise AssertionError


NATIVE = [
    ValueError("x", 1),
    KeyError("k"),
    OSError(errno.ENOENT, "gone", "a.txt"),
    ConnectionResetError(errno.ECONNRESET, "reset"),
    StopIteration(5),
    SystemExit(3),
    KeyboardInterrupt(),
    ImportError("no", name="m", path="p"),
    NameError("no", name="n"),
    SyntaxError("bad", ("f.py", 1, 2, "text", 1, 3)),
    _decode_error(),
    _json_error(),
    ZeroDivisionError(),
]


@pytest.mark.parametrize("copy", COPIES)
@pytest.mark.parametrize("error", NATIVE, ids=lambda error: type(error).__name__)
def test_builtin_exceptions_keep_what_c_code_keeps_for_them(
    error: BaseException, copy: Copy
) -> None:
    got = copy(error)
    assert type(got) is type(error)
    assert (got.args, str(got)) == (error.args, str(error))
    for name in ("errno", "strerror", "filename", "value", "code", "name", "path", "lineno", "end"):
        assert getattr(got, name, None) == getattr(error, name, None)


@pytest.mark.parametrize("copy", COPIES)
def test_groups_keep_their_members(copy: Copy) -> None:
    inner = ExceptionGroup("inner", [chained()])
    group = ExceptionGroup("two", [ValueError(1), inner])
    group.add_note("n")
    got = copy(group)
    assert (type(got), got.message, got.__notes__) == (ExceptionGroup, "two", ["n"])
    assert got.exceptions[0].args == (1,)
    assert got.exceptions[1].exceptions[0].code == 7


def test_the_remote_traceback_is_printed_as_the_first_cause() -> None:
    got = sent(chained())
    text = "".join(traceback.format_exception(got))
    assert "in chained" in text
    assert 'raise Odd(7, hint="h") from error' in text
    assert text.index("RemoteTraceback") < text.index("KeyError: 'inner'")
    assert "in chained" in got.__remote_traceback__
    assert isinstance(got.__cause__.__cause__, RemoteTraceback)


def test_an_error_forwarded_twice_shows_both_journeys_once() -> None:
    again = sent(raised(sent(chained())))
    assert type(again).__name__ == "Odd"
    assert again.__remote_traceback__.count("raise Odd(7") == 1
    assert "in raised" in again.__remote_traceback__
    assert type(again.__cause__) is KeyError


def test_an_exception_that_was_never_raised_gains_no_cause() -> None:
    got = sent(ValueError("x"))
    assert got.__cause__ is None
    assert not hasattr(got, "__remote_traceback__")


@pytest.mark.parametrize("copy", COPIES)
def test_context_is_kept_unless_suppressed(copy: Copy) -> None:
    outer, inner = ValueError("outer"), KeyError("inner")
    outer.__context__ = inner
    assert type(copy(outer).__context__) is KeyError
    outer.__suppress_context__ = True
    got = copy(outer)
    assert (got.__context__, got.__suppress_context__) == (None, True)


@pytest.mark.parametrize("copy", COPIES)
def test_what_does_not_travel_inside_becomes_its_repr(copy: Copy) -> None:
    error = ValueError(1, sys)
    error.handle = {"a": sys}  # type: ignore[attr-defined]
    got = copy(error)
    assert got.args == (1, repr(sys))
    assert got.handle == repr({"a": sys})


@pytest.mark.parametrize("copy", COPIES)
def test_rings_of_causes_end(copy: Copy) -> None:
    one, two = ValueError(1), ValueError(2)
    one.__cause__, two.__cause__ = two, one
    assert copy(one).__cause__.__cause__ is None


@pytest.mark.parametrize("copy", COPIES)
def test_long_chains_are_cut_and_do_not_explode(copy: Copy) -> None:
    top: BaseException = ValueError("last")
    for n in range(300):
        above = ValueError(n)
        above.__cause__ = above.__context__ = top
        top = above
    length = 0
    link: BaseException | None = copy(top)
    while link is not None:
        length += 1
        link = link.__cause__
    assert 20 < length < 40


class Awkward(Exception):
    """Everything about it raises."""

    def __str__(self) -> str:
        raise RuntimeError("str")

    def __repr__(self) -> str:
        raise RuntimeError("repr")

    def __setattr__(self, name: str, value: object) -> None:
        raise RuntimeError("setattr")


class NoNew(Exception):
    """Its `__new__` takes what args do not hold."""

    def __new__(cls, *, needed: int) -> "NoNew":  # noqa: PYI034
        return super().__new__(cls, needed)

    def __init__(self, *, needed: int) -> None:
        super().__init__(needed)


class SlottedError(Exception):
    """State in a slot."""

    __slots__ = ("detail",)

    def __init__(self, detail: Any) -> None:
        super().__init__("slotted")
        self.detail = detail


@pytest.mark.parametrize("copy", COPIES)
def test_no_user_code_is_needed_to_rebuild(copy: Copy) -> None:
    assert type(copy(raised(Awkward()))) is Awkward
    assert copy(NoNew(needed=3)).args == (3,)
    assert copy(SlottedError([1])).detail == [1]


def test_a_class_the_receiver_lacks_becomes_a_remote_error_with_the_text() -> None:
    def resolve(_module: str, _name: str) -> type:
        raise ModuleNotFoundError("gone")

    got = sent(chained(), Decoder(resolve=resolve))
    assert type(got) is RemoteError
    assert got.class_name == "tests.transport.sample_values.Odd"
    assert "odd 7" in str(got)
    assert "in chained" in got.text


def test_an_argument_the_receiver_cannot_rebuild_costs_the_class_not_the_text() -> None:
    def resolve(_module: str, name: str) -> type:
        if name == "Box":
            raise LookupError(name)
        return ValueError

    got = sent(ValueError(Box(1)), Decoder(resolve=resolve))
    assert (type(got), got.class_name) == (RemoteError, "builtins.ValueError")
    assert "Box" in got.text


def test_a_class_defined_in_a_function_becomes_a_remote_error() -> None:
    class Hidden(Exception):
        pass

    got = sent(raised(Hidden("x")))
    assert type(got) is RemoteError
    assert "Hidden: x" in str(got)
    assert type(snapshot(Hidden("x"))) is Hidden


def test_a_remote_error_can_be_forwarded() -> None:
    got = sent(RemoteError("text", "a.B"))
    assert (type(got), got.text, got.class_name) == (RemoteError, "text", "a.B")


def test_an_error_bigger_than_a_frame_arrives_as_its_text() -> None:
    got = sent(raised(ValueError("x" * 5000)), Decoder(limit=4096), limit=4096)
    assert type(got) is RemoteError
    assert got.class_name == "builtins.ValueError"


class Order(pydantic.BaseModel):
    count: int
    tags: list[str] = []

    @pydantic.field_validator("count")
    @classmethod
    def positive(cls, count: int) -> int:
        if count < 0:
            raise ValueError("must be 0 or more")
        return count


@pytest.mark.parametrize("copy", COPIES)
@pytest.mark.parametrize(
    "wrong", [{"count": "x"}, {"count": -1}, {}, {"count": 1, "tags": [1, "a"]}]
)
def test_a_validation_error_of_pydantic_arrives_as_one(copy: Copy, wrong: dict[str, Any]) -> None:
    with pytest.raises(pydantic.ValidationError) as caught:
        Order(**wrong)
    arrived = copy(caught.value)
    assert type(arrived) is pydantic.ValidationError
    assert str(arrived) == str(caught.value)
    assert [line["loc"] for line in arrived.errors()] == [
        line["loc"] for line in caught.value.errors()
    ]
    assert "test_a_validation_error_of_pydantic" in traceback_text(arrived)


class Shelf(pydantic.BaseModel):
    width: int = 0
    label: str = ""
    books: list[str] = []

    @pydantic.field_validator("width")
    @classmethod
    def has_room(cls, width: int) -> int:
        if width < 0:
            raise PydanticCustomError(
                "no_room", "{width} cm is {what}", {"width": width, "what": Box(1)}
            )
        assert width < 100
        return width

    @pydantic.field_validator("label")
    @classmethod
    def is_short(cls, label: str) -> str:
        if len(label) > 3:
            raise PydanticCustomError("string_too_long", "{label} does not fit")
        if label == "odd":
            raise Unpicklable(label)
        return label


class HiddenShelf(Shelf, hide_input_in_errors=True):
    pass


class Unpicklable(ValueError):
    def __init__(self, label: str) -> None:
        super().__init__(f"{label} is odd")
        self.lock = threading.Lock()


@pytest.mark.parametrize("copy", COPIES)
@pytest.mark.parametrize("shelf", [Shelf, HiddenShelf])
@pytest.mark.parametrize(
    "wrong",
    [
        {"width": -1, "label": "four"},
        {"width": 100, "books": {"a": 1}},
        {"width": -1, "label": "odd", "books": 7},
        {"books": ["b", threading.Lock()]},
    ],
)
def test_a_validation_error_whose_kinds_are_the_users_arrives_as_one(
    copy: Copy, shelf: type[Shelf], wrong: dict[str, Any]
) -> None:
    with pytest.raises(pydantic.ValidationError) as caught:
        shelf(**wrong)
    arrived = copy(caught.value)
    assert type(arrived) is pydantic.ValidationError
    assert _without_inputs(str(arrived)) == _without_inputs(str(caught.value))
    for got, sent_line in zip(arrived.errors(), caught.value.errors(), strict=True):
        for part in ("type", "loc", "msg", "url"):
            assert got.get(part) == sent_line.get(part)
        assert got.get("ctx", {}).keys() == sent_line.get("ctx", {}).keys()


def _without_inputs(text: str) -> str:
    """The lines without the value that could not be sent, which arrives as its repr."""
    return re.sub(r"input_value='?<.*", "", text)


@pytest.mark.parametrize("copy", COPIES)
def test_a_validation_error_of_json_arrives_as_one(copy: Copy) -> None:
    with pytest.raises(pydantic.ValidationError) as caught:
        Shelf.model_validate_json('{"books": {"a": 1}}')
    assert str(copy(caught.value)) == str(caught.value)


def test_a_validation_error_that_pydantic_would_write_otherwise_arrives_as_its_text() -> None:
    line = {
        "type": PydanticCustomError("t", "is {a}", {"a": "{a}, too"}),
        "loc": (),
        "input": 1,
    }
    error = pydantic.ValidationError.from_exception_data("Shelf", [line])  # type: ignore[list-item]
    arrived = sent(error)
    assert type(arrived) is RemoteError
    assert error.errors()[0]["msg"] in str(arrived)


@pytest.mark.parametrize("copy", COPIES)
def test_a_long_message_costs_its_middle_and_no_frame(copy: Copy) -> None:
    def users_function() -> None:
        raise ValueError("begins" + "x" * 1_000_000 + "ends")

    try:
        users_function()
    except ValueError as error:
        arrived = copy(error)
    text = traceback_text(arrived)
    assert "in users_function" in text
    assert text.index("in users_function") < text.index("ValueError: begins") < text.rindex("ends")
    assert "characters left out" in text
    assert len(text) < 20_000
    assert str(arrived) == "begins" + "x" * 1_000_000 + "ends"


def test_encoding_an_error_never_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    class Nasty(Exception):
        @property
        def __notes__(self) -> Any:  # type: ignore[override]
            raise RuntimeError

        @property
        def args(self) -> Any:  # type: ignore[override]
            raise MemoryError

        def __getattribute__(self, name: str) -> Any:
            raise RuntimeError(name)

    monkeypatch.setattr(traceback, "format_exception", lambda *_: 1 / 0)
    got = sent(Nasty())
    assert type(got) is RemoteError
    assert "Nasty" in str(got)


def test_exceptions_inside_other_values_travel_as_values() -> None:
    encoder = Encoder()
    got = carry(encoder, Decoder(), [1, encoder.encode_value({"e": [chained()]})])[1]
    assert not isinstance(got, Undecoded)
    assert got["e"][0].code == 7


def test_a_local_copy_keeps_the_traceback() -> None:
    error = raised(ValueError("x"))
    assert snapshot(error).__traceback__ is error.__traceback__
