"""Requests as an attacker or a broken client writes them: a seed gives a stream of bytes, cut into pieces.

Each is put together of parts that are mostly right, so that most cases have one or two things wrong.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

__all__ = ["Case", "cases"]

_METHODS = (
    b"get", b"G\x00T", b"", b"GE T", b"M-SEARCH", b"PURGE", b"PRI", b"G\xc3\xa9T", b"A" * 300,
    b"\tGET",
)  # fmt: skip
_USUAL_METHODS = (b"GET", b"POST", b"PUT", b"HEAD", b"OPTIONS", b"DELETE", b"CONNECT", b"PATCH")
_TARGETS = (
    b"/a?b=c", b"http://h/x", b"http://other/x?y", b"//x/y", b"*", b"", b"/\x00", b"/\xc3\xa9",
    b"/%zz%2e%00", b"/a#b", b"h:443", b"http://[::1]/", b"/ a", b"/a\tb", b"/a\x7fb", b"x", b"?q",
    b"/\\a", b"http://", b"https://u:p@h/x", b"/" + b"a" * 3000, b"http:/x", b"/a?b#c?d", b"/a\rb",
    b"/a\nb", b"ftp://h/x", b"/..;/", b"http://h", b"http://h?x",
)  # fmt: skip
_VERSIONS = (
    b"HTTP/1.0", b"HTTP/2.0", b"HTTP/0.9", b"HTTP/1.2", b"HTTP/1.10", b"HTTP/11", b"http/1.1", b"",
    b"HTTP/1.1 ", b"HTTP /1.1", b"HTTP/1", b"HTTP/1.1\t", b"HTTP/ 1.1", b"HTTPS/1.1", b"HTTP/1.x",
    b"RTSP/1.0", b"HTTP/3.0", b"ICE/1.0",
)  # fmt: skip
_LINE_ENDS = (
    b"\n", b"\r", b"\r\r\n", b"\n\r", b" \r\n", b"\t\r\n", b"\x00\r\n", b"\x0b\r\n", b"\x85\r\n",
)  # fmt: skip
_SPACES = (b"  ", b"\t", b"\x0b", b"\x0c", b"\xa0", b"")
_LENGTHS = (
    b"5", b"0", b"05", b"+5", b"-5", b"5, 5", b"5,6", b"5 5", b"0x5", b"5.0", b"", b" ", b"5\x00",
    b"\x005", b"5;", b"99999999999999999999999", b"18446744073709551616", b"18446744073709551621",
    b"4294967301", b"\xb2", b"1_0", b"5\x0b", b"\x0c5", b"9223372036854775808", b"0" * 40 + b"5",
    b"five",
)  # fmt: skip
_CODINGS = (
    b"chunked", b"Chunked", b"identity", b"gzip", b"gzip, chunked", b"chunked, gzip",
    b"chunked, chunked", b" chunked", b"chunked ", b"\x0bchunked", b"chunked\x0b", b"xchunked",
    b"chunked;q=1", b"", b",chunked", b"chunked,", b"chunk\x00ed", b'"chunked"', b"chunked, identity",
    b"identity, chunked", b"\tchunked", b"chunked\t", b"cHuNkEd", b"chunked\r\n ", b"trailers",
    b"deflate, gzip",
)  # fmt: skip
_LENGTH_NAMES = (
    b"content-length", b"CONTENT-LENGTH", b"Content-Length ", b" Content-Length", b"Content_Length",
    b"Content-Length\t", b"Content-Length\x00", b"Content\xadLength", b"X\r\nContent-Length",
)  # fmt: skip
_CODING_NAMES = (
    b"transfer-encoding", b"Transfer-Encoding ", b" Transfer-Encoding", b"Transfer_Encoding",
    b"Transfer-Encoding\x0b", b"Transfer-Encoding\x00", b"Transfer\x00-Encoding", b"TE",
    b"Transfer-Encoding:",
)  # fmt: skip
_ODD_HEADERS = (
    b"X: a\x00b", b"X: a\x01b", b"X: a\x7fb", b"X: \xff", b"X:", b": x", b"X", b"X y: z", b"X\t: z",
    b"\x00: x", b"X\xe9: y", b"(x): y", b"X: a\rb", b"X: a\n b", b"X: a\r\n b", b"X: a\r\n\tb",
    b" X: folded first", b"X: a\r\n \r\n b", b"Connection: close", b"Connection: keep-alive",
    b"Connection: close, keep-alive", b"Connection: upgrade\r\nUpgrade: h2c", b"Upgrade: websocket",
    b"Connection: content-length", b"Connection: transfer-encoding", b"Expect: 100-continue",
    b"Expect: 200-ok", b"Proxy-Connection: close", b"X: " + b"a" * 9000, b"Y" * 300 + b": 1",
    b"X@Y: 1", b"X/Y: 1", b"X;Y: 1", b'X"Y: 1', b"X=Y: 1", b"X:\x0b1", b"X: 1\x0c", b"Cookie: a=b",
    b"cookie: c=d", b"Trailer: X", b"HTTP2-Settings: x", b"Content-Type: multipart/form-data",
    b"X: a\x0a\x0aGET /evil HTTP/1.1", b"X: \x1b[31m", b"Keep-Alive: 5",
)  # fmt: skip
_HOSTS = (
    b"", b"a b", b"a, b", b"x:80", b"[::1]:80", b"x/y", b"x@y", b"x\x00", b"\xe9", b"x#y", b"x?y",
    b"http://x", b"a\\b", b"x\ty", b"<x>", b"x\x0by",
)  # fmt: skip
_SIZES = (
    b"5", b"05", b"0" * 30 + b"5", b"0x5", b"+5", b"-5", b" 5", b"5 ", b"5\t", b"5;a", b"5;a=b",
    b'5;a="b;c"', b"5 ;a", b"5; a = b", b"5;a\nb", b"5;\x00", b"FFFFFFFFFFFFFFFF",
    b"10000000000000005", b"FFFFFFFFFFFFFFFFF", b"", b"g", b"5g", b"5.", b"5,", b"\xb5",
    b"5;" + b"a" * 5000, b'5;a="b\r\nc"', b"5\r", b"5_0", b"00000005", b"5;a\r\n\r\n",
)  # fmt: skip
_TRAILERS = (
    b"", b"X: y\r\n", b"Content-Length: 7\r\n", b"Transfer-Encoding: chunked\r\n", b"X\r\n",
    b"X: a\x00\r\n", b" X: y\r\n", b"X: y\n", b"X : y\r\n", b"Host: evil\r\n",
    b"GET /evil HTTP/1.1\r\n", b"X: a\r\n b\r\n",
)  # fmt: skip
_NEXT = b"GET /next HTTP/1.1\r\nHost: next\r\n\r\n"
_ODD_BYTES = b'\x00\t\n\r\x0b\x0c "(),/:;<=>?@[]{}\x7f\x80\xff0aZ'


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What one client sends over one connection."""

    seed: int
    data: bytes
    pieces: tuple[bytes, ...]
    """*data* as it arrives."""


def cases(seed: int, count: int) -> Iterator[Case]:
    """Make *count* cases, the same ones for the same *seed*."""
    for number in range(seed, seed + count):
        dice = random.Random(number)
        data = b"".join(_requests(dice))
        yield Case(seed=number, data=data, pieces=tuple(_cut(dice, data)))


def _requests(dice: random.Random) -> Iterator[bytes]:
    if dice.random() < 0.05:
        yield dice.choice((b"\r\n", b"\n", b"\r\n\r\n\r\n", b" ", b"\r", b"\x00", b"\xef\xbb\xbf"))
    request = _request(dice)
    if dice.random() < 0.2:
        request = _damaged(dice, request)
    yield request
    if dice.random() < 0.7:
        yield _NEXT
    elif dice.random() < 0.3:
        yield _request(dice)


def _odd(dice: random.Random, often: float, usual: bytes, odd: Sequence[bytes]) -> bytes:
    return dice.choice(odd) if dice.random() < often else usual


def _request(dice: random.Random) -> bytes:
    end = _odd(dice, 0.04, b"\r\n", _LINE_ENDS)
    space = _odd(dice, 0.02, b" ", _SPACES)
    line = [
        _odd(dice, 0.04, dice.choice(_USUAL_METHODS), _METHODS),
        _odd(dice, 0.12, b"/", _TARGETS),
        _odd(dice, 0.08, b"HTTP/1.1", _VERSIONS),
    ]
    framing, body = _framed(dice)
    headers = [*_host(dice), *framing]
    headers += [dice.choice(_ODD_HEADERS) for _ in range(dice.choice((0, 0, 0, 1, 1, 2)))]
    if dice.random() < 0.3:
        dice.shuffle(headers)
    head = space.join(line) + end
    for header in headers:
        head += header + _odd(dice, 0.02, b"\r\n", _LINE_ENDS)
    return head + end + body


def _host(dice: random.Random) -> list[bytes]:
    chance = dice.random()
    if chance < 0.04:
        return []
    if chance < 0.08:
        return [b"Host: x", dice.choice((b"Host: x", b"host: y", b"Host : y", b"Host:"))]
    return [b"Host: " + _odd(dice, 0.06, b"x", _HOSTS)]


def _framed(dice: random.Random) -> tuple[list[bytes], bytes]:
    """Return the headers that say how long a body is, and a body that may be as long."""
    kind = dice.choice(("none", "length", "chunked", "both", "several"))
    if kind == "none":
        return [], _odd(dice, 0.1, b"", (b"hello", _chunked(dice)))
    length = _odd(dice, 0.06, b"Content-Length", _LENGTH_NAMES)
    length += b": " + _odd(dice, 0.3, b"5", _LENGTHS)
    coding = _odd(dice, 0.08, b"Transfer-Encoding", _CODING_NAMES)
    coding += b": " + _odd(dice, 0.3, b"chunked", _CODINGS)
    if kind == "length":
        return [length], _odd(dice, 0.1, b"hello", (b"", b"hell", b"hello!", _chunked(dice)))
    if kind == "chunked":
        return [coding], _chunked(dice)
    if kind == "both":
        return [length, coding], dice.choice((b"hello", _chunked(dice)))
    line, other = dice.choice((length, coding)), dice.choice((length, coding))
    again = dice.choice(
        (line, b"Content-Length: 5", b"Content-Length: 6", b"Transfer-Encoding: chunked")
    )
    return [line, again, *([other] if dice.random() < 0.2 else [])], dice.choice(
        (b"hello", _chunked(dice))
    )


def _chunked(dice: random.Random) -> bytes:
    out = b""
    for _ in range(dice.choice((0, 1, 1, 2))):
        end = _odd(dice, 0.05, b"\r\n", (b"\n", b"\r", b"", b"\n\r", b"x\r\n", b"\r\r\n"))
        out += _odd(dice, 0.2, b"5", _SIZES) + _odd(
            dice, 0.05, b"\r\n", (b"\n", b"\r", b"\r\r\n", b"")
        )
        out += b"hello" + end
    out += _odd(dice, 0.06, b"0", (b"00", b"0;a", b"-0", b"0 ", b"", b"0x0", b"0" * 20)) + b"\r\n"
    return (
        out
        + _odd(dice, 0.15, b"", _TRAILERS)
        + _odd(dice, 0.04, b"\r\n", (b"\n", b"\r", b"", b"\n\n"))
    )


def _damaged(dice: random.Random, request: bytes) -> bytes:
    out = bytearray(request)
    for _ in range(dice.choice((1, 1, 2, 3))):
        at = dice.randrange(len(out) + 1)
        what = dice.randrange(4)
        if what == 0:
            out[at:at] = bytes((dice.choice(_ODD_BYTES),))
        elif what == 1:
            del out[at : at + dice.choice((1, 1, 2, 5))]
        elif what == 2:
            out[at : at + 1] = bytes((dice.choice(_ODD_BYTES),))
        else:
            out[at:at] = out[at : at + dice.randrange(1, 30)]
    return bytes(out)


def _cut(dice: random.Random, data: bytes) -> Iterator[bytes]:
    if dice.random() < 0.5:
        yield data
        return
    places = sorted(
        {0, len(data), *(dice.randrange(len(data) + 1) for _ in range(dice.randrange(1, 5)))}
    )
    for start, stop in pairwise(places):
        yield data[start:stop]
