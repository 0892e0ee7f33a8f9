"""Values of other people's classes are taken apart, sent as what they are made of, and put together again."""

from __future__ import annotations

import subprocess
import sys
from array import array
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from actors.transport import Decoder, Encoder, Mode, Undecoded, Unsendable, snapshot
from tests.transport.attachment_link import AttachmentLink
from tests.transport.sample_values import carry, travel


@pytest.fixture(params=["wire", "snapshot"])
def send(request: pytest.FixtureRequest) -> Callable[[Any], Any]:
    return travel if request.param == "wire" else snapshot


def test_their_libraries_are_imported_for_the_first_value_only() -> None:
    program = "import sys, transport as t; from dataclasses import dataclass\n"
    program += "known = set(sys.modules); t.snapshot([1, (2,), {3}, len]); t.Encoder()\n"
    program += "assert not [name for name in set(sys.modules) - known if 'types' in name]\n"
    program += "assert not {'fractions', 'pandas', 'pyarrow', 'PIL'} & set(sys.modules)\n"
    program += "import fractions; half = fractions.Fraction(1, 2)\n"
    program += "assert t.snapshot(half) is half"
    root = Path(__file__).parents[2]
    subprocess.run([sys.executable, "-c", program], cwd=root, check=True)


def test_the_copy_shares_nothing_that_can_change(send: Callable[[Any], Any]) -> None:
    items = [1]
    sent = [
        OrderedDict(a=items),
        defaultdict(list, {"a": items}),
        SimpleNamespace(a=items),
        Counter({"a": items}),
        array("b", [1]),
    ]
    again = send(sent)
    items.append(2)
    sent[-1][0] = 7  # type: ignore[index] # it is the array
    assert [dict(each) for each in (again[0], again[1], again[3])] == [{"a": [1]}] * 3
    assert (again[2].a, again[4][0]) == ([1], 1)
    assert again[1]["new"] == []


def test_an_ordered_dict_keeps_its_order_and_text_of_any_kind(send: Callable[[Any], Any]) -> None:
    backwards = OrderedDict([("b", 1), ("a", 2)])
    backwards.move_to_end("b")
    assert [*send(backwards)] == ["a", "b"]


DEFAULTS: defaultdict[int, Any] = defaultdict(list, {1: (0, sys)})


@pytest.mark.parametrize(
    "value, path",
    [
        (OrderedDict(a=[sys]), "value['a'][0]"),
        (Counter({"a": sys}), "value['a']"),
        (defaultdict(lambda: 0), "value.default_factory"),
        (DEFAULTS, "value[1][1]"),
        (SimpleNamespace(a=1, b={"c": sys}), "value.b['c']"),
    ],
)
def test_the_path_to_what_cannot_be_sent_leads_through_them(
    send: Callable[[Any], Any], value: Any, path: str
) -> None:
    with pytest.raises(Unsendable) as caught:
        send(value)
    assert caught.value.path == path


def test_a_big_typed_array_may_go_by_shared_memory() -> None:
    link = AttachmentLink()
    try:
        link.warm(80_000, 8)
        big = array("i", range(20_000))
        again = link.ship([big])[0]
        big[0] = 7
        big.append(1)
        assert again[:3] == array("i", [0, 1, 2])
        assert link.here.modes[Mode.LEASE] == 1
    finally:
        link.close()


@pytest.mark.parametrize(
    "value, parts",
    [
        (Fraction(1, 2), [("1e999999999",), (1, 0), (1, -2), (1.5, 2), (1, 2, 3), ()]),
        (Counter("a"), [(5,), ([1, 2],), ("ab",), ()]),
        (array("i", [1]), [("i", b"abc"), ("?", b""), (5, b""), ("i", 5), ("i",)]),
        (SimpleNamespace(a=1), [(["a"],), ([1], 2), (7, 1), ()]),
        (defaultdict(list), [(5, {}), (None, 5), (1, 2, 3)]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_parts_that_make_no_value_are_one_error(value: Any, parts: list[Any]) -> None:
    for some in parts:
        encoder, decoder = Encoder(), Decoder()
        encoded = encoder.encode_value(value)
        forged = encoded._replace(data=encoder.batches.pack_one([0, *some]))
        failed = carry(encoder, decoder, [1, forged])[1]
        assert isinstance(failed, Undecoded), some
