"""A file with what nobody else may know: a secret, or a key."""

from __future__ import annotations

import os
import stat

from actors._base.errors import InvalidSpec
from actors._base.regular_file import open_regular

__all__ = ["read_private"]


def read_private(path: str | os.PathLike[str], option: str) -> bytes:
    """Return the bytes of a file that others cannot read, of 64 KiB at most.

    Raises:
        InvalidSpec: it cannot be read, it is no regular file, or everybody can read it.
    """
    where = f"{option}={os.fspath(path)!r}"
    try:
        with open_regular(path) as file:
            mode = os.fstat(file.fileno()).st_mode  # of what was opened
            data = file.read(1 << 16)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InvalidSpec(f"{where} cannot be read: {reason}") from error
    if mode & stat.S_IRWXO:
        raise InvalidSpec(
            f"{where} has mode {stat.S_IMODE(mode):04o}, which lets everybody on its machine at it: "
            "`chmod 600` it"
        )
    return data
