"""The folder of the control sockets: one for each user, which no other user may enter.

Rule 1: a folder that another user owns or may enter is refused; its mode is not changed.
Rule 2: a system removes its socket; after a crash the next system that starts does.
"""

from __future__ import annotations

import os
import re
import socket
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from actors._root_errors import ActorsError

__all__ = [
    "NAME",
    "BadFolder",
    "ControlSocket",
    "NoFolder",
    "control_folder",
    "control_sockets",
    "is_listened_on",
    "make_folder",
    "remove_stale_sockets",
    "socket_path",
]

NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,31}")
"""The names that systems may have."""
_SOCKET: Final = re.compile(rf"([0-9]{{1,9}})(?:-([0-9]{{1,6}}|{NAME.pattern}))?\.sock")
_LONGEST_PATH: Final = 107
"""Bytes: the size of `sun_path` on Linux, less its final zero."""


class BadFolder(ActorsError):
    """The control folder cannot be used, for instance because others may enter it."""


class NoFolder(BadFolder):
    """There is no control folder here, and none can be made: a system runs without a control socket."""


def control_folder() -> Path:
    """Return the folder of this user's control sockets; it need not exist."""
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    if os.path.isabs(runtime) and os.path.isdir(runtime):  # noqa: PTH112, PTH117 - Path's raise for a long one
        return Path(runtime) / "actors"
    return Path(f"/tmp/actors-{os.geteuid()}")  # noqa: S108 - owner and mode are checked before use


def _check_folder(folder: Path) -> bool:
    """Return whether *folder* exists.

    Raises:
        BadFolder: it is not a folder, or other users may enter it.
    """
    try:
        facts = folder.lstat()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise NoFolder(f"cannot look at the control folder {folder}: {error}") from error
    mode = stat.S_IMODE(facts.st_mode)
    problem = ""
    if not stat.S_ISDIR(facts.st_mode):
        problem = "is no directory"
    elif facts.st_uid != os.geteuid():
        problem = f"belongs to uid {facts.st_uid}, not to you (uid {os.geteuid()})"
    elif mode & 0o077:
        problem = f"has mode {mode:04o}, so that others can enter it"
    if problem:
        raise BadFolder(
            f"the control folder {folder} {problem}: remove it, or set XDG_RUNTIME_DIR to a folder "
            "that is yours alone"
        )
    return True


def make_folder(folder: Path) -> None:
    """Make *folder*, or check the one that is there.

    Raises:
        NoFolder: it cannot be made.
        BadFolder: others may enter it, or its path is too long for sockets.
    """
    longest = len(os.fsencode(socket_path(folder, 2**22)))
    if longest > _LONGEST_PATH:
        raise BadFolder(
            f"the control folder {folder} is too long for a socket path ({longest} of {_LONGEST_PATH} "
            "bytes): set XDG_RUNTIME_DIR to a shorter one"
        )
    if _check_folder(folder):
        return
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        pass  # made by another system that starts at the same time
    except OSError as error:
        raise NoFolder(f"cannot make the control folder {folder}: {error}") from error
    _check_folder(folder)


class ControlSocket(NamedTuple):
    """Where a system is asked.

    Attributes:
        pid: its process.
        name: which of the systems of that process; "" for the first that has no name of its own.
        path: the socket.
    """

    pid: int
    name: str
    path: Path

    @property
    def label(self) -> str:
        """What `--pid` takes for it."""
        return f"{self.pid}-{self.name}" if self.name else str(self.pid)


def socket_path(folder: Path, pid: int, name: str = "") -> Path:
    """Return the control socket of the system of a name in process *pid*."""
    return folder / f"{pid}-{name}.sock" if name else folder / f"{pid}.sock"


def control_sockets(folder: Path) -> Iterator[ControlSocket]:
    """Give the sockets in *folder*, stale ones too, in the order of the pids.

    Raises:
        NoFolder: the folder cannot be read.
        BadFolder: others may enter it.
    """
    if not _check_folder(folder):
        return
    try:
        found = [(_SOCKET.fullmatch(path.name), path) for path in folder.iterdir()]
    except OSError as error:
        raise NoFolder(f"cannot read the control folder {folder}: {error}") from error
    yield from sorted(
        ControlSocket(int(match[1]), match[2] or "", path) for match, path in found if match
    )


def remove_stale_sockets(folder: Path) -> None:
    """Remove the sockets of processes that have ended."""
    for pid, _, path in control_sockets(folder):
        if not _is_running(pid) and not is_listened_on(path):
            with suppress(OSError):  # it is a folder, or the file system is read-only
                path.unlink()


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return (
            True  # another user's process, or a number too large for a pid: leave its socket alone
        )
    return True


def is_listened_on(path: Path) -> bool:
    """Return whether a process listens there: it may be in another container, where pids differ."""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.setblocking(False)
        try:
            probe.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            return False  # no socket, or one whose process has ended
        except OSError:
            return True  # its queue is full: somebody listens
    return True
