"""Sticky keys outside HTTP: server names of TLS, PROXY headers, a user's function."""

import pytest
from hypothesis import given, strategies as st

from actors.routing import (
    NEED_MORE,
    Address,
    BadListener,
    Key,
    NeedMore,
    Peeked,
    ip,
    key,
    key_from,
    proxy,
    sni,
)
from actors.routing.sticky.client_hello import server_name
from actors.routing.sticky.proxy_protocol import proxy_header
from tests.routing.client_bytes import SIGNATURE, client_hello, in_records, version_2

PEER = ("10.0.0.9", 40000)
V1 = b"PROXY TCP4 203.0.113.7 10.0.0.1 56324 443\r\n"
V2 = version_2("203.0.113.7", 56324)


def extract(source: Key, head: bytes, *, complete: bool = False) -> object:
    return source.extract(Peeked(head, PEER, complete))


def test_the_server_name_is_read_from_a_real_client_hello_in_lower_case() -> None:
    assert extract(sni(), client_hello("Chat.Example.ORG")) == b"chat.example.org"
    assert extract(sni(), client_hello(None)) is None


def test_a_client_hello_may_come_in_any_number_of_pieces_and_of_records() -> None:
    hello = client_hello("chat.example")
    for cut in range(len(hello)):
        assert extract(sni(), hello[:cut]) is NEED_MORE
    records = in_records(hello, 7)
    assert extract(sni(), records + b"early data") == b"chat.example"
    assert extract(sni(), records[:-1]) is NEED_MORE


@pytest.mark.parametrize(
    "head",
    [
        b"GET / HTTP/1.1\r\n",
        b"\x16\x02\x00\x00\x05",
        b"\x15\x03\x01\x00\x02\x02\x28",
        b"\x16\x03\x01\x00\x04\x02\x00\x00\x00",
        b"\x16\x03\x01\x00\x06\x01\x00\x00\x02\x03\x03",
        b"\x16\x03\x01\x00\x2a\x01\x00\x00\x26\x03\x03" + b"r" * 32 + b"\xff\x00\x00\x00",
    ],
    ids=["http", "old", "alert", "no hello", "short", "lies"],
)
def test_what_is_no_clean_client_hello_has_no_name(head: bytes) -> None:
    assert extract(sni(), head) is None


def hello_with(extension: bytes) -> bytes:
    """Return a ClientHello whose only extension is that of the server name."""
    extensions = b"\x00\x00" + len(extension).to_bytes(2, "big") + extension
    body = b"\x03\x03" + b"r" * 32 + b"\x00" + b"\x00\x02\x13\x01" + b"\x01\x00"
    body += len(extensions).to_bytes(2, "big") + extensions
    message = b"\x01" + len(body).to_bytes(3, "big") + body
    return b"\x16\x03\x01" + len(message).to_bytes(2, "big") + message


@pytest.mark.parametrize(
    "extension, name",
    [
        (b"\x00\x05\x00\x00\x02ab", b"ab"),
        (b"\x00\x06\x00\x00\x03AB.", b"ab"),
        (b"\x00\x04\x00\x00\x01.", None),
        (b"\x00\x05\x01\x00\x02ab", None),
        (b"\x00\x05\x00\x00\x09ab", None),
        (b"\x00\x09\x00\x00\x02ab", None),
        (b"\x00\x00", None),
        (b"", None),
    ],
)
def test_a_server_name_whose_lengths_lie_is_none(extension: bytes, name: bytes | None) -> None:
    assert extract(sni(), hello_with(extension)) == name


@given(st.binary(max_size=80), st.integers(0, 600), st.binary(max_size=3))
def test_no_bytes_make_the_parsers_raise(junk: bytes, at: int, change: bytes) -> None:
    hello = client_hello("chat.example")
    server_name(hello[:at] + change + hello[at + len(change) :])
    server_name(b"\x16\x03\x01" + junk)
    proxy_header(junk)
    proxy_header(b"PROXY " + junk)
    proxy_header(SIGNATURE + junk)


@pytest.mark.parametrize(
    "head, client",
    [
        (V1, ("203.0.113.7", 56324)),
        (b"PROXY TCP6 2001:db8::1 ::1 1 2\r\n", ("2001:db8::1", 1, 0, 0)),
        (b"PROXY UNKNOWN\r\n", None),
        (b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n", None),
        (V2, ("203.0.113.7", 56324)),
        (version_2("2001:db8::1", 9), ("2001:db8::1", 9, 0, 0)),
        (version_2("203.0.113.7", 9, extra=b"\x04\x00\x01x"), ("203.0.113.7", 9)),
        (version_2("203.0.113.7", 9, command=0x20), None),
        (version_2("203.0.113.7", 9, family=0), None),
        (version_2("203.0.113.7", 9, family=0x31), None),
    ],
)
def test_a_proxy_header_names_the_client_and_its_own_length(head: bytes, client: object) -> None:
    assert proxy_header(head + b"GET /") == (len(head), client)
    for cut in range(len(head)):
        assert proxy_header(head[:cut]) is NEED_MORE


@pytest.mark.parametrize(
    "head",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"PROXY TCP4 203.0.113.7 10.0.0.1 56324\r\n",
        b"PROXY TCP4 2001:db8::1 ::1 1 2\r\n",
        b"PROXY TCP4 203.0.113.7 10.0.0.1 65536 443\r\n",
        b"PROXY TCP4 203.0.113.777 10.0.0.1 1 443\r\n",
        b"PROXY UDP4 203.0.113.7 10.0.0.1 1 443\r\n",
        b"PROXY " + b"x" * 101,
        version_2("203.0.113.7", 9, command=0x11),
        version_2("203.0.113.7", 9, command=0x22),
        SIGNATURE + b"\x21\x11\x00\x04abcd",
        SIGNATURE + b"\x21\x11\xff\xff",
    ],
)
def test_a_malformed_proxy_header_is_none(head: bytes) -> None:
    assert proxy_header(head) is None
    assert extract(proxy(), head) is None


def test_the_proxy_key_is_the_host_the_header_names() -> None:
    assert extract(proxy(), V1) == b"203.0.113.7"
    assert extract(proxy(), V2 + b"anything") == b"203.0.113.7"
    assert extract(proxy(), V2[:20]) is NEED_MORE
    assert extract(proxy() | ip(), b"PROXY UNKNOWN\r\n") == b"10.0.0.9"
    taken_off = Peeked(b"GET /", ("203.0.113.7", 1), complete=False, proxied=("203.0.113.7", 1))
    assert proxy().extract(taken_off) == b"203.0.113.7"


def room_of(data: bytes, peer: Address) -> bytes | NeedMore | None:
    """A key of a custom protocol: a line that begins with the room."""
    assert peer == PEER
    line, end, _ = data.partition(b"\n")
    return line.partition(b" ")[0] if end else NEED_MORE


def test_a_users_function_makes_keys_of_the_first_bytes() -> None:
    assert extract(key(room_of), b"lobby hel") is NEED_MORE
    assert extract(key(room_of), b"lobby hello\n") == b"lobby"
    assert extract(key(room_of) | ip(), b" hello\n") == b"10.0.0.9"
    assert extract(key(room_of) | ip(), b"lobby hel", complete=True) == b"10.0.0.9"
    assert str(key(room_of)) == "key:room_of"


def test_a_function_that_returns_no_key_says_so() -> None:
    with pytest.raises(TypeError, match=r"must return bytes, None or NEED_MORE, got 'lobby'"):
        extract(key(lambda _data, _peer: "lobby"), b"")  # type: ignore[arg-type,return-value]
    with pytest.raises(BadListener, match=r"key\(\) takes a function fn\(data, peer\), got 7"):
        key(7)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "text",
    ["ip", "proxy", "sni", "cookie:sid", "cookie:sid:set", "query:room", "header:x-room", "path:2"],
)
def test_a_key_is_written_as_it_is_read(text: str) -> None:
    assert str(key_from(text)) == text
    assert str(key_from(f"{text} | ip")) == f"{text}|ip"


@pytest.mark.parametrize(
    "text, message",
    [
        ("sni:x", "the sticky key sni takes no name, got 'sni:x'"),
        ("path", "the sticky key path needs a number, as in path:1, got 'path'"),
        ("path:two", "the sticky key path takes a number, as in path:1, got 'two'"),
        ("path:0", "path() takes a number of segments from 1 up, got 0"),
        ("hedder:x", "did you mean 'header'?"),
        ("cookie::set", "a cookie name must be a token (RFC 6265), got ''"),
    ],
)
def test_a_wrong_key_text_is_one_clear_error(text: str, message: str) -> None:
    with pytest.raises(BadListener) as caught:
        key_from(text)
    assert message in str(caught.value)
