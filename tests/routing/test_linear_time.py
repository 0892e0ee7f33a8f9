"""What anybody can send before anything is known of him is read in time that is linear in its bytes.

Rule: no test says how many seconds; CPU times are compared with each other, with wide margins.
"""

from collections.abc import Callable

import pytest
from hypothesis import given, strategies as st

from actors.routing import (
    BadListener,
    Key,
    Peeked,
    cookie,
    header,
    key_from,
    path,
    proxy,
    query,
    sni,
)
from actors.routing.listen.address import parse_address
from actors.routing.sticky.http_head import HEAD_LIMIT
from actors.routing.sticky.http_keys import cookie_value
from actors.routing.sticky.proxy_protocol import proxy_header
from tests.cpu_time import assert_linear, cpu_time
from tests.routing.client_bytes import SIGNATURE

LINE = b"GET / HTTP/1.1\r\n"
END = b" HTTP/1.1\r\n\r\n"
PEER = ("10.0.0.9", 40000)
BUDGET = 30.0
"""The largest head may take this many times as long as a list of its bytes; escapes take it eight times."""


def hello_of(extensions: bytes) -> bytes:
    """Return a ClientHello, as long as its lengths can say, with these extensions."""
    body = b"\x03\x03" + b"r" * 32 + b"\x00" + b"\x00\x02\x13\x01" + b"\x01\x00"
    body += len(extensions).to_bytes(2, "big") + extensions
    message = b"\x01" + len(body).to_bytes(3, "big") + body
    return b"\x16\x03\x01" + len(message).to_bytes(2, "big") + message


def filled(begin: bytes, unit: bytes, end: bytes = b"") -> Callable[[int], bytes]:
    """Return what makes *size* bytes of *begin*, many of *unit*, and *end*."""
    return lambda size: begin + unit * ((size - len(begin) - len(end)) // len(unit)) + end


SID, ROOM, FIRST, NAME, PROXY = cookie("sid"), query("room"), path(), sni(), proxy()
HOST = header("x-room")
STRANGE: dict[str, tuple[Key, Callable[[int], bytes]]] = {
    "spaces and a NUL": (SID, filled(LINE + b"a:", b" ", b"\0\r\n\r\n")),
    "spaces and a lone CR": (HOST, filled(LINE + b"a:", b" ", b"\rx\r\n\r\n")),
    "tabs and spaces": (HOST, filled(LINE + b"x-room:", b"\t ", b"\0\r\n\r\n")),
    "carriage returns": (SID, filled(LINE + b"a:", b"\r", b"\r\n\r\n")),
    "a name without end": (SID, filled(LINE, b"a", b"\r\n\r\n")),
    "empty lines first": (SID, filled(b"", b"\r\n", b"\0")),
    "short headers": (SID, filled(LINE, b"a:\n", b"\n")),
    "short headers without end": (SID, filled(LINE, b"a:\n")),
    "headers of the name": (HOST, filled(LINE, b"X-Room:\n", b"\n")),
    "cookie headers": (SID, filled(LINE, b"Cookie:\n", b"\n")),
    "nearly the cookie": (SID, filled(LINE + b"Cookie:", b";sid x", b"\r\n\r\n")),
    "empty cookies": (SID, filled(LINE + b"Cookie:", b";", b"\r\n\r\n")),
    "spaces before a cookie": (SID, filled(LINE + b"Cookie:", b" ", b"x\r\n\r\n")),
    "spaces after its name": (SID, filled(LINE + b"Cookie: sid", b" ", b"x\r\n\r\n")),
    "spaces and semicolons": (SID, filled(LINE + b"Cookie:", b"; ;  ", b"\r\n\r\n")),
    "quotes": (SID, filled(LINE + b'Cookie: sid="', b'"', b"\r\n\r\n")),
    "a long target": (ROOM, filled(b"GET /", b"a", END)),
    "a target without end": (ROOM, filled(b"GET /", b"a", b"\0")),
    "empty parameters": (ROOM, filled(b"GET /?", b"&", END)),
    "nearly the parameter": (ROOM, filled(b"GET /?", b"&%72%6Fo%6F", END)),
    "an encoded value": (ROOM, filled(b"GET /?room=", b"%41", END)),
    "percent signs": (ROOM, filled(b"GET /?room=", b"%", END)),
    "half of an escape": (ROOM, filled(b"GET /?room=", b"%4", END)),
    "plus signs": (ROOM, filled(b"GET /?room=", b"+", END)),
    "letters": (FIRST, filled(b"GET ", b"a", END)),
    "nearly an origin": (FIRST, filled(b"GET ", b"a:/", END)),
    "slashes": (FIRST, filled(b"GET ", b"/", END)),
    "escapes in a path": (FIRST, filled(b"GET /", b"%2F", END)),
    "many segments": (FIRST, filled(b"GET ", b"/a", END)),
    "question marks": (FIRST, filled(b"GET /", b"?", END)),
    "empty records": (NAME, filled(b"", b"\x16\x03\x01\x00\x00")),
    "records of a byte": (
        NAME,
        filled(b"\x16\x03\x01\x00\x04\x01\x00\xff\xff", b"\x16\x03\x01\x00\x01\x00"),
    ),
    "extensions": (NAME, lambda size: hello_of(filled(b"", b"\x00\x01\x00\x00")(size - 60))),
    "a long PROXY line": (PROXY, filled(b"PROXY TCP4 ", b"1")),
    "colons in a PROXY line": (PROXY, filled(b"PROXY TCP6 ", b":")),
    "a binary PROXY header": (
        PROXY,
        lambda size: SIGNATURE + b"\x21\x11" + (size - 16).to_bytes(2, "big") + bytes(size - 16),
    ),
    "all of them": (
        HOST | SID | ROOM | FIRST,
        filled(LINE + b"a:", b" ", b"\0\r\n\r\n"),
    ),
}


@pytest.mark.parametrize("complete", [False, True], ids=["more may come", "complete"])
@pytest.mark.parametrize("name", STRANGE)
def test_the_time_for_a_head_grows_as_its_bytes_do(name: str, complete: bool) -> None:
    key, make = STRANGE[name]

    def read(size: int) -> Callable[[], object]:
        peeked = Peeked(make(size), PEER, complete)
        assert size - 64 <= len(peeked.head) <= size + 8
        return lambda: key.extract(peeked)

    assert_linear(read, HEAD_LIMIT)


@pytest.mark.parametrize("name", STRANGE)
def test_the_largest_head_costs_no_more_than_a_few_walks_over_its_bytes(name: str) -> None:
    key, make = STRANGE[name]
    peeked = Peeked(make(HEAD_LIMIT), PEER, complete=True)
    walk = cpu_time(lambda: [byte for byte in peeked.head])  # noqa: C416 - the walk is the measure
    sources = 4 if name == "all of them" else 1
    assert cpu_time(lambda: key.extract(peeked)) < BUDGET * sources * walk


@pytest.mark.parametrize(
    "unit", [b"1", b"a", b":", b"[", b"/", b"%", b"|", b".", b"=", b" ", b"unix:/a", b"fd://a"]
)
def test_the_time_for_an_address_or_a_key_text_grows_as_its_length_does(unit: bytes) -> None:
    def refused(parse: Callable[[str], object], text: str) -> None:
        with pytest.raises(BadListener):
            parse(text)

    def read(size: int) -> Callable[[], object]:
        text = (unit * size)[:size].decode()

        def parse() -> None:
            refused(parse_address, "localhost:" + text + "x")
            refused(parse_address, text + ":" + text)
            refused(key_from, "path:" + text)
            refused(key_from, text)

        return parse

    assert_linear(read, HEAD_LIMIT)


def test_a_number_of_thousands_of_digits_is_refused_like_any_other() -> None:
    digits = "9" * 10_000
    with pytest.raises(BadListener, match="a port is 0 to 65535, got 999"):
        parse_address(f"127.0.0.1:{digits}")
    with pytest.raises(BadListener, match="the sticky key path takes a number"):
        key_from(f"path:{digits}")


def test_a_proxy_header_of_the_version_1_is_looked_at_up_to_its_longest_line() -> None:
    assert proxy_header(b"PROXY " + b" " * HEAD_LIMIT) is None


@given(
    st.lists(st.tuples(st.binary(max_size=4), st.binary(max_size=4)), max_size=5),
    st.sampled_from(["a", "ab", "%", "+", " ", "=", "&", "é", ".", "%41"]),
    st.randoms(use_true_random=False),
)
def test_a_parameter_is_found_however_its_name_is_encoded(
    others: list[tuple[bytes, bytes]], name: str, random: object
) -> None:
    def encoded(text: bytes) -> bytes:
        return b"".join(
            bytes([byte])
            if bytes([byte]).isalnum() and random.random() < 0.5  # type: ignore[attr-defined]
            else b"%%%02x" % byte
            for byte in text
        )

    wanted = name.encode()
    pairs = [pair for pair in others if pair[0] != wanted] + [(wanted, b"v")]
    sent = b"&".join(encoded(key) + b"=" + encoded(value) for key, value in pairs)
    head = b"GET /?" + sent + b" HTTP/1.1\r\n"
    assert query(name).extract(Peeked(head, PEER, complete=True)) == b"v"


@pytest.mark.parametrize(
    "sent, value",
    [
        (b"sid; sid=x", None),
        (b"a; sid =\tx ;b", b"x"),
        (b"xsid=1;sidx=2;;  sid=3", b"3"),
        (b"SID=1", None),
        (b"sid==", b"="),
    ],
)
def test_the_first_cookie_of_a_name_counts(sent: bytes, value: bytes | None) -> None:
    assert cookie_value([sent], "sid") == value
    assert cookie_value([b"a=1", sent], "sid") == value
