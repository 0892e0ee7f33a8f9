"""What an instance of a program writes: a record of the log for each line.

Rule: a line is data. Whatever it holds, it is one line of the log, with the name of the instance.
"""

from __future__ import annotations

import os
from collections import deque

from actors._base.log import get_logger
from actors._base.loop import Loop
from actors.nodes import LinesReader

__all__ = ["ProgramOutput"]


class ProgramOutput:
    """Reads one of the two pipes of an instance.

    Attributes:
        pipe: as /proc shows it among the descriptors of a process.
    """

    def __init__(self, loop: Loop, fd: int, instance: str, stream: str) -> None:
        self._log = get_logger(program=instance)
        self._stream = stream
        self.pipe: str = f"pipe:[{os.fstat(fd).st_ino}]"
        self._reader = LinesReader(loop, fd, self._line)

    @property
    def last(self) -> deque[str]:
        """The last lines."""
        return self._reader.last

    def _line(self, line: str) -> None:
        if self._stream == "stdout":
            self._log.info(line)
        else:
            self._log.info(line, stream=self._stream)

    def close(self) -> None:
        """Pass on what is there, and close the pipe."""
        self._reader.close()
