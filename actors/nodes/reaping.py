"""The end of a child process: what is left of its process group is killed, and it is reaped.

Rule: whoever else has reaped it meanwhile, no process that has its number now is touched.
"""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path

__all__ = ["sweep_and_reap"]


def sweep_and_reap(pid: int, pidfd: int) -> int | None:
    """End what is left of the group of an ended process, and reap it.

    Returns:
        Its exit code or minus its signal, None if code of the user's has reaped it.
    """
    try:
        # Checked before it is reaped: until then no other process can get its pid.
        os.waitid(os.P_PIDFD, pidfd, os.WEXITED | os.WNOWAIT)
    except ChildProcessError:
        if not Path(f"/proc/{pid}").exists():  # while its group lives, no process gets its number
            _kill_group(pid)
        return None
    _kill_group(pid)
    try:
        result = os.waitid(os.P_PIDFD, pidfd, os.WEXITED)
    except ChildProcessError:  # another thread was faster
        return None
    assert result is not None, "it waits for an end"
    return result.si_status if result.si_code == os.CLD_EXITED else -result.si_status


def _kill_group(number: int) -> None:
    with suppress(ProcessLookupError, PermissionError):  # nothing of it is left
        os.killpg(number, signal.SIGKILL)
