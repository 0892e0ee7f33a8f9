"""A file with what nobody else may know: a secret, or a key."""

from __future__ import annotations

import os
import stat

from actors._base.errors import InvalidSpec

__all__ = ["read_private"]


def read_private(path: str | os.PathLike[str], option: str) -> bytes:
    """Return the bytes of a file that others cannot read, of 64 KiB at most.

    A pipe is none: it is read to its end by the first who looks, and a secret is read at each try to join.

    Raises:
        InvalidSpec: it cannot be read, it is no regular file, or everybody can read it.
    """
    where = f"{option}={os.fspath(path)!r}"
    try:
        # Its mode is that of what was opened; and to open a named pipe would wait for somebody who writes.
        with open(path, "rb", opener=_open_at_once) as file:
            mode = os.fstat(file.fileno()).st_mode
            data = file.read(1 << 16) if stat.S_ISREG(mode) else b""
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InvalidSpec(f"{where} cannot be read: {reason}") from error
    if not stat.S_ISREG(mode):
        raise InvalidSpec(f"{where} is no regular file")
    if mode & stat.S_IRWXO:
        raise InvalidSpec(
            f"{where} has mode {stat.S_IMODE(mode):04o}, which lets everybody on its machine at it: "
            "`chmod 600` it"
        )
    return data


def _open_at_once(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)
