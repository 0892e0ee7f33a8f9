"""How one thread wakes the event loop of another: a descriptor that becomes readable.

Any thread may wake; the loop that watches the descriptor is woken. This is twice as fast as the thread-safe
call of a loop, which goes through the loop's own descriptor and then through its queue.
"""

import os
import sys
from typing import Final

__all__ = ["Wakeup"]


_ONE: Final = (1).to_bytes(8, sys.byteorder)
"""What is written: an eventfd takes a number of eight bytes."""
_READ: Final = 4096


class Wakeup:
    """An eventfd, or a pipe where the system has none."""

    def __init__(self) -> None:
        self.fd: int
        self._write_fd: int
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
            return  # it is readable: earlier wake-ups were not cleared yet

    def clear(self) -> None:
        """Make `fd` not readable again."""
        try:
            os.read(self.fd, _READ)
        except BlockingIOError:
            return  # it was cleared before

    def close(self) -> None:
        """Close the descriptors; after this `wake` must not be called."""
        for fd in {self.fd, self._write_fd}:
            os.close(fd)
        # The numbers may belong to others by now.
        self.fd = self._write_fd = -1
