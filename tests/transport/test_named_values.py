"""A function or class as a value is sent by its name: found by every process, or refused at the sender."""

from __future__ import annotations

import datetime as dt
import functools
import math
import operator
import os.path
import random
import subprocess
import sys
import types
from collections.abc import Callable
from typing import Any

import numpy as np
import pydantic
import pytest

from actors.transport import Decoder, Encoder, Lane, Undecoded, Unsendable, snapshot
from tests.transport.sample_values import Box, Color, carry, travel
from tests.transport.test_class_names import Page


def decorated(function: Callable[..., Any]) -> Callable[..., Any]:
    def wrapper(*args: Any) -> Any:
        return function(*args)

    return wrapper


def well_decorated(function: Callable[..., Any]) -> Callable[..., Any]:
    return functools.wraps(function)(decorated(function))


async def waits() -> None: ...


@functools.lru_cache
def cached() -> int:
    return 1


@well_decorated
def wrapped() -> None: ...


@decorated
def unwrapped() -> None: ...


class Tool:
    """Has methods of every kind, and can itself be called."""

    def __call__(self) -> None: ...

    def use(self) -> None: ...

    @classmethod
    def made(cls) -> None: ...

    @staticmethod
    def of(_value: int) -> None: ...


class BetterTool(Tool):
    pass


class Proxy:
    """Of something that is not there."""

    def __call__(self) -> None: ...

    @property
    def __name__(self) -> str:
        raise RuntimeError("nothing is there")


spanner = Tool()
functools.update_wrapper(spanner, cached)
spanner.__name__ = spanner.__qualname__ = "spanner"  # type: ignore[attr-defined]

NAMED: dict[str, Any] = {
    "function": travel,
    "async function": waits,
    "builtin": len,
    "of an extension": math.sqrt,
    "known by another module": operator.add,
    "of a nested module": os.path.join,
    "with a cache": cached,
    "wrapped": wrapped,
    "callable with the name of a function": spanner,
    "of a hidden object": random.randint,
    "ufunc": np.sin,
    "of numpy": np.linalg.norm,
    "method": Tool.use,
    "static method": Tool.of,
    "class method": Tool.made,
    "inherited class method": BetterTool.made,
    "method of a builtin": str.upper,
    "class method of a builtin": dict.fromkeys,
    "class method of C": dt.date.fromisoformat,
    "class": Box,
    "enum class": Color,
    "model": Page[int],
    "builtin class": int,
    "exception class": KeyError,
    "numpy class": np.float32,
}


@pytest.fixture(params=["wire", "snapshot"])
def send(request: pytest.FixtureRequest) -> Callable[[Any], Any]:
    return travel if request.param == "wire" else snapshot


@pytest.mark.parametrize("name", NAMED)
def test_it_arrives_as_itself(send: Callable[[Any], Any], name: str) -> None:
    value = NAMED[name]
    again = send({"it": [value]})["it"][0]
    assert again is value or (again == value and "class method" in name) or again == random.randint


def test_an_instance_and_its_class_go_over_one_link() -> None:
    encoder, decoder = Encoder(), Decoder()
    for value in (Box(1), Box, Box(len), [Box, Box(2), len]):
        assert carry(encoder, decoder, [1, encoder.encode_value(value)])[1] == value


def test_its_name_is_sent_once() -> None:
    encoder = Encoder()
    for _ in range(3):
        encoder.pack([1, encoder.encode_value([dt.date.fromisoformat, BetterTool.made, waits])])
    assert b"".join(encoder.take(Lane.CONTROL)).count(b"fromisoformat") == 1
    assert b"waits" not in b"".join(encoder.take(Lane.DATA))


def test_a_partial_arrives_with_copies_of_its_arguments(send: Callable[[Any], Any]) -> None:
    items = [1]
    value = functools.partial(functools.partial(travel, items), more={"deep": items})
    vars(value)["note"] = items
    again = send(value)
    items.append(2)
    assert type(again) is functools.partial
    assert (again.func, again.args, again.keywords) == (travel, ([1],), {"more": {"deep": [1]}})
    assert vars(again) == {"note": [1]}
    assert send(functools.partial(int, base=2))("101") == 5


def _inner() -> Callable[[], None]:
    def inner() -> None: ...

    return inner


def _of_no_module() -> Any:
    made = types.FunctionType(_inner().__code__, {"__name__": "no.such.module"}, "made")
    made.__qualname__ = "made"
    return made


def _replaced() -> Any:
    return wrapped.__wrapped__  # type: ignore[attr-defined]


REFUSED: dict[str, tuple[Any, str]] = {
    "lambda": (lambda: None, "a lambda has no name to import it by; make it a function of a module"),
    "inner": (_inner(), r"_inner.<locals>.inner is defined inside a function, where no other"),
    "badly decorated": (unwrapped, r"a decorator made it, give it its name by functools.wraps"),
    "replaced": (_replaced(), "no other process finds it: 'wrapped' in module .* is not this func"),
    "of no module": (_of_no_module(), "made is in no module that could be imported"),
    "bound": (Tool().use, r"a bound method does not travel; send functools.partial\(Tool.use, val"),
    "bound in C": ([].append, r"send functools.partial\(list.append, value\), which sends the value"),
    "class in a function": (type("X", (), {"__qualname__": "f.<locals>.X"}), "X is defined inside"),
    "class of another name": (type("Elsewhere", (), {}), "no other process finds it: 'Elsewhere' in"),
    "proxy": (Proxy(), "Proxy is not a known type"),
    "callable without a name": (Tool(), "Tool is not a known type"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_found_is_refused_at_the_sender_and_why(
    send: Callable[[Any], Any], name: str
) -> None:
    value, why = REFUSED[name]
    for holder, path in (
        ([value], "value[0]"),
        (functools.partial(len, value), "value.args[0]"),
        (functools.partial(int, base=value), "value.keywords['base']"),
    ):
        with pytest.raises(Unsendable, match=why) as caught:
            send(holder)
        assert caught.value.path == path
        assert caught.value.value is value
    if callable(value):
        with pytest.raises(Unsendable, match=why) as caught:
            send(functools.partial(value))
        assert caught.value.path == "value.func"


def test_a_link_whose_classes_may_not_be_imported_imports_no_function_either() -> None:
    encoder = Encoder(rename=lambda _name, _named: "tests.transport.not_imported")
    failed = carry(encoder, Decoder(), [1, encoder.encode_value(waits)])[1]
    assert isinstance(failed, Undecoded)
    assert str(failed.error).startswith("cannot find tests.transport.not_imported.waits")


@pytest.mark.parametrize("found", [7, Tool(), Tool().use, lambda: 0, None])
def test_a_name_that_leads_to_what_no_sender_could_send_is_refused(found: Any) -> None:
    encoder, decoder = Encoder(), Decoder(resolve=lambda *_: found)
    failed = carry(encoder, decoder, [1, encoder.encode_value([waits])])[1]
    assert isinstance(failed, Undecoded)
    assert str(failed.error).startswith("tests.transport.test_named_values.waits")


def test_a_name_is_no_class_of_instances_and_the_reverse() -> None:
    """A peer that introduces one and uses it as the other gets an error, and nothing is made or called."""
    for introduced, tag in ((subprocess.Popen, 20), (Box(1), 26), (len, 27), (Box, 23)):
        encoder, decoder = Encoder(), Decoder()
        value = encoder.encode_value(introduced)
        forged = value._replace(code=tag, data=b"\x93\0\xc0\xc0" if tag != 26 else b"\0")
        failed = carry(encoder, decoder, [1, forged])[1]
        assert isinstance(failed, Undecoded), introduced


class Settings(pydantic.BaseModel):
    check: Any = None


def test_it_may_be_a_field_of_a_model(send: Callable[[Any], Any]) -> None:
    assert send(Settings(check=math.sqrt)).check is math.sqrt


def test_a_function_that_is_sent_again_and_again_is_named_once() -> None:
    named: list[str] = []

    def rename(module: str, _named: Any) -> str:
        named.append(module)
        return module

    encoder = Encoder(rename=rename)
    for _ in range(3):
        encoder.encode_value(waits)
    assert named == [waits.__module__]


@pytest.mark.parametrize("module_too", [False, True])
def test_a_function_that_was_sent_is_refused_once_its_name_leads_to_another(
    monkeypatch: pytest.MonkeyPatch, module_too: bool
) -> None:
    encoder, before = Encoder(), waits
    encoder.encode_value(before)
    if module_too:
        again = types.ModuleType(__name__)
        again.waits = cached  # type: ignore[attr-defined] # as if it was imported anew
        monkeypatch.setitem(sys.modules, __name__, again)
    else:
        monkeypatch.setattr(sys.modules[__name__], "waits", cached)
    with pytest.raises(Unsendable, match="is not this function"):
        encoder.encode_value(before)
