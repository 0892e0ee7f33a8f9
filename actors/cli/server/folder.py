"""Where control sockets live: one folder per user, for that user's eyes alone.

Rule 1: a folder that somebody else owns or may enter is refused, never mended.
Rule 2: a socket is removed by its own system, or at the next start once its process is dead.
"""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from actors.cli._failure import CommandFailed

__all__ = ["control_folder", "make_folder", "remove_stale", "socket_path", "sockets"]

_LONGEST: Final = 107
"""Bytes of a Unix socket path: sun_path with its closing zero, on Linux."""


def control_folder() -> Path:
    """Return the folder of this user's control sockets; it may not exist yet."""
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    if Path(runtime).is_absolute() and Path(runtime).is_dir():
        return Path(runtime) / "actors"
    return Path(f"/tmp/actors-{os.geteuid()}")  # noqa: S108 - owner and mode are checked before use


def check_folder(folder: Path) -> bool:
    """Return whether *folder* exists.

    Raises:
        CommandFailed: others could enter it, or put something there.
    """
    try:
        facts = folder.lstat()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise CommandFailed(f"cannot look at the control folder {folder}: {error}") from error
    mode = stat.S_IMODE(facts.st_mode)
    problem = ""
    if not stat.S_ISDIR(facts.st_mode):
        problem = "is no directory"
    elif facts.st_uid != os.geteuid():
        problem = f"belongs to uid {facts.st_uid}, not to you (uid {os.geteuid()})"
    elif mode & 0o077:
        problem = f"has mode {mode:04o}, so that others can enter it"
    if problem:
        raise CommandFailed(
            f"the control folder {folder} {problem}: remove it, or set XDG_RUNTIME_DIR to a folder "
            "that is yours alone"
        )
    return True


def make_folder(folder: Path) -> None:
    """Make *folder*, or check the one that is there.

    Raises:
        CommandFailed: it cannot be made, is unsafe, or its path is too long for sockets.
    """
    longest = len(os.fsencode(socket_path(folder, 2**22)))
    if longest > _LONGEST:
        raise CommandFailed(
            f"the control folder {folder} is too long for a socket path ({longest} of {_LONGEST} "
            "bytes): set XDG_RUNTIME_DIR to a shorter one"
        )
    if check_folder(folder):
        return
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        pass  # another system starts at the same time
    except OSError as error:
        raise CommandFailed(f"cannot make the control folder {folder}: {error}") from error
    check_folder(folder)


def socket_path(folder: Path, pid: int) -> Path:
    """Return the control socket of the system in process *pid*."""
    return folder / f"{pid}.sock"


def sockets(folder: Path) -> Iterator[tuple[int, Path]]:
    """Give the control sockets in *folder* with their pids, stale ones too, by pid."""
    if not check_folder(folder):
        return
    found = [path for path in folder.glob("*.sock") if path.stem.isascii() and path.stem.isdigit()]
    yield from sorted((int(path.stem), path) for path in found)


def remove_stale(folder: Path) -> None:
    """Remove the sockets of systems that are dead."""
    for pid, path in sockets(folder):
        if not _alive(pid) and not _answered(path):
            path.unlink(missing_ok=True)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True  # somebody else's, or beyond what a pid can be: not ours to judge
    return True


def _answered(path: Path) -> bool:
    """Return whether somebody listens there: a pid means nothing across containers."""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.setblocking(False)
        try:
            probe.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        except OSError:
            return True  # too busy to take us is alive
    return True
