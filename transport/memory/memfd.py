"""System calls for anonymous shared memory: create, seal, map, check; keeps no state.

Linux has memfds with seals. On macOS we use POSIX shared memory: its name is removed at once, and its size
can be set only once, so that a peer cannot shrink it.
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
    "whole_pages",
    "zero",
]

PAGE: Final = mmap.PAGESIZE
_ZEROS: Final = bytes(1024 * 1024)


def whole_pages(size: int) -> int:
    """`size` rounded up to whole pages."""
    return -(-size // PAGE) * PAGE


def create(size: int) -> int:
    """A descriptor of `size` zero bytes that nobody can shrink or grow.

    A page takes memory when it is first touched. All is freed with the last descriptor and mapping.

    Raises:
        OSError: no descriptors left, or no shared memory available.
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
        """As `create`, but an unlinked file: shared memory cannot be locked on macOS."""
        with tempfile.TemporaryFile(buffering=0) as file:
            os.ftruncate(file.fileno(), size)
            return os.dup(file.fileno())

else:

    def _open() -> int:
        return os.memfd_create("actors", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)

    def create_lockable(size: int) -> int:
        """As `create`; its bytes can be locked by `fcntl`."""
        return create(size)


def check(fd: int, size: int | None = None) -> int:
    """Check a descriptor from a peer before it is mapped: it is sealed and has this size.

    Args:
        fd: the descriptor; it stays open.
        size: the size the peer said, in bytes; None allows any from 1 up.

    Returns:
        its size.

    Raises:
        Unsealed: it is not shared memory, or it may shrink: then reading it could kill this process.
        WrongSize: it has another size.
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


def map_whole(fd: int, size: int, *, writable: bool = True) -> mmap.mmap:
    """A shared mapping of the whole; the caller still owns the descriptor."""
    protection = mmap.PROT_READ | (mmap.PROT_WRITE if writable else 0)
    if sys.version_info >= (3, 13):
        return mmap.mmap(fd, size, prot=protection, trackfd=False)
    else:  # noqa: RET505 - a type checker of 3.13 would find a plain return unreachable
        return mmap.mmap(fd, size, prot=protection)


def fill(fd: int, mapping: mmap.mmap, offset: int, data: memoryview) -> None:
    """Copy `data` to pages without memory; on Linux by `pwrite`, at half the cost of a page fault.

    Raises:
        OSError: no memory available.
    """
    if sys.platform != "linux":
        memoryview(mapping)[offset : offset + len(data)] = data
        return
    done = 0
    while done < len(data):
        done += os.pwrite(fd, data[done:], offset + done)


def touch(view: memoryview) -> None:
    """Give every page of `view` memory by writing to it; this destroys its content."""
    pages = view[::PAGE]
    pages[:] = bytes(len(pages))


def zero(view: memoryview) -> None:
    """Fill `view` with zeros."""
    size = len(view)
    for start in range(0, size, len(_ZEROS)):
        count = min(len(_ZEROS), size - start)
        view[start : start + count] = _ZEROS[:count]


def discard(mapping: mmap.mmap, offset: int, size: int) -> bool:
    """Return the memory of some whole pages to the system; they read as zeros afterwards.

    Returns:
        whether the platform can do that.
    """
    if sys.platform != "linux":
        return False
    mapping.madvise(mmap.MADV_REMOVE, offset, size)
    return True
