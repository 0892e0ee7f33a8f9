"""The memory and CPU limits of instances, and by what they are kept: control groups, or what there is else.

Rule: what reads and writes the kernel's files is called in the programs' threads.
"""

from __future__ import annotations

import math
import os
import resource
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from actors.programs.control_group import ControlGroup, SystemGroup, open_system_group

__all__ = ["ProgramLimits"]

_MIB: Final = 1024 * 1024


class ProgramLimits:
    """Keeps the processes of programs within their limits, and in control groups where that is allowed.

    Args:
        ours: returns the numbers of the processes of the system, which may be moved.

    Attributes:
        missing: why there are no control groups; empty while there are, or nothing was started.
    """

    def __init__(self, ours: Callable[[], set[int]]) -> None:
        self._ours = ours
        self._group: SystemGroup | None = None
        self._opened = False
        self._made = 0
        self._lock = threading.Lock()
        self.missing: str = ""

    def group_for(
        self, name: str, max_memory: int | None, max_cpus: float | None
    ) -> ControlGroup | None:
        """Make the control group of a process that is about to start; None if there can be none.

        Args:
            name: of the instance.
            max_memory: bytes that the group may use.
            max_cpus: how many CPUs it may keep busy.
        """
        with self._lock:
            self._open()
            self._made += 1
            number = self._made
        if self._group is None:
            return None
        try:
            return self._group.make(f"{name.replace('/', '.')}.{number}", max_memory, max_cpus)
        except OSError:
            return None

    def confine(
        self, pid: int, slot: int, max_memory: int | None, max_cpus: float | None, *, grouped: bool
    ) -> None:
        """Limit a process that has just started, where its control group does not.

        Args:
            pid: the process.
            slot: of the instance: not all are bound to the same CPUs.
            max_memory: bytes.
            max_cpus: how many CPUs.
            grouped: whether it is in a control group.
        """
        limited = self._controllers if grouped else frozenset[str]()
        with suppress(ProcessLookupError, PermissionError):  # it has ended, or is another user's
            if max_memory is not None and "memory" not in limited:
                resource.prlimit(pid, resource.RLIMIT_DATA, (max_memory, max_memory))
            if max_cpus is not None and "cpu" not in limited:
                os.sched_setaffinity(pid, _cpus(slot, max_cpus))

    def described(self, max_memory: int | None, max_cpus: float | None) -> str:
        """Return the limits in words, and by what they are kept."""
        found = []
        if max_memory is not None:
            by_group = "memory" in self._controllers
            how = "its control group" if by_group else "RLIMIT_DATA, for each process"
            found.append(f"{max_memory / _MIB:g} MiB by {how}")
        if max_cpus is not None:
            cpus = math.ceil(max_cpus)
            bound = f"affinity to {cpus} {'CPU' if cpus == 1 else 'CPUs'}"
            by_group = "cpu" in self._controllers
            found.append(f"{max_cpus:g} CPUs by {'its control group' if by_group else bound}")
        return ", ".join(found)

    def close(self) -> None:
        """Remove the groups."""
        group, self._group = self._group, None
        if group is not None:
            group.close()

    @property
    def _controllers(self) -> frozenset[str]:
        return frozenset() if self._group is None else self._group.controllers

    def _open(self) -> None:
        if self._opened:
            return
        self._opened = True
        found = open_system_group(frozenset({os.getpid(), *self._ours()}))
        if isinstance(found, str):
            self.missing = found
        else:
            self._group = found


def _cpus(slot: int, max_cpus: float) -> set[int]:
    """Return as many CPUs of this process as that needs, others for each slot."""
    usable = sorted(os.sched_getaffinity(0))
    count = min(len(usable), math.ceil(max_cpus))
    return {usable[(slot * count + number) % len(usable)] for number in range(count)}
