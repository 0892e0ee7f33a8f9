"""The system calls for memory without a name: made, sealed, mapped, checked; keeps no state.

Linux has memfds with seals. macOS has POSIX shared memory, whose name goes at once and whose size
can be set only once, so that a peer cannot shrink it either.
"""

import mmap
import os
import secrets
import stat
import sys
from typing import Final

from actors.transport.errors import Unsealed, WrongSize

if sys.platform == "linux":
    import fcntl
elif sys.platform == "darwin":
    import _posixshmem
    import tempfile

__all__ = [
    "PAGE",
    "check",
    "create",
    "create_lockable",
    "discard",
    "fill",
    "map_whole",
    "touch",
    "zero",
]

PAGE: Final = mmap.PAGESIZE
_ZEROS: Final = bytes(1024 * 1024)


def create(size: int) -> int:
    """A descriptor of `size` zero bytes, none of which takes memory before it is touched.

    Nobody can shrink or grow it. It is freed with its last descriptor and mapping.

    Raises:
        OSError: no descriptors left, or shared memory is not to be had.
    """
    fd = _open()
    try:
        os.ftruncate(fd, size)
        if sys.platform == "linux":
            seals = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
            fcntl.fcntl(fd, fcntl.F_ADD_SEALS, seals)
    except BaseException:
        os.close(fd)
        raise
    return fd


if sys.platform == "darwin":

    def _open() -> int:
        name = f"/{secrets.token_hex(12)}"
        fd = _posixshmem.shm_open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL, mode=0o600)
        _posixshmem.shm_unlink(name)
        os.set_inheritable(fd, False)
        return fd

    def create_lockable(size: int) -> int:
        """As `create`, of a file that has no name: shared memory cannot be locked here."""
        with tempfile.TemporaryFile(buffering=0) as file:
            os.ftruncate(file.fileno(), size)
            return os.dup(file.fileno())

else:

    def _open() -> int:
        return os.memfd_create("actors", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)

    def create_lockable(size: int) -> int:
        """As `create`, of memory whose bytes can be locked by `fcntl`."""
        return create(size)


def check(fd: int, size: int | None = None) -> int:
    """What a descriptor from a peer has to be before it is mapped: sealed, and of this size.

    Args:
        fd: the descriptor; it stays open.
        size: its size in bytes; None if any size but none will do.

    Returns:
        its size.

    Raises:
        Unsealed: it is no shared memory, or may shrink, and reading it could kill this process.
        WrongSize: it is not as big as the peer said.
    """
    if sys.platform == "linux":
        _check_seals(fd)
    found = os.fstat(fd).st_size
    if found < 1 or size not in (None, found):
        msg = f"the peer passed a segment of {found} bytes"
        raise WrongSize(msg if size is None else f"{msg} and said {size}")
    return found


def _check_seals(fd: int) -> None:
    wanted = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW
    try:
        seals = fcntl.fcntl(fd, fcntl.F_GET_SEALS)
    except OSError as error:
        kind = stat.filemode(os.fstat(fd).st_mode)[0]
        raise Unsealed(f"the peer passed a descriptor that is no segment ({kind}{fd})") from error
    if seals & wanted != wanted:
        raise Unsealed(f"the peer passed a segment that may change its size (seals {seals:#x})")


def map_whole(fd: int, size: int) -> mmap.mmap:
    """All of it, writable and shared; the caller's descriptor stays the caller's."""
    if sys.version_info >= (3, 13):
        return mmap.mmap(fd, size, trackfd=False)
    else:  # noqa: RET505 - a type checker of 3.13 would find a plain return unreachable
        return mmap.mmap(fd, size)


def fill(fd: int, mapping: mmap.mmap, offset: int, data: memoryview) -> None:
    """Copy `data` to where no memory is yet: past the mapping, at half the price, where that goes.

    Raises:
        OSError: no memory is to be had.
    """
    if sys.platform != "linux":
        memoryview(mapping)[offset : offset + len(data)] = data
        return
    done = 0
    while done < len(data):
        done += os.pwrite(fd, data[done:], offset + done)


def touch(view: memoryview) -> None:
    """Have memory behind every page of `view`; what it held before is damaged."""
    pages = view[::PAGE]
    pages[:] = bytes(len(pages))


def zero(view: memoryview) -> None:
    """Make it all zeros."""
    size = len(view)
    for start in range(0, size, len(_ZEROS)):
        count = min(len(_ZEROS), size - start)
        view[start : start + count] = _ZEROS[:count]


def discard(mapping: mmap.mmap, offset: int, size: int) -> bool:
    """Give the memory behind some whole pages back; they read as zeros then.

    Returns:
        whether the platform does that.
    """
    if sys.platform != "linux":
        return False
    mapping.madvise(mmap.MADV_REMOVE, offset, size)
    return True
