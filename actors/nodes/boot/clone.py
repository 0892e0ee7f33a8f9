"""A fork whose child is a sibling: a child of our parent, not of us.

`fork` cannot do that, `clone(CLONE_PARENT)` can; what `fork` does for Python and the C library is done
here by hand. Only for a process with one thread and no event loop, which is not checked here.
"""

from __future__ import annotations

import ctypes
import os
import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["SUPPORTED_MACHINES", "new_sibling_fork"]

_CLONE_CHILD_CLEARTID: Final = 0x00200000
_CLONE_CHILD_SETTID: Final = 0x01000000
_CLONE_PARENT: Final = 0x00008000
_PR_GET_TID_ADDRESS: Final = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class _Calls:
    """Numbers of system calls, and which argument of `clone` is the child's thread number."""

    clone: int
    get_robust_list: int
    set_robust_list: int
    child_tid: int


_CALLS: Final = {
    "x86_64": _Calls(clone=56, get_robust_list=274, set_robust_list=273, child_tid=3),
    "aarch64": _Calls(clone=220, get_robust_list=100, set_robust_list=99, child_tid=4),
}
SUPPORTED_MACHINES: Final = frozenset(_CALLS)


def new_sibling_fork() -> Callable[[], int]:
    """Return a function like `os.fork`, whose child is a child of our parent.

    Raises:
        KeyError: the system call numbers of this machine are not in the table.
        OSError: the kernel does not return what is needed.
    """
    calls = _CALLS[os.uname().machine]
    # These calls keep the interpreter's lock, so that no Python code runs in between.
    python = ctypes.pythonapi
    library = ctypes.PyDLL(None, use_errno=True)
    syscall = library.syscall
    syscall.restype = ctypes.c_long
    syscall.argtypes = [ctypes.c_long] * 6
    before, in_child, in_parent = (
        python.PyOS_BeforeFork,
        python.PyOS_AfterFork_Child,
        python.PyOS_AfterFork_Parent,
    )
    for function in (before, in_child, in_parent):
        function.restype = None
        function.argtypes = []
    # The C library keeps its main thread's number, which `fork` sets anew in the child, and the list of
    # its robust locks, which a new process has to register again.
    numbers = [_CLONE_PARENT | _CLONE_CHILD_SETTID | _CLONE_CHILD_CLEARTID | signal.SIGCHLD]
    numbers += [0] * 4
    numbers[calls.child_tid] = _tid_address(library)
    head, length = ctypes.c_long(), ctypes.c_long()
    _checked(
        syscall(calls.get_robust_list, 0, ctypes.addressof(head), ctypes.addressof(length), 0, 0)
    )
    clone = (calls.clone, *numbers)
    robust = (calls.set_robust_list, head.value, length.value, 0, 0, 0)

    def fork() -> int:
        before()
        pid: int = syscall(*clone)
        if pid == 0:
            in_child()
            syscall(*robust)
        else:
            in_parent()
        return _checked(pid)

    return fork


def _tid_address(library: ctypes.PyDLL) -> int:
    """Return where the C library keeps the number of the main thread."""
    cleared = ctypes.c_void_p()
    _checked(library.prctl(_PR_GET_TID_ADDRESS, ctypes.byref(cleared), 0, 0, 0))
    # Checked, because a write to any other address would crash every child.
    for address in (cleared.value, _tid_of_debuggers(library)):
        if address and ctypes.c_int.from_address(address).value == os.getpid():
            return address
    raise OSError("where the C library keeps its thread's number is not known")


def _tid_of_debuggers(library: ctypes.PyDLL) -> int | None:
    """Return where glibc tells debuggers that it is; from 2.43 on the kernel is shown another place."""
    try:
        _, _, offset = (ctypes.c_uint32 * 3).in_dll(library, "_thread_db_pthread_tid")
    except ValueError:
        return None
    library.pthread_self.restype = ctypes.c_void_p
    thread: int = library.pthread_self()
    return thread + offset


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
