"""What is written to descriptors 1 and 2 of this process past Python: by C code, and by what it starts.

Rule 1: a thread reads it, at any time between `take_descriptors` and the end of its block, and all of it.
Rule 2: whoever writes waits for that thread alone, never for the reader of the log. C code that keeps the
interpreter's lock can write as much as the pipe holds, 1 MiB where that may be had, before it would wait.
Rule 3: when the interpreter crashes no thread runs any more: its stacks go to standard error itself.
"""

from __future__ import annotations

import codecs
import fcntl
import os
import select
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

from actors._base.fault_handler import faulthandler

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["take_descriptors"]

_ROOM: Final = 1 << 20
_CHUNK: Final = 65536
_HIGH: Final = 10
"""The lowest number of the descriptors that stand for the real ones, out of the way of programs' own."""
_STDERR: Final = 2


@contextmanager
def take_descriptors(
    numbers: list[int], take: Callable[[str], object], done: Callable[[], object]
) -> Iterator[dict[int, int]]:
    """Give *take* what is written to some descriptors, within the block; from a thread.

    Args:
        numbers: of 1 and 2 those that are taken.
        take: is given the text, in parts of any length.
        done: is called when all has been taken and the numbers are again what they were before.

    Yields:
        By the number of each that is taken, a descriptor of what it was before.
    """
    real = {fd: fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _HIGH) for fd in numbers}
    reading, writing = os.pipe()
    with suppress(OSError):  # this user has no more room for pipes
        fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, _ROOM)
    stopping, stop = os.pipe()
    for fd in numbers:
        os.dup2(writing, fd)
    os.close(writing)
    thread = threading.Thread(
        target=_read, args=(reading, stopping, take), name="actors output", daemon=True
    )
    thread.start()
    before = faulthandler is not None and faulthandler.is_enabled()
    if faulthandler is not None:
        faulthandler.enable(real.get(_STDERR, _STDERR))
    try:
        yield real
    finally:
        if before:
            faulthandler.enable(_STDERR)
        elif faulthandler is not None:
            faulthandler.disable()
        for fd, was in real.items():
            os.dup2(was, fd)
        os.write(stop, b"\0")  # closed alone it would stay open in what a user's module has forked
        os.close(stop)
        thread.join()
        done()
        for fd in (reading, stopping, *real.values()):
            os.close(fd)


def _read(fd: int, stopping: int, take: Callable[[str], object]) -> None:
    """Read until nobody can write any more, or *stopping* can be read: then what the pipe holds.

    No more than that: a program that outlives the system may write for ever.
    """
    decoder = codecs.getincrementaldecoder("utf-8")("backslashreplace")
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    poll.register(stopping, select.POLLIN)
    left = _ROOM
    while left > 0:
        ready = {number for number, _ in poll.poll()}
        data = os.read(fd, _CHUNK) if fd in ready else b""
        take(decoder.decode(data, final=not data))
        if not data:
            return
        if stopping in ready:
            left -= len(data)
