"""Requests as attackers write them, read by ours, by uvicorn and by h11: ours is not the one that is fooled."""

import pytest

from tests.routing.http_cases import Case, cases
from tests.routing.http_judge import Bench, difference, judging

CASES = 2000


def test_what_ours_takes_h11_takes_too_and_all_read_the_same() -> None:
    async def check(bench: Bench) -> None:
        taken = 0
        for case in cases(seed=1, count=CASES):
            verdicts = await bench.judge(case)
            wrong = difference(case, verdicts)
            assert not wrong, f"case {case.seed}, {case.data!r}: {wrong}"
            taken += len(verdicts["ours"].whole)
        assert taken > CASES / 5, "hardly a request was taken"

    judging(check)


def of(*lines: bytes, body: bytes = b"") -> Case:
    data = b"\r\n".join([*lines, b"", b""]) + body
    return Case(seed=0, data=data, pieces=(data,))


@pytest.mark.parametrize(
    "line",
    [
        b"Transfer-Encoding: gzip, chunked",
        b"Transfer-Encoding: identity",
        b"Transfer-Encoding: chunked\t",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        b"Transfer-Encoding: chunked\r\nContent-Length: 5",
        b"Content-Length: 5\r\nContent-Length: 6",
        b"Content-Length: +5",
        b"Host: other",
        b"X: a\nContent-Length: 5",
        b"X : y",
        b"X: a\x00b",
    ],
)
def test_a_request_whose_end_two_servers_could_see_in_two_places_never_reaches_the_application(
    line: bytes,
) -> None:
    async def check(bench: Bench) -> None:
        case = of(b"POST / HTTP/1.1", b"Host: x", line, body=b"5\r\nhello\r\n0\r\n\r\n")
        ours = (await bench.judge(case))["ours"]
        assert ours.requests == []
        assert ours.answers.startswith(b"HTTP/1.1 400 ")

    judging(check)


@pytest.mark.parametrize("version", [b"HTTP/0.9", b"HTTP/2.0", b"HTTP/1.2", b"HTTP/1.10"])
def test_other_versions_are_refused(version: bytes) -> None:
    async def check(bench: Bench) -> None:
        ours = (await bench.judge(of(b"GET / " + version, b"Host: x")))["ours"]
        assert ours.requests == []
        assert ours.answers.startswith(b"HTTP/1.1 400 ")

    judging(check)


def test_chunks_of_a_client_that_does_not_know_them_are_refused() -> None:
    async def check(bench: Bench) -> None:
        case = of(b"POST / HTTP/1.0", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n")
        assert (await bench.judge(case))["ours"].requests == []

    judging(check)


@pytest.mark.parametrize("body", [b"", b"hello"])
def test_an_upgrade_that_is_not_offered_changes_nothing(body: bytes) -> None:
    """Java's HttpClient asks for h2c with each first request."""

    async def check(bench: Bench) -> None:
        asked = (
            b"Connection: Upgrade, HTTP2-Settings",
            b"Upgrade: h2c",
            b"HTTP2-Settings: AAMAAABk",
        )
        length = b"Content-Length: %d" % len(body)
        first = of(b"GET /first HTTP/1.1", b"Host: x")
        case = of(b"POST /a HTTP/1.1", b"Host: x", *asked, length, body=body)
        last = of(b"GET /last HTTP/1.1", b"Host: x")
        data = first.data + case.data + last.data
        for pieces in ((data,), (first.data, case.data, last.data)):
            ours = (await bench.judge(Case(seed=0, data=data, pieces=pieces)))["ours"]
            assert [seen.target for seen in ours.whole] == [b"/first", b"/a", b"/last"]
            assert ours.whole[1].body == body

    judging(check)


def test_a_target_that_is_none_does_not_take_away_the_answer_to_the_request_before_it() -> None:
    async def check(bench: Bench) -> None:
        data = of(b"GET / HTTP/1.1", b"Host: x").data + of(b"GET http:// HTTP/1.1", b"Host: x").data
        ours = (await bench.judge(Case(seed=0, data=data, pieces=(data,))))["ours"]
        assert [seen.target for seen in ours.whole] == [b"/"]
        assert ours.answers.startswith(b"HTTP/1.1 200 ")

    judging(check)


def test_what_a_request_says_of_itself_is_forgotten_with_it() -> None:
    async def check(bench: Bench) -> None:
        first = of(b"POST / HTTP/1.1", b"Host: x", b"Content-Length: 5", b"X: y", body=b"hello")
        last = of(b"GET /last HTTP/1.1", b"Host: x")
        data = first.data + last.data
        for pieces in ((data,), (first.data, last.data)):
            ours = (await bench.judge(Case(seed=0, data=data, pieces=pieces)))["ours"]
            assert ours.whole[1].headers == ((b"host", b"x"),)
            assert ours.whole[1].body == b""

    judging(check)
