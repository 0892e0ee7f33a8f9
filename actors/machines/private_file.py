"""A file with what nobody else may know: a secret, or a key."""

from __future__ import annotations

import os
import stat

from actors._base.errors import InvalidSpec

__all__ = ["read_private"]


def read_private(path: str | os.PathLike[str], option: str) -> bytes:
    """Return the bytes of a file that others cannot read, of 64 KiB at most.

    Raises:
        InvalidSpec: it cannot be read, or everybody can.
    """
    where = f"{option}={os.fspath(path)!r}"
    try:
        with open(path, "rb") as file:  # noqa: PTH123 - its mode is that of what was opened
            mode = os.fstat(file.fileno()).st_mode
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
