"""WSGI applications that the tests serve."""

import json
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from wsgiref.validate import validator

from tests.routing.apps import happened

Environ = dict[str, Any]
Start = Callable[..., Callable[[bytes], object]]
OK = "200 OK"


def _answer(start: Start, body: bytes, status: str = OK) -> list[bytes]:
    start(status, [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]


def shows(environ: Environ, start: Start) -> list[bytes]:
    """Answer with what of the environment is plain, and with the system."""
    plain = {key: value for key, value in environ.items() if isinstance(value, str | int | tuple)}
    return _answer(start, json.dumps(plain).encode())


def reads(environ: Environ, start: Start) -> list[bytes]:
    """Read the first line, three bytes, the lines of 10 bytes, and the rest."""
    body = environ["wsgi.input"]
    first, three, lines = body.readline(), body.read(3), body.readlines(10)
    rest = b"".join(body)
    return _answer(start, b"%r %r %r %d" % (first, three, lines, len(rest)))


def _strict(environ: Environ, start: Start) -> list[bytes]:
    size = len(environ["wsgi.input"].read(1 << 20))
    return _answer(start, b"read %d" % size)


strict = validator(_strict)


class Endless:
    """Parts without an end; says when it is closed."""

    def __iter__(self) -> Iterator[bytes]:
        while True:
            yield b"x" * 65536

    def close(self) -> None:
        happened.append(f"closed in {threading.current_thread().name.partition('_')[0]}")


def endless(environ: Environ, start: Start) -> Iterable[bytes]:
    if environ["PATH_INFO"] == "/short":
        return _answer(start, b"short")
    start(OK, [])
    return Endless()


def cut_off(environ: Environ, start: Start) -> list[bytes]:
    """Note how the reading of a body ended."""
    try:
        environ["wsgi.input"].read()
    except OSError as error:
        happened.append(str(error))
        raise
    return _answer(start, b"whole")


def odd(environ: Environ, start: Start) -> Iterable[bytes]:
    """Do what its path says."""
    path = environ["PATH_INFO"]
    if path == "/raises":
        raise LookupError("as the test wants it")
    if path == "/silent":
        return [b"no head"]
    if path == "/twice":
        start(OK, [])
        start(OK, [])
    if path == "/replaced":
        start(OK, [])
        start("503 Not Now", [], (LookupError, LookupError("replaced"), None))
    if path == "/writes":
        write = start(OK, [])
        write(b"one ")
        write(b"two ")
    if path == "/parts":
        start(OK, [])
        return (part for part in (b"", b"a", b"", b"b"))
    return [b"three"]


def blocks(environ: Environ, start: Start) -> list[bytes]:
    """Wait for ever, unless the path is /short."""
    if environ["PATH_INFO"] != "/short":
        released.wait()
    return _answer(start, b"short")


released = threading.Event()
