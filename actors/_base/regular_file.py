"""Opens a file that a user has named, without waiting for anybody."""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from io import BufferedReader

__all__ = ["open_regular"]


def open_regular(path: str | os.PathLike[str]) -> BufferedReader:
    """Open a file to read it, which has to be a regular one.

    A named pipe would wait for somebody who writes, it is read to its end by the first who looks, and a device
    may have no end.

    Raises:
        OSError: it cannot be read, or is no regular file.
        ValueError: no file can be called that.
    """
    file = open(path, "rb", opener=_open_at_once)  # noqa: SIM115 - the caller closes it
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise OSError(errno.EINVAL, "it is no regular file")
    return file


def _open_at_once(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK | os.O_NOCTTY)
