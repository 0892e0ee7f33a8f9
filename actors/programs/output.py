"""What an instance of a program writes: a record of the log for each line.

Rule: a line is data. Whatever it holds, it is one line of the log, with the name of the instance.
"""

from __future__ import annotations

import os
from collections import deque

from actors._base.loop import Loop
from actors.nodes import read_output

__all__ = ["ProgramOutput"]


class ProgramOutput:
    """Reads one of the two pipes of an instance; what its lines become is in `_base.printed_lines`.

    Attributes:
        pipe: as /proc shows it among the descriptors of a process.
    """

    def __init__(self, loop: Loop, fd: int, instance: str, stream: str) -> None:
        self.pipe: str = f"pipe:[{os.fstat(fd).st_ino}]"
        facts = {"program": instance} | ({} if stream == "stdout" else {"stream": stream})
        self._reader = read_output(loop, fd, instance, facts=facts)

    @property
    def last(self) -> deque[str]:
        """The last lines."""
        return self._reader.last

    def close(self) -> None:
        """Pass on what is there, and close the pipe."""
        self._reader.close()
