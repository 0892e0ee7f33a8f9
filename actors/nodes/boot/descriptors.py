"""The sockets and pipes between a parent and one process node: link, lifeline, log, output.

Rule: either all are open, or none; each side closes its own ends.
"""

from __future__ import annotations

import fcntl
import os
import signal
import socket
from contextlib import ExitStack
from dataclasses import dataclass

from actors.transport import pair

__all__ = ["NodePipes", "end_with", "outlive"]


@dataclass(frozen=True, slots=True, kw_only=True)
class NodePipes:
    """The parent's ends, and the numbers of the node's ends, which the process inherits."""

    link: socket.socket
    lifeline: socket.socket
    log: int
    output: int
    far_link: int
    far_lifeline: int
    far_log: int
    far_output: int

    @classmethod
    def open(cls) -> NodePipes:
        """Open all of them.

        Raises:
            OSError: there is no room for one; none is left open.
        """
        with ExitStack() as opened:
            sockets = []
            for make in (pair, socket.socketpair):
                near, far = make()
                opened.callback(near.close)
                far_number = far.detach()
                opened.callback(os.close, far_number)
                sockets.append((near, far_number))
            pipes = []
            for _ in range(2):
                ends = os.pipe()
                for end in ends:
                    opened.callback(os.close, end)
                pipes.append(ends)
            # A full log pipe drops lines; a full output pipe blocks whoever prints.
            os.set_blocking(pipes[0][1], False)
            opened.pop_all()
        return cls(
            link=sockets[0][0],
            lifeline=sockets[1][0],
            log=pipes[0][0],
            output=pipes[1][0],
            far_link=sockets[0][1],
            far_lifeline=sockets[1][1],
            far_log=pipes[0][1],
            far_output=pipes[1][1],
        )

    def close_near(self) -> None:
        """Close the parent's ends: there is no process."""
        self.link.close()
        self.lifeline.close()
        os.close(self.log)
        os.close(self.output)

    def close_far(self) -> None:
        """Close the node's ends here: the process has its own copies, or there is none."""
        for fd in (self.far_link, self.far_lifeline, self.far_log, self.far_output):
            os.close(fd)


def end_with(end: socket.socket | int, group: int) -> None:
    """Have the kernel kill a process group when the other end of this socket is closed, or sends.

    It does so whatever the processes of the group are busy with, and takes the programs that they
    have started along, which PDEATHSIG would leave behind.
    """
    if hasattr(fcntl, "F_SETSIG"):
        fcntl.fcntl(end, fcntl.F_SETOWN, -group)
        fcntl.fcntl(end, fcntl.F_SETSIG, signal.SIGKILL)
        fcntl.fcntl(end, fcntl.F_SETFL, fcntl.fcntl(end, fcntl.F_GETFL) | os.O_ASYNC)


def outlive(end: socket.socket) -> None:
    """Take `end_with` back."""
    fcntl.fcntl(end, fcntl.F_SETFL, fcntl.fcntl(end, fcntl.F_GETFL) & ~os.O_ASYNC)
