"""A run of a node that is a process, on whatever machine: its kill, and what the end of its link means."""

from __future__ import annotations

from typing import TYPE_CHECKING

from actors.nodes._node import NodeState
from actors.nodes.child_process import describe_code
from actors.nodes.remote_node import RemoteNode, RemoteRun
from actors.nodes.run_end import LAST_READ
from actors.supervisors import Exit

if TYPE_CHECKING:
    from actors._remoting.link import Link

__all__ = ["ProcessRun"]


class ProcessRun(RemoteRun):
    """One process, from its start to its reaping, whoever starts and reaps it."""

    def __init__(self, node: RemoteNode, *, successor: bool = False) -> None:
        super().__init__(node, successor=successor)
        self._killed_because = ""

    @property
    def begun(self) -> bool:
        """Whether it was started."""
        raise NotImplementedError

    @property
    def running(self) -> bool:
        """Whether it was started and, as far as is known, has not ended."""
        raise NotImplementedError

    def _complete(self) -> None:
        """Say how it ended, if it was started: its link has been read to the end."""
        raise NotImplementedError

    def kill(self) -> None:
        """Have the whole process group killed."""
        self.end.asked = Exit.KILLED
        if self.running:
            self._force_end()
        elif self._completion.exit is None and not self.begun:
            self._finish("it was never started", Exit.KILLED)

    def link_ended(self) -> None:
        """End the process soon, if it has not ended: without its link it is of no use."""
        if self.running:
            assert self.link is not None
            self._loop.call_later(LAST_READ, self._outlives_link, self.link)
        else:
            self._complete()

    def _outlives_link(self, link: Link) -> None:
        """The process runs on without its link: let it end in order, unless it broke the protocol."""
        if not self.running:
            return
        if link.faulty:
            self._kill_because(f"it broke the protocol: {link.closed}")
            return
        self.hang_detector.stop()
        if self.state is NodeState.READY:
            self.drain("its link has ended")
        seconds = self.node.spec.shutdown
        late = f"it did not end within {seconds:g} s of the end of its link"
        self._loop.call_later(seconds, self._kill_because, late)

    def _kill_because(self, why: str) -> None:
        self._killed_because = f"killed by its parent: {why}"
        self._force_end()

    def _read_to_end(self) -> None:
        """The process has ended: let its link be read to its end."""
        if self.link is None or self.link.closed is not None:
            self._complete()
        else:
            self._loop.call_later(LAST_READ, self._complete)

    def _describe(self, code: int | None) -> str:
        asked = self.end.asked is not None
        return describe_code(code, asked=asked, by=self.end.by, because=self._killed_because)
