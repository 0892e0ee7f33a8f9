"""What the kernel says of a process, or of one of its threads, in the file `stat`."""

from __future__ import annotations

from pathlib import Path

__all__ = ["process_stat"]


def process_stat(pid: int | str) -> list[str]:
    """Return the fields from the state on: state, parent, group, session, and so on, as in proc_pid_stat(5).

    The name before them is left out. It is any bytes: with brackets, spaces, or half a character of UTF-8,
    as the kernel keeps 15 bytes of it.

    Args:
        pid: of the process; ``f"{pid}/task/{thread}"`` for a thread.

    Raises:
        OSError: it has ended.
    """
    text = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2]
    return text.decode("ascii").split()
