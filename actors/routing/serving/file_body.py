"""A file as the body of a response, for ``http.response.pathsend``.

Rule 1: what the kernel has in memory is read at once; what it has to fetch is read in a thread, so that a
slow disk holds up this response alone.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from functools import partial
from typing import Final, Self

import anyio.to_thread

__all__ = ["FileBody"]

_PART: Final = 256 * 1024
_AT_ONCE: Final = getattr(os, "RWF_NOWAIT", None)


class FileBody:
    """An open file; use it as a context manager.

    Raises:
        OSError: it cannot be opened.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self.size: int = os.fstat(self._fd).st_size

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)

    async def parts(self) -> AsyncIterator[bytes]:
        """Yield the file in parts of at most 256 KiB, up to the size it had when it was opened."""
        at = 0
        while at < self.size:
            size = min(_PART, self.size - at)
            part = self._in_memory(size, at)
            if part is None:
                read = partial(os.pread, self._fd, size, at)
                part = await anyio.to_thread.run_sync(read)
            if not part:
                return
            at += len(part)
            yield part

    def _in_memory(self, size: int, at: int) -> bytes | None:
        """Return what of the file need not be fetched from a disk; None if that is nothing."""
        if _AT_ONCE is None:
            return None
        room = bytearray(size)
        try:
            count = os.preadv(self._fd, [room], at, _AT_ONCE)
        except OSError:  # it is not in memory, or its file system cannot tell
            return None
        return bytes(memoryview(room)[:count]) or None
