"""What goes over the chat's WebSocket: what is taken, and how the rest is refused."""

import json

import pytest

from examples.chat import _protocol as protocol
from examples.chat._protocol import Join, Refused, Say, Typing
from examples.chat._store import Hidden, Said


@pytest.mark.parametrize(
    "query,join",
    [
        ({"room": "r", "name": "n"}, Join("r", "n", None)),
        ({"room": " r ", "name": "n\t", "after": "0"}, Join("r", "n", 0)),
        ({"room": "r" * 60, "name": "é" * 40, "after": "12"}, Join("r" * 60, "é" * 40, 12)),
    ],
)
def test_who_comes_where_is_read_from_the_address(query: dict[str, str], join: Join) -> None:
    assert protocol.join_of(query) == join


def test_a_cookie_makes_a_name_its_own_and_another_cookie_another() -> None:
    names = [
        protocol.join_of({"room": "r", "name": name}, cookie).name
        for name, cookie in [("ann", "a"), ("ann", "a"), ("ann", "b"), ("bob", "a"), ("ann", "")]
    ]
    assert names[0] == names[1]
    assert len(set(names)) == 4
    assert [name.partition("#")[0] for name in names] == ["ann", "ann", "ann", "bob", "ann"]
    assert [len(name.partition("#")[2]) for name in names] == [16, 16, 16, 16, 0]


@pytest.mark.parametrize(
    "query,why",
    [
        ({}, "room must not be empty, got ''"),
        ({"room": "  ", "name": "n"}, "room must not be empty, got ''"),
        ({"room": "r"}, "name must not be empty, got ''"),
        ({"room": "r", "name": "a#b"}, "name must not have a # in it, got 'a#b'"),
        (
            {"room": "r" * 61, "name": "n"},
            f"room must have at most 60 characters, got 61 characters: '{'r' * 59}…",
        ),
        (
            {"room": "r", "name": "n" * 41},
            f"name must have at most 40 characters, got 41 characters: '{'n' * 41}'",
        ),
        ({"room": "r", "name": "n", "after": ""}, "after must be the number of a message, got ''"),
        (
            {"room": "r", "name": "n", "after": "-1"},
            "after must be the number of a message, got '-1'",
        ),
        (
            {"room": "r", "name": "n", "after": "²"},
            "after must be the number of a message, got '\\xb2'",
        ),
        (
            {"room": "r", "name": "n", "after": "9" * 19},
            f"after must be the number of a message, got '{'9' * 19}'",
        ),
    ],
)
def test_a_bad_address_is_refused_by_the_value_that_is_bad(query: dict[str, str], why: str) -> None:
    with pytest.raises(Refused) as refused:
        protocol.join_of(query)
    assert str(refused.value) == why


def test_what_somebody_says_may_have_an_id() -> None:
    assert protocol.said_of('{"type": "say", "text": " hi "}') == Say(None, " hi ")
    assert protocol.said_of('{"type": "say", "id": "1", "text": "x"}') == Say("1", "x")


def test_what_somebody_says_may_be_for_one_person() -> None:
    private = '{"type": "say", "id": "1", "text": "x", "to": "bob#1"}'
    assert protocol.said_of(private) == Say("1", "x", "bob#1")


def test_somebody_may_be_typing() -> None:
    assert protocol.said_of('{"type": "typing"}') == Typing()


@pytest.mark.parametrize(
    "data,why,id_",
    [
        (b"x", "a message must be text, got 1 bytes", None),
        ("", "a message must be JSON, got '': Expecting value: line 1 column 1 (char 0)", None),
        ("null", "a message must be a JSON object, got None", None),
        ("{}", 'type must be "say" or "typing", got None', None),
        ('{"type": ["say"]}', 'type must be "say" or "typing", got [\'say\']', None),
        ('{"type": "say"}', "text must be text, got None", None),
        ('{"type": "say", "id": "7"}', "text must be text, got None", "7"),
        ('{"type": "say", "id": "7", "text": " "}', "text must not be empty, got ' '", "7"),
        ('{"type": "say", "id": "", "text": "x"}', "id must not be empty, got ''", None),
        ('{"type": "say", "id": [], "text": "x"}', "id must be text, got []", None),
        ('{"type": "say", "id": "7", "text": "x", "to": 3}', "to must be text, got 3", "7"),
        (
            json.dumps({"type": "say", "text": "x", "to": "n" * 61}),
            f"to must have at most 60 characters, got 61 characters: '{'n' * 59}…",
            None,
        ),
        (
            '{"type": "say", "id": "7", "text": "\\ud800"}',
            "text must be text, got half a character in '\\ud800'",
            "7",
        ),
    ],
)
def test_a_bad_message_is_refused_by_the_value_that_is_bad(
    data: str | bytes, why: str, id_: str | None
) -> None:
    with pytest.raises(Refused) as refused:
        protocol.said_of(data)
    assert (str(refused.value), refused.value.id) == (why, id_)


@pytest.mark.parametrize("data", ["[" * 60_000, '{"type": "say", "n": ' + "9" * 60_000 + "}"])
def test_json_made_to_hurt_is_refused_like_any_other(data: str) -> None:
    with pytest.raises(Refused, match=r"^a message must be JSON, got "):
        protocol.said_of(data)


def test_the_longest_text_is_taken_and_one_more_character_is_not() -> None:
    say = {"type": "say", "text": "x" * 4000}
    assert protocol.said_of(json.dumps(say)) == Say(None, "x" * 4000)
    with pytest.raises(Refused, match="text must have at most 4000 characters, got 4001"):
        protocol.said_of(json.dumps(say | {"text": "x" * 4001}))


def test_a_message_to_one_person_is_hidden_from_the_others_but_for_its_number() -> None:
    open_ = Said(1, "i", "ann", "hi", 1.5)
    private = Said(2, "i", "ann", "psst", 1.5, "bob")
    assert [open_.as_seen_by(name) for name in ("ann", "bob", "eve")] == [open_] * 3
    assert [private.as_seen_by(name) for name in ("ann", "bob")] == [private] * 2
    assert private.as_seen_by("eve") == Hidden(2)


def test_what_goes_down_is_plain_data() -> None:
    assert protocol.welcome("web/0", "r", "n", ["m", "n"], 3) == {
        "type": "welcome",
        "node": "web/0",
        "room": "r",
        "you": "n",
        "people": ["m", "n"],
        "seq": 3,
    }
    said = {"type": "said", "seq": 4, "id": None, "name": "n", "text": "hi", "at": 1.5}
    assert protocol.said(Said(4, None, "n", "hi", 1.5)) == said
    assert protocol.said(Said(4, None, "n", "hi", 1.5, "m")) == said | {"to": "m"}
    assert protocol.said(Hidden(5)) == {"type": "hidden", "seq": 5}
    assert protocol.people(["n"]) == {"type": "people", "people": ["n"]}
    assert protocol.typing("n") == {"type": "typing", "name": "n"}
    assert protocol.error("no") == {"type": "error", "error": "no"}
    assert protocol.error("no", "7") == {"type": "error", "error": "no", "id": "7"}
