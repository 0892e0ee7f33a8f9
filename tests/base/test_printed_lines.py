"""What programs print becomes records: a traceback is one, a line names its level, JSON is taken as it is."""

import contextlib
import faulthandler
import io
import json
import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import given, strategies as st

from actors._base.json_line import LONGEST, json_line, json_text_line
from actors._base.printed_lines import PrintedLines, level_named_in

NOTHING: Final[dict[str, str]] = {}


def fail_with(error: BaseException) -> None:
    raise error


def records(text: str) -> list[dict[str, Any]]:
    lines = PrintedLines()
    return lines.take(text.split("\n")) + lines.rest()


def plain_error() -> str:
    try:
        NOTHING["missing"]
    except KeyError:
        return traceback.format_exc()
    raise AssertionError


def chained_error() -> str:
    try:
        try:
            NOTHING["missing"]
        except KeyError as error:
            raise ValueError("first\n  second") from error
    except ValueError:
        return traceback.format_exc()
    raise AssertionError


def group_of_errors() -> str:
    many = ExceptionGroup("many", [ValueError(1), ExceptionGroup("inner", [KeyError(2)])])
    try:
        fail_with(many)
    except ExceptionGroup:
        return traceback.format_exc()
    raise AssertionError


def error_of_a_thread() -> str:
    thread = threading.Thread(target=dict[str, str]().pop, args=("missing",), name="loader")
    with contextlib.redirect_stderr(io.StringIO()) as text, pytest.MonkeyPatch.context() as patch:
        patch.setattr(threading, "excepthook", threading.__excepthook__)
        thread.start()
        thread.join()
    return text.getvalue()


def dump_of_the_fault_handler(folder: Path) -> str:
    with (folder / "dump").open("w+") as file:
        faulthandler.dump_traceback(file)
        file.seek(0)
        return "Fatal Python error: Segmentation fault\n\n" + file.read()


@pytest.mark.parametrize(
    "make, event",
    [
        (plain_error, "KeyError: 'missing'"),
        (chained_error, "ValueError: first"),
        (group_of_errors, "ExceptionGroup: many (2 sub-exceptions)"),
        (error_of_a_thread, "KeyError: 'missing'"),
    ],
)
def test_a_traceback_is_one_record_named_by_its_last_line(
    make: Callable[[], str], event: str
) -> None:
    text = make()
    before, error, after = records(f"before\n{text}after")
    assert (before["event"], after["event"]) == ("before", "after")
    assert error == {"level": "error", "event": event, "traceback": text.rstrip()}


def test_two_tracebacks_in_a_row_are_two_records() -> None:
    found = records(plain_error() + chained_error() + plain_error())
    assert [record["event"] for record in found] == [
        "KeyError: 'missing'",
        "ValueError: first",
        "KeyError: 'missing'",
    ]


def test_a_crash_in_c_is_one_critical_record(tmp_path: Path) -> None:
    text = dump_of_the_fault_handler(tmp_path)
    (record,) = records(text)
    assert record == {
        "level": "critical",
        "event": "Fatal Python error: Segmentation fault",
        "traceback": text.rstrip(),
    }


def test_lines_of_a_traceback_may_come_one_by_one_and_are_waited_for() -> None:
    lines = PrintedLines()
    patience = [lines.waits]
    for line in plain_error().splitlines():
        assert lines.take([line]) == []
        patience.append(lines.waits)
    assert (patience[0], patience[1], patience[-1]) == (None, 1.0, 0.1)
    assert [record["event"] for record in lines.rest()] == ["KeyError: 'missing'"]


@pytest.mark.parametrize(
    "line, level",
    [
        ("hello", "info"),
        ("ERROR:shop:no ink", "error"),
        ("2026-11-30 10:00:00,123 WARNING shop: low ink", "warning"),
        ("2026/11/30 10:00:00 [error] 31#31: *1 open() failed", "error"),
        ("2026-11-30 10:00:00 [info     ] a line of structlog", "info"),
        ("[CRITICAL] out of ink", "critical"),
        ("2026-11-30 | DEBUG    | shop:print:12 - ink", "debug"),
        ("no errors, terrors or information", "info"),
        ("x" * 90 + " ERROR", "info"),
    ],
)
def test_a_line_says_its_level_in_capitals_or_brackets(line: str, level: str) -> None:
    assert level_named_in(line) == level
    assert records(line) == [{"level": level, "event": line}]


def test_colours_are_taken_out() -> None:
    assert records("\x1b[1m\x1b[31mERROR\x1b[0m no ink") == [
        {"level": "error", "event": "ERROR no ink"}
    ]


@pytest.mark.parametrize(
    "given_level, level",
    [
        ({"level": "INFO"}, "info"),
        ({"levelname": "WARNING"}, "warning"),
        ({"severity": "crit"}, "critical"),
        ({"level": 50}, "error"),
        ({"level": None}, "info"),
        ({}, "info"),
    ],
)
def test_a_json_object_is_a_record_already(given_level: dict[str, Any], level: str) -> None:
    (record,) = records(json.dumps({"msg": "hi", **given_level}))
    assert record == {"msg": "hi", **given_level, "level": level}


@pytest.mark.parametrize(
    "line", ["[1, 2]", '{"a": NaN}', "{not json}", "{" * 5000 + "}" * 5000, "{1}"]
)
def test_what_is_no_json_object_is_text(line: str) -> None:
    assert records(line) == [{"level": "info", "event": line}]


@given(st.lists(st.text(), max_size=20))
def test_whatever_is_printed_no_text_is_lost(lines: list[str]) -> None:
    printed = PrintedLines()
    found = printed.take(lines) + printed.rest()
    text = "\n".join(record.get("traceback", record.get("event", "")) for record in found)
    kept = [line for line in lines if line.strip() and "\x1b" not in line and line[0] != "{"]
    for line in kept:
        assert line.rstrip() in text


ONE = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary()
ANYTHING = (
    ONE | st.lists(ONE, max_size=3) | st.dictionaries(st.integers() | st.tuples(), ONE, max_size=3)
)


@given(st.dictionaries(st.text(), ANYTHING, max_size=5))
def test_every_record_is_one_valid_line(facts: dict[str, Any]) -> None:
    line = json_line(facts)
    assert line.isprintable()

    def refuse(name: str) -> None:
        raise AssertionError(name)

    assert set(json.loads(line, parse_constant=refuse)) == set(facts)


@given(st.text(), st.text())
def test_a_plain_record_is_made_faster_and_is_the_same(event: str, node: str) -> None:
    facts = {"timestamp": "now", "level": "info", "event": event, "node": node}
    assert json_text_line("now", "info", event, node) == json_line(facts)


class Nameless:
    def __str__(self) -> str:
        raise ZeroDivisionError


def test_a_fact_without_a_text_costs_no_other_fact() -> None:
    endless: list[Any] = []
    endless.append(endless)
    line = json_line(
        {"event": "x", "a": Nameless(), "b": 10**5000, "c": float("inf"), "d": endless}
    )
    facts = json.loads(line)
    assert facts.pop("b").startswith("<int without a text")
    assert facts == {
        "event": "x",
        "a": "<Nameless without a text: ZeroDivisionError>",
        "c": "inf",
        "d": "[[...]]",
    }


@pytest.mark.parametrize("sign", ["x", '"', "\0", "猫", "\U0001f408", "\ud800"])
def test_a_record_has_at_most_64_kib_and_says_how_much_is_missing(sign: str) -> None:
    text = sign * 200_000
    line = json_line({"event": text, "node": "web/0", "traceback": text, "cause": "short"})
    assert len(line.encode()) < LONGEST
    facts = json.loads(line)
    assert (facts["node"], facts["cause"]) == ("web/0", "short")
    assert len(facts["event"]) + len(facts["traceback"]) + facts["cut"] == 400_000
    many = json_line({f"fact {number}": text for number in range(500)})
    assert len(many.encode()) < LONGEST
    assert json.loads(many)["fact 0"]
    assert sys.getsizeof(line)
