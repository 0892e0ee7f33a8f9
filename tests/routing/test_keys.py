"""Sticky keys: read from heads in any number of pieces, from any kind of bytes."""

import pytest
from hypothesis import given, strategies as st

from actors.routing import BadListener, Key, Peeked, cookie, header, ip, path, query
from actors.routing.sticky.http_head import HEAD_LIMIT, NEED_MORE, header_values, request_target

CLIENT = ("10.1.2.3", 5000)
HEAD = (
    b"GET /ws?name=Ann&room=lob%20by&room=other HTTP/1.1\r\n"
    b"Host: example\r\n"
    b'COOKIE: theme=dark; sid="abc"; room=kitchen\r\n'
    b"Cookie: sid=second; late=1\r\n"
    b"\r\n"
)


def extract(key: Key, head: bytes, *, complete: bool = False) -> object:
    return key.extract(Peeked(head, CLIENT, complete))


@pytest.mark.parametrize(
    "key, value",
    [
        (query("room"), b"lob by"),
        (query("name"), b"Ann"),
        (query("nothing"), None),
        (query("Room"), None),
        (cookie("sid"), b"abc"),
        (cookie("theme"), b"dark"),
        (cookie("late"), b"1"),
        (cookie("SID"), None),
        (cookie("room") | query("room"), b"kitchen"),
        (query("room") | cookie("room"), b"lob by"),
        (query("x") | cookie("y") | ip(), b"10.1.2.3"),
        (header("host"), b"example"),
        (header("HOST"), b"example"),
        (header("x-room"), None),
        (header("x-room") | path(), b"ws"),
        (path(1), b"ws"),
        (path(2), None),
        (ip(), b"10.1.2.3"),
    ],
)
def test_a_key_is_the_first_value_of_the_first_source_that_has_one(
    key: Key, value: bytes | None
) -> None:
    assert extract(key, HEAD) == value


@pytest.mark.parametrize(
    "query_string, value",
    [
        (b"room=a+b", b"a b"),
        (b"room=a%2Bb", b"a+b"),
        (b"room=%C3%A9t%C3%A9", "été".encode()),
        (b"room=%ff%00", b"\xff\x00"),
        (b"room=100%", b"100%"),
        (b"r%6Fom=x", b"x"),
        (b"room=a=b", b"a=b"),
        (b"room=&room=x", None),
        (b"room", None),
        (b"&&room=x&", b"x"),
        (b"a=1#room=x", None),
        (b"", None),
    ],
)
def test_query_parameters_are_decoded(query_string: bytes, value: bytes | None) -> None:
    assert extract(query("room"), b"GET /?" + query_string + b" HTTP/1.1\r\n") == value


@pytest.mark.parametrize(
    "target, segments, value",
    [
        (b"/rooms/lobby/log?x=/y", 1, b"rooms"),
        (b"/rooms/lobby/log?x=/y", 2, b"rooms/lobby"),
        (b"/rooms/lobby/log", 3, b"rooms/lobby/log"),
        (b"/rooms", 2, None),
        (b"/", 1, None),
        (b"//rooms//lobby/", 2, b"rooms/lobby"),
        (b"/lob%20by", 1, b"lob by"),
        (b"/lob+by", 1, b"lob+by"),
        (b"/a#b/c", 1, b"a"),
        (b"http://host:80/rooms/x", 1, b"rooms"),
        (b"http://host", 1, None),
        (b"http://host?room=/x", 1, None),
        (b"*", 1, None),
        (b"host:443", 1, None),
    ],
)
def test_a_path_key_is_the_first_segments_of_the_path(
    target: bytes, segments: int, value: bytes | None
) -> None:
    assert extract(path(segments), b"GET " + target + b" HTTP/1.1\r\n") == value


def test_a_header_key_is_the_first_of_that_name_and_an_empty_one_is_none() -> None:
    head = b"GET / HTTP/1.1\r\nX-Room:  kitchen \r\nx-room: hall\r\nX-Empty:\r\n\r\n"
    assert extract(header("X-Room"), head) == b"kitchen"
    assert extract(header("x-empty") | header("x-room"), head) == b"kitchen"
    assert extract(header("x-room"), head[:-2]) is NEED_MORE


@pytest.mark.parametrize(
    "line, value",
    [
        (b"Cookie: sid=x", b"x"),
        (b"cookie:sid=x", b"x"),
        (b"Cookie:\t sid=x \t", b"x"),
        (b'Cookie: sid=""', None),
        (b"Cookie: sid=", None),
        (b"Cookie: sid", None),
        (b'Cookie: sid="', b'"'),
        (b"Cookie: a=1;sid=x;b", b"x"),
        (b"Cookie: xsid=1; sid = x", b"x"),
        (b"Cookie: sid=a=b", b"a=b"),
        (b"Cookie: sid=\xff\xfe", b"\xff\xfe"),
        (b"X-Cookie: sid=x", None),
        (b"Cookie : sid=x", None),
        (b"Cookie: a=1;\r\n sid=x", None),
        (b"no colon\r\nCookie: sid=x", None),
    ],
)
def test_cookies_are_found_in_any_clean_head(line: bytes, value: bytes | None) -> None:
    assert extract(cookie("sid"), b"GET / HTTP/1.1\r\n" + line + b"\r\n\r\n") == value


@pytest.mark.parametrize(
    "head, target",
    [
        (b"GET /x HTTP/1.1\r\n", b"/x"),
        (b"\r\n\r\nGET /x HTTP/1.0\n", b"/x"),
        (b"OPTIONS * HTTP/1.1\r\n", b"*"),
        (b"GET http://host/x?y HTTP/1.1\r\n", b"http://host/x?y"),
        (b"", NEED_MORE),
        (b"\r", NEED_MORE),
        (b"\r\nG", NEED_MORE),
        (b"GET /x HTT", NEED_MORE),
        (b"\x16\x03\x01\x02", None),
        (b"\x00", None),
        (b"(nonsense", None),
        (b"GET /x HTTP/2.0\r\n", None),
        (b"GET  HTTP/1.1\r\n", None),
        (b"GET /x\r\n", None),
        (b"A" * 40, None),
    ],
)
def test_what_is_no_http_is_known_at_once(head: bytes, target: object) -> None:
    assert request_target(head, complete=False) == target


@pytest.mark.parametrize(
    "key",
    [query("room"), cookie("sid"), query("x") | cookie("sid"), header("host"), path()],
    ids=str,
)
def test_the_answer_is_the_same_wherever_the_head_is_split(key: Key) -> None:
    whole = extract(key, HEAD)
    assert isinstance(whole, bytes)
    for cut in range(len(HEAD)):
        assert extract(key, HEAD[:cut]) in (NEED_MORE, whole)


def test_a_query_key_needs_the_request_line_only_and_a_cookie_key_the_whole_head() -> None:
    line = HEAD.index(b"\n") + 1
    assert extract(query("room"), HEAD[: line - 1]) is NEED_MORE
    assert extract(query("room"), HEAD[:line]) == b"lob by"
    assert extract(cookie("sid"), HEAD[:-1]) is NEED_MORE
    assert extract(cookie("sid"), HEAD) == b"abc"


def test_pipelined_requests_are_routed_by_the_first() -> None:
    second = b"GET /?room=two HTTP/1.1\r\nCookie: sid=two\r\n\r\n"
    first = b"GET /?room=one HTTP/1.1\r\nHost: h\r\n\r\n"
    assert extract(query("room"), first + second) == b"one"
    assert extract(cookie("sid"), first + second) is None


def test_a_binary_body_after_the_head_does_not_matter() -> None:
    assert extract(cookie("sid"), HEAD + bytes(range(256)) * 4) == b"abc"


def test_a_head_over_the_limit_gives_what_its_whole_lines_say() -> None:
    head = b"GET / HTTP/1.1\r\nCookie: sid=x\r\nX-Big: " + b"a" * HEAD_LIMIT
    assert extract(cookie("sid"), head[:HEAD_LIMIT]) is NEED_MORE
    assert extract(cookie("sid"), head[:HEAD_LIMIT], complete=True) == b"x"


def test_a_chain_goes_on_when_no_more_will_come() -> None:
    chain = query("room") | ip()
    assert extract(chain, b"") is NEED_MORE
    assert extract(chain, b"", complete=True) == b"10.1.2.3"


@pytest.mark.parametrize(
    "client, key",
    [
        (("10.1.2.3", 1), b"10.1.2.3"),
        (("::ffff:10.1.2.3", 1, 0, 0), b"10.1.2.3"),
        (("fe80::1%eth0", 1, 0, 2), b"fe80::1"),
        (("::1", 1, 0, 0), b"::1"),
        ("", None),
        (b"\x00abstract", None),
        (None, None),
    ],
)
def test_ip_is_the_host_of_the_client(
    client: tuple[object, ...] | str | bytes | None, key: object
) -> None:
    assert ip().extract(Peeked(b"", client, complete=False)) == key


def test_only_keys_that_look_at_bytes_need_a_head() -> None:
    assert not ip().needs_head
    assert cookie("sid").needs_head
    assert query("room").needs_head
    assert (ip() | cookie("sid")).needs_head


@pytest.mark.parametrize("name", ["", "a b", "a;b", "a=b", "é"])
def test_a_cookie_name_that_cannot_be_is_refused(name: str) -> None:
    with pytest.raises(BadListener) as caught:
        cookie(name)
    assert str(caught.value) == f"a cookie name must be a token (RFC 6265), got {name!r}"


@pytest.mark.parametrize("name", ["", "x room", "x:room", "é"])
def test_a_header_name_that_cannot_be_is_refused(name: str) -> None:
    with pytest.raises(BadListener) as caught:
        header(name)
    assert str(caught.value) == f"a header name must be a token (RFC 9110), got {name!r}"


@pytest.mark.parametrize("segments", [0, -1, True, "2", 1.5])
def test_a_path_has_a_whole_number_of_segments(segments: int) -> None:
    with pytest.raises(BadListener) as caught:
        path(segments)
    assert str(caught.value) == f"path() takes a number of segments from 1 up, got {segments!r}"


def test_a_query_name_must_not_be_empty() -> None:
    with pytest.raises(BadListener, match="a query parameter needs a name, got ''"):
        query("")


def test_a_key_is_chained_with_keys_only() -> None:
    with pytest.raises(TypeError):
        ip() | "cookie"  # type: ignore[operator]


@given(st.binary(max_size=200), st.booleans())
def test_no_bytes_make_the_parser_raise(data: bytes, complete: bool) -> None:
    values = header_values(data, b"cookie", complete=complete)
    assert (values is NEED_MORE) <= (not complete)
    target = request_target(data, complete=complete)
    assert (target is NEED_MORE) <= (not complete)
