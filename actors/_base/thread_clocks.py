"""The CPU time of threads of this process, which may end at any moment.

`time.pthread_getcpuclockid` reads memory of the thread that it is asked for, which is gone when that has
ended, and so may end the process. The kernel's own number of a thread can be asked for at any time.
"""

from __future__ import annotations

import threading
import time
from typing import Final

__all__ = ["cpu_of_thread"]

_CPU_OF_ONE_THREAD: Final = 0b110
"""Of the number of a clock: CPUCLOCK_SCHED of one thread, as in posix-timers_types.h of Linux."""


def cpu_of_thread(ident: int) -> float:
    """Return the CPU seconds that a thread of this interpreter has used.

    Args:
        ident: its number, as of `threading.get_ident`.

    Returns:
        0.0 for one that has ended, and for one of a library that `threading` knows nothing of.
    """
    if ident == threading.get_ident():
        return time.thread_time()
    # The lock of `threading.enumerate` may be held by what a signal interrupts.
    thread = threading._active.get(ident)  # type: ignore[attr-defined] # noqa: SLF001
    if thread is None or thread.native_id is None:
        return 0.0
    try:
        return time.clock_gettime(~thread.native_id << 3 | _CPU_OF_ONE_THREAD)
    except OSError:
        return 0.0
