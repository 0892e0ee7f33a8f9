"""How one thread wakes the event loop of another: a descriptor that becomes readable.

Rung by anybody, heard by the loop that watches it. Twice as fast as the thread-safe call of a loop,
which goes through its own descriptor and then through its queue.
"""

import os
import sys
from typing import Final

__all__ = ["Wakeup"]


_ONE: Final = (1).to_bytes(8, sys.byteorder)
"""An eventfd adds numbers of eight bytes up."""
_MOST: Final = 4096


class Wakeup:
    """An eventfd, or a pipe where the system has none."""

    def __init__(self) -> None:
        if hasattr(os, "eventfd"):
            self.fd = self._write_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
            return
        self.fd, self._write_fd = os.pipe()
        os.set_blocking(self.fd, False)
        os.set_blocking(self._write_fd, False)

    def wake(self) -> None:
        """Make `fd` readable; from any thread, until `close`."""
        try:
            os.write(self._write_fd, _ONE)
        except BlockingIOError:
            return  # nobody has heard the rings before this one yet

    def clear(self) -> None:
        """Make it silent again."""
        try:
            os.read(self.fd, _MOST)
        except BlockingIOError:
            return  # somebody was woken for nothing

    def close(self) -> None:
        """Let go of it: nobody may ring any more."""
        for fd in {self.fd, self._write_fd}:
            os.close(fd)
        # Their numbers may be somebody else's by now.
        self.fd = self._write_fd = -1
