"""Whatever a text contains, what is printed of it is printable, and JSON stays the same JSON."""

import json
import sys
from typing import Any

import pytest
from hypothesis import given, strategies as st

from actors._base.event_log import LogSubscriber
from actors._base.events import DelayedDelivery, Event
from actors._base.log import get_logger
from actors._base.printable import printable, printable_facts, printable_json

ANY = st.text(st.characters(exclude_categories=()))


@pytest.mark.parametrize(
    "text, shown",
    [
        ("plain text, été 猫", "plain text, été 猫"),
        ("\x1b[31mred", "\\x1b[31mred"),
        ("a\nb\tc\0", "a\\nb\\tc\\x00"),
        ("\x9b2J", "\\x9b2J"),
        ("\u202egnp.exe\u2028", "\\u202egnp.exe\\u2028"),
        ("\ud800", "\\ud800"),
    ],
)
def test_signs_that_are_not_printable_are_shown_as_escapes(text: str, shown: str) -> None:
    assert printable(text) == shown


@given(ANY)
def test_every_text_becomes_printable(text: str) -> None:
    assert printable(text).isprintable()
    assert printable(text, keep="\n").replace("\n", "").isprintable()
    printable(text).encode()


@given(st.dictionaries(ANY, st.lists(ANY)), st.sampled_from([None, 2]))
def test_a_json_document_keeps_its_meaning(value: dict[str, list[str]], indent: int | None) -> None:
    text = printable_json(json.dumps(value, ensure_ascii=False, indent=indent))
    assert text.replace("\n", "").isprintable()
    text.encode()
    assert json.loads(text) == value


def test_newlines_stay_where_they_are_expected_only() -> None:
    facts = {"name": "a\nb", "stack": ["c\nd\x1b"], "n": 5, "deep": [{"x\0": None}]}
    shown = printable_facts(facts, frozenset({"stack"}))
    assert shown == {"name": "a\\nb", "stack": ["c\nd\\x1b"], "n": 5, "deep": [{"x\\x00": None}]}


@pytest.mark.parametrize("form", ["console", "json"])
def test_a_log_line_of_strange_names_is_printable(
    form: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ACTORS_LOG_FORMAT", form)
    get_logger().warning("one\ntwo\x1b", child="a\nb\x9b\ud800", error="first\u202e")
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == (2 if form == "console" else 1)
    plain = [line.replace("\x1b[", "") for line in lines]  # structlog's own colours
    assert all(line.isprintable() for line in plain)
    if form == "console":
        assert plain[1].startswith("    two\\x1b")


def test_a_traceback_stands_below_its_line_on_a_terminal_and_in_its_record_as_json(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = "Traceback (most recent call last):\n  File x\nValueError: \x1b\n"
    monkeypatch.setenv("ACTORS_LOG_FORMAT", "console")
    get_logger().error("child ended", child="a", traceback=text)
    first, *below = capsys.readouterr().err.splitlines()
    assert "traceback" not in first
    assert below == [
        "    Traceback (most recent call last):",
        "      File x",
        "    ValueError: \\x1b",
    ]

    monkeypatch.setenv("ACTORS_LOG_FORMAT", "json")
    get_logger().error("child ended", child="a", traceback=text)
    (line,) = capsys.readouterr().err.splitlines()
    assert json.loads(line)["traceback"] == text


def test_an_event_that_cannot_be_logged_does_not_keep_others_from_being_logged(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    log = LogSubscriber(lambda: 0.0)

    def take(event: Event, at: float) -> None:
        if event.kind == "node_hung":
            raise ZeroDivisionError("a mistake in a processor")
        log(event, at)

    calls: list[Any] = []
    delayed = DelayedDelivery(take, lambda *call: calls.append(call))
    for kind in ("node_hung", "node_died"):
        delayed(Event(kind))
    delayed.flush()
    wrong, right = capsys.readouterr().err.splitlines()
    assert json.loads(wrong)["event"] == (
        "event node_hung not logged: ZeroDivisionError: a mistake in a processor"
    )
    assert "node died" in right
    assert sys.stderr
