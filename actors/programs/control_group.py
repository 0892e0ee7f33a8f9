"""Control groups (cgroup v2) for programs, where this process may make them.

Each instance has one, below one of the system's own: whatever its processes do, they cannot leave it, so that
all of them are found, counted and ended. It limits memory and CPU where the kernel's controllers are free.
Rule: everything here reads and writes files of the kernel, and runs in the programs' threads.
"""

from __future__ import annotations

import fcntl
import os
import signal
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex
from typing import Final

__all__ = ["ControlGroup", "SystemGroup", "open_system_group"]

_PREFIX: Final = "actors-"
_PERIOD: Final = 100_000
"""Microseconds in which a CPU limit is measured."""
_EMPTY_WITHIN: Final = 2.0
_PAUSE: Final = 0.002
_TYPE: Final = "cgroup2"


@dataclass(frozen=True, slots=True)
class ControlGroup:
    """The control group of one process of an instance and of all that it starts."""

    folder: Path

    def add(self, pid: int) -> None:
        """Put a process into it.

        Raises:
            OSError: it has ended, or may not be moved.
        """
        (self.folder / "cgroup.procs").write_text(str(pid))

    def open(self) -> int:
        """Return a descriptor of its folder, in which a process can begin.

        Raises:
            OSError: it is gone.
        """
        return os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def pids(self) -> list[int]:
        """Return the processes in it."""
        try:
            return [int(pid) for pid in (self.folder / "cgroup.procs").read_text().split()]
        except OSError:
            return []

    def usage(self) -> tuple[float | None, int | None]:
        """Return the CPU seconds and the bytes of memory that it has used, as far as that is counted."""
        seconds: float | None = None
        size: int | None = None
        with suppress(OSError, ValueError, IndexError):
            seconds = int((self.folder / "cpu.stat").read_text().split()[1]) / 1e6
        with suppress(OSError, ValueError):
            size = int((self.folder / "memory.current").read_text())
        return seconds, size

    def out_of_memory(self) -> bool:
        """Return whether the kernel has killed a process in it for its memory limit."""
        with suppress(OSError):
            words = (self.folder / "memory.events").read_text().split()
            return "oom_kill" in words and words[words.index("oom_kill") + 1] != "0"
        return False

    def kill(self) -> None:
        """Kill every process in it."""
        try:
            (self.folder / "cgroup.kill").write_text("1")
        except OSError:  # before Linux 5.14, or it is gone
            for pid in self.pids():
                with suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)

    def remove(self) -> None:
        """Kill what is in it, and remove it when that has ended."""
        until = time.monotonic() + _EMPTY_WITHIN
        while self.folder.is_dir():
            try:
                self.folder.rmdir()
            except FileNotFoundError:
                return
            except OSError:
                if time.monotonic() > until:
                    return  # what is in it waits in the kernel; the next start tries again
                self.kill()
                time.sleep(_PAUSE)


@dataclass(frozen=True, slots=True)
class SystemGroup:
    """The control group that has those of all instances.

    Attributes:
        folder: where it is.
        lock: a descriptor that has it locked for as long as the system runs.
        controllers: those that can limit an instance: ``memory``, ``cpu``.
    """

    folder: Path
    lock: int
    controllers: frozenset[str]

    def make(self, name: str, max_memory: int | None, max_cpus: float | None) -> ControlGroup:
        """Make the group of one process of an instance.

        Raises:
            OSError: the kernel refuses.
        """
        # A name is any letters; in some locales a path has only those of ASCII as text.
        group = ControlGroup(self.folder / os.fsdecode(name.encode()))
        group.folder.mkdir()
        if max_memory is not None and "memory" in self.controllers:
            (group.folder / "memory.max").write_text(str(max_memory))
            with suppress(OSError):  # no swap, or an old kernel
                (group.folder / "memory.swap.max").write_text("0")
            with suppress(OSError):
                (group.folder / "memory.oom.group").write_text("1")
        if max_cpus is not None and "cpu" in self.controllers:
            (group.folder / "cpu.max").write_text(f"{round(max_cpus * _PERIOD)} {_PERIOD}")
        return group

    def close(self) -> None:
        """End what is in it, and remove it."""
        _remove_tree(self.folder)
        os.close(self.lock)


def open_system_group(ours: frozenset[int]) -> SystemGroup | str:
    """Make a control group for the programs of this process; or return why there can be none.

    Args:
        ours: the numbers of the processes of this system, which may be moved.
    """
    own = _own_folder()
    if own is None:
        return "no cgroup v2 is mounted"
    _remove_stale(own)
    folder = own / f"{_PREFIX}{os.getpid()}-{token_hex(4)}"
    try:
        folder.mkdir()
        lock = _locked(folder)
    except OSError as error:
        return f"no control group can be made below {own}: {error.strerror}"
    return SystemGroup(folder, lock, _enable(own, folder, ours))


def _locked(folder: Path) -> int:
    """Lock a folder, and return the descriptor that has the lock.

    Raises:
        OSError: another process has locked it, or it is gone.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _own_folder() -> Path | None:
    """Return the folder of this process's own control group."""
    try:
        # Folders have names of any bytes; the kernel escapes the end of a line in them.
        lines = os.fsdecode(Path("/proc/self/cgroup").read_bytes()).split("\n")
        mounts = os.fsdecode(Path("/proc/self/mountinfo").read_bytes()).split("\n")
    except OSError:
        return None
    path = next((line[3:] for line in lines if line.startswith("0::")), None)
    for mount in mounts:
        before, _, after = mount.partition(" - ")
        if path is not None and after.startswith(f"{_TYPE} "):
            root, point = before.split()[3:5]
            below = path.removeprefix(root) if root != "/" else path
            folder = Path(point) / below.lstrip("/")
            return folder if folder.is_dir() else None
    return None


def _enable(own: Path, folder: Path, ours: frozenset[int]) -> frozenset[str]:
    """Have the kernel limit what is below *folder*; return by which controllers it does."""
    wanted = [name for name in ("memory", "cpu") if name in _words(own / "cgroup.controllers")]
    for name in wanted:
        _switch_on(own, name)
    if set(wanted) - _words(own / "cgroup.subtree_control"):
        # Only a group without processes of its own may limit those below it.
        _move_ours(own, folder, ours)
    for name in wanted:
        _switch_on(own, name)
        _switch_on(folder, name)
    return frozenset(wanted) & _words(folder / "cgroup.subtree_control")


def _switch_on(folder: Path, controller: str) -> None:
    with suppress(OSError):
        (folder / "cgroup.subtree_control").write_text(f"+{controller}")


def _move_ours(own: Path, folder: Path, ours: frozenset[int]) -> None:
    """Move the processes of a group that was delegated to this system, and has no others, below it."""
    there = {int(pid) for pid in _words(own / "cgroup.procs")}
    if not there or not there <= ours:
        return
    system = folder / "system"
    with suppress(OSError):
        system.mkdir(exist_ok=True)
        for pid in there:
            (system / "cgroup.procs").write_text(str(pid))


def _words(file: Path) -> set[str]:
    try:
        return set(file.read_text().split())
    except OSError:
        return set()


def _remove_stale(own: Path) -> None:
    """End what systems have left whose process was killed: nobody has their groups locked any more."""
    for folder in own.glob(f"{_PREFIX}*-*"):
        with suppress(OSError):  # its system runs
            lock = _locked(folder)
            _remove_tree(folder)
            os.close(lock)


def _remove_tree(folder: Path) -> None:
    with suppress(OSError):
        for inner in folder.iterdir():
            if inner.is_dir():
                ControlGroup(inner).remove()
    ControlGroup(folder).remove()
