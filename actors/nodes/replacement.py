"""The runs of a node from one start by its supervisor to the end: one, or two while one replaces the other.

Rule 1: a new run takes the place of the old one only when it is ready; until then it is not used.
Rule 2: an actor never runs twice: the actors of the old run end before the new run starts any.
Rule 3: the supervisor sees all of it as one run, which ends with the main run; all others end then, too.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from actors._base.errors import ActorsError
from actors.nodes._node import NodeState

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors._base.loop import Waiter
    from actors.nodes.remote_node import RemoteNode, RemoteRun
    from actors.supervisors import Exit

__all__ = ["NodeReplacement"]


class NodeReplacement:
    """What a node's supervisor starts, as a `supervisors.Child`.

    Attributes:
        main: the run that is given connections.
    """

    def __init__(self, node: RemoteNode) -> None:
        self.node = node
        node.replacement = self
        self.main: RemoteRun = node.make_run()
        self._next: RemoteRun | None = None
        """The run that is to become the main one, booting or ready."""
        self._runs: list[RemoteRun] = []
        self._exit: Exit | None = None
        self._ended: Callable[[Exit], None] | None = None
        self._stopping = False
        self._waiters: list[Waiter] = []

    @property
    def runs(self) -> list[RemoteRun]:
        """The runs that have not ended, the oldest first."""
        return list(self._runs)

    @property
    def under_way(self) -> bool:
        """Whether a run is being replaced: there are two."""
        return len(self._runs) > 1

    # -- what the supervisor does -----------------------------------------------------------

    async def start(self, ended: Callable[[Exit], None]) -> None:
        """Start the first run; see `RemoteRun.start`."""
        run = self.main
        self._runs.append(run)
        self._ended = ended
        try:
            await run.start(partial(self._run_ended, run))
        except BaseException:
            self._runs.remove(run)
            raise

    async def wait(self) -> Exit:
        """Wait for the end of all runs; return how the main one ended."""
        while True:
            main = self.main
            end = await main.wait()
            if main is self.main:
                break
        for run in self.runs:
            await run.wait()
        return end

    def stop(self) -> None:
        """Ask every run to drain and end; one that boots is killed."""
        self._stopping = True
        for run in self.runs:
            if run is self._next:
                run.kill()
            else:
                run.stop()

    def kill(self) -> None:
        """Kill every run."""
        self._stopping = True
        self.main.kill()
        for run in self.runs:
            run.kill()

    # -- what a reload does -----------------------------------------------------------------

    async def boot_next(self, within: float | None = None) -> None:
        """Start a second run; return when it is ready to take the place of the first.

        Args:
            within: seconds it has; None is the node's `boot_timeout`.

        Raises:
            ActorsError: the node is not READY, or ended meanwhile.
            BootFailed: the new run did not get ready; nothing of it is left.
        """
        node = self.node
        if self.under_way or node.run is not self.main or not node.ready or self._stopping:
            raise ActorsError(f"node {node.name} is {node.state.value}, not READY")
        run = self._next = node.make_run(successor=True)
        self._runs.append(run)
        try:
            await run.start(partial(self._run_ended, run), within)
        except BaseException as error:
            self._next = None
            self._runs.remove(run)
            self._notify()
            if isinstance(error, Exception):
                self._check_main(error)
            raise

    async def drop_next(self) -> None:
        """End the run that was to become the main one."""
        run, self._next = self._next, None
        if run is not None:
            run.kill()
            await run.wait()

    def take_over(self, why: str) -> None:
        """Make the run that has booted the main one; the old one finishes what it has.

        Connections go to the new run from now on. Actors are started there when the old run has ended,
        which takes at most the node's `shutdown` seconds; without actors nothing waits for that.

        Args:
            why: the reason that the events give.

        Raises:
            ActorsError: one of the two has ended meanwhile.
        """
        node, old, new = self.node, self.main, self._next
        self._check_main(None)
        if new is None or new.state is not NodeState.READY:
            why = "" if new is None else f": {new.last_end}"
            raise ActorsError(f"the new process of node {node.name} has ended{why}")
        self._next = None
        self.main = new
        new.successor = False
        node.home.node_ready(new)
        if not node.home.has_actors(node):
            self._move_actors()
        old.retire(why)

    def _check_main(self, cause: Exception | None) -> None:
        if self._exit is not None:
            why = self.main.last_end or str(self._exit)
            raise ActorsError(f"node {self.node.name} ended meanwhile: {why}") from cause
        if self._stopping or self.main.state is not NodeState.READY:
            raise ActorsError(f"node {self.node.name} is being stopped") from cause

    async def handed_over(self) -> None:
        """Wait until the main run has the node's actors, too.

        Raises:
            ActorsError: it has ended.
        """
        while self._exit is None and self.node.run is not self.main:
            waiter = self.node.home.host.loop.waiter()
            self._waiters.append(waiter)
            await waiter
        if self._exit is not None:
            why = self.main.last_end or str(self._exit)
            raise ActorsError(f"the new process of node {self.node.name} has ended: {why}")

    async def alone(self) -> None:
        """Wait until every other run has ended."""
        for run in self.runs:
            if run is not self.main:
                await run.wait()

    # -- steps ------------------------------------------------------------------------------

    def _run_ended(self, run: RemoteRun, end: Exit) -> None:
        """Take note of the end of a run that had been ready."""
        self._runs.remove(run)
        if run is self.main:
            self._exit = end
            for other in self.runs:
                if self._stopping:
                    other.kill()
                else:
                    other.kill_to_restart("its parent")
        elif self._exit is None and self.node.run is None:
            self._move_actors()
        self._notify()

    def _move_actors(self) -> None:
        """Give the node's actors to the main run: the old run has none, or has ended."""
        node = self.node
        node.run = self.main
        node.address = self.main.address
        node.restarts += 1
        node.home.node_moved(node)
        self.main.show_state()
        node.changed()

    def _notify(self) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)
        if self._exit is not None and not self._runs and self._ended is not None:
            ended, self._ended = self._ended, None
            ended(self._exit)
