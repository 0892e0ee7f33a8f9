"""A node at the other end of a link, seen from the parent: its slot, and each run of it.

What processes and threads share is here; how a run starts and is killed is in the file of its kind,
how another run takes its place in `replacement`.

Rule 1: a node says itself that it is ready; no timer assumes it.
Rule 2: what is awaited over its link fails when it is known how the node ended, and says so.
Rule 3: only an end that its supervisor asked for is final: one that hangs, or is replaced, is restarted.
"""

from __future__ import annotations

import os
import random
import time
from typing import TYPE_CHECKING, Any, Final, Protocol

from anyio import fail_after, move_on_after

from actors._base.completion import Completion
from actors._base.errors import ActorsError, BootFailed, NodeDown
from actors._base.log import iso_time
from actors._base.open_files import with_limit
from actors._messaging.mailbox_options import packed
from actors._remoting import operations as ops
from actors.nodes._node import Node, NodeOwner, NodeState
from actors.nodes.health.block_watch import read_page
from actors.nodes.health.heartbeat import HangDetector
from actors.nodes.run_end import IN_ORDER, RunEnd
from actors.supervisors import Exit, ExitKind

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors._actor.interfaces import Ended
    from actors._base.loop import Timer, Waiter
    from actors._remoting.actor_host import ActorHost
    from actors._remoting.link import Link
    from actors.nodes._node import ActorStart
    from actors.nodes._spec import NodesSpec
    from actors.nodes.boot.launchers import Launchers

__all__ = ["RemoteNode", "RemoteNodeHost", "RemoteRun", "Replacement"]

_BOOT_KILL_WAIT: Final = 5.0
"""Seconds to wait for the end of a node that was killed while it booted."""


class RemoteNodeHost(NodeOwner, Protocol):
    """The coordinator, as its nodes see it; `runs` has every run there is, by its address."""

    host: ActorHost
    launcher: Launchers
    node_module: str
    runs: dict[str, RemoteRun]

    @property
    def process_nodes(self) -> int: ...
    def node_config(self) -> dict[str, Any]: ...
    def share_names(self) -> None: ...
    def new_node_number(self) -> int: ...
    def imports(self, group: str) -> tuple[str, ...]: ...
    def preloaded_apps(self, group: str) -> tuple[str, ...]: ...
    async def prepare(self, run: RemoteRun) -> None: ...
    def node_ready(self, run: RemoteRun) -> None: ...
    def node_draining(self, run: RemoteRun, why: str) -> None: ...
    def node_ended(
        self, run: RemoteRun, link: Link | None, why: str, *, restarting: bool, replaced: bool
    ) -> None: ...
    def node_moved(self, node: RemoteNode) -> None: ...
    def has_actors(self, node: RemoteNode) -> bool: ...
    def actors_with(self, node: RemoteNode, message: str) -> list[str]: ...
    def supervisor_kills(self, uid: int) -> None: ...
    def event(self, kind: str, facts: dict[str, Any]) -> None: ...


class Replacement(Protocol):
    """A `NodeReplacement`, as its node sees it."""

    main: RemoteRun

    @property
    def runs(self) -> list[RemoteRun]: ...
    @property
    def under_way(self) -> bool: ...


class RemoteNode(Node):
    """One slot of a group; each run of it is a `RemoteRun`.

    Attributes:
        run: the run that has its actors, None while there is none.
        address: where other nodes find its actors.
        replacement: its runs since its supervisor started it last.
        was_ready: whether any run of it has been ready.
        leaving: whether it alone was told to end for good, not its whole system.
        drain_within: seconds it has to finish what it serves and runs, once it is told to end.
        futile: whether actors were to start on its last run and none has; None if none was to.
        died_at: when it ended without being replaced, on the loop's clock; None once it is ready again.
        last_end: how the last run ended, with the last lines it wrote.
    """

    def __init__(self, home: RemoteNodeHost, spec: NodesSpec, slot: int) -> None:
        super().__init__(spec.named(slot), spec.name, slot, home)
        self.home = home
        self.spec = spec
        self.run: RemoteRun | None = None
        self.address: str = home.host.peer_named(self.name).name
        self.replacement: Replacement | None = None
        self.ended: dict[int, Ended] = {}
        self.was_ready = False
        self.leaving = False
        self.futile: bool | None = None
        self.drain_within: float = spec.shutdown
        self.died_at: float | None = None
        self.last_end = ""

    @property
    def link(self) -> Link:
        """The link to the current run.

        Raises:
            ActorsError: there is none.
        """
        if self.run is None or self.run.link is None:
            raise ActorsError(f"node {self.name} is not running")
        return self.run.link

    @property
    def accepting_run(self) -> RemoteRun | None:
        """The run that is given connections, None while no run is ready for them."""
        main = None if self.replacement is None else self.replacement.main
        return main if main is not None and main.state is NodeState.READY else None

    @property
    def ended_for_others(self) -> bool:
        """Whether its last run was ended for the sake of others."""
        return self.replacement is not None and self.replacement.main.end.uncharged

    @property
    def links(self) -> list[Link]:
        """The links to all its runs."""
        runs = () if self.replacement is None else self.replacement.runs
        return [run.link for run in runs if run.link is not None]

    def make_run(self, *, successor: bool = False) -> RemoteRun:
        """Make a run of its kind."""
        raise NotImplementedError

    def replace(self, why: str, *, charged: bool = True) -> bool:
        """End the current run in order and start another; see `RemoteRun.replace`."""
        if self.run is None or self.replacement is None or self.replacement.under_way:
            return False
        return self.run.replace(why, charged=charged)

    async def start_actor(self, actor: ActorStart, ended: Ended) -> None:
        """Start an actor, or its next incarnation, and return when it is ready."""
        ref, link = actor.ref, self.link
        if link.closed is not None:
            why = f"node {self.name} has lost its link ({link.closed})"
            raise NodeDown(ref, why, node=self.name, restarting=True)
        self.home.share_names()
        self.ended[ref.uid] = ended
        self.futile = self.futile is None or self.futile
        try:
            await link.call(
                ops.start_actor,
                ref.uid,
                ref.name,
                ref.cls_path,
                packed(ref.bounds),
                actor.incarnation,
                self.home.host.fences.next(),
                actor.shutdown,
                actor.arguments,
                actor.chain,
                actor.state,
            )
        except BaseException:
            self.ended.pop(ref.uid, None)
            raise
        self.futile = False

    def actor_ended(self, uid: int, end: Exit, *, voluntary: bool) -> None:
        """Tell the supervisor of an actor that its incarnation has ended."""
        ended = self.ended.pop(uid, None)
        if ended is not None:
            ended(end, voluntary)

    def stop_actor(self, uid: int, *, renew: bool = False) -> None:
        """Ask an actor to end behind what it has queued, and perhaps to hand its state over."""
        if self.run is not None and self.run.link is not None:
            self.run.link.note(ops.stop_actor, uid, renew)

    def kill_actor(self, uid: int) -> None:
        """End an actor's incarnation now, as its supervisor wants."""
        if self.run is not None and self.run.link is not None:
            self.run.link.note(ops.kill_actor, uid)
            self.home.supervisor_kills(uid)

    def release_actor(self, uid: int, end: Exit) -> None:
        """End an actor for good."""
        self.ended.pop(uid, None)
        for link in self.links:  # a run that waits to take over has a cell for it as well
            link.note(ops.release_actor, uid, end)

    @property
    def block(self) -> dict[str, Any]:
        """What keeps its loop now; see `RemoteRun.block`."""
        return {} if self.run is None else self.run.block

    async def stats(self) -> dict[str, Any]:
        """Return the node's figures, asked of the node itself."""
        return await self.link.call(ops.stats)

    async def child_actors(self) -> tuple[list[dict[str, Any]], dict[int, list[dict[str, Any]]]]:
        """Return who is supervised on it: the node's own, and the children of each actor."""
        return await self.link.call(ops.child_actors)

    async def sample(
        self, seconds: float, rows: int = 0, by: str = "mailbox", match: str = ""
    ) -> dict[str, Any]:
        """Return what it does over *seconds*, and its busiest actors; see `health.sampling`."""
        return await self.link.call(ops.sample, seconds, rows, by, match)


class RemoteRun:
    """One run of a node, a `supervisors.Child`; its kind adds how it starts and is killed.

    Args:
        node: whose run it is.
        successor: whether it is to take the place of another run of the node.

    Attributes:
        successor: the same, until it has taken that place; nobody uses it before.
        retired: whether another run has taken its place.
        address: where other nodes reach it; the next run after its end has the same.
        boot_seconds: how long it took to get ready, once it is.
        last_end: how it ended, with the last lines it wrote.
        doing: what it is doing that might not end, for errors.
        end: why it ends, as far as that is known.
        path: the `sys.path` that it was given; None while it has none of its own.
    """

    def __init__(self, node: RemoteNode, *, successor: bool = False) -> None:
        self.node = node
        self.successor = successor
        self.retired: bool = False
        self.address: str = node.address
        self.number: int = 0
        self.boot_seconds: float | None = None
        self.state: NodeState = NodeState.SPAWNED
        self.pid: int | None = None
        self.last_end: str = ""
        self.doing: str = ""
        self.link: Link | None = None
        self.path: list[str] | None = None
        self.definitions = 0
        """How many of `MAIN_VALUES` it has been sent."""
        self._home = node.home
        self._loop = node.home.host.loop
        self._ready: Waiter | None = None
        self._completion = Completion(self._loop.waiter)
        self.end: RunEnd = RunEnd(node.name, node.spec.shutdown)
        self._boot_error = ""
        self._start_error = ""
        self._started = False
        self.hang_detector: HangDetector = HangDetector(
            self._loop, node.spec.silent_after, self._silent
        )
        self._busy: dict[str, Any] = {}
        self._block_page = -1
        self._deadline: Timer | None = None

    # -- start ---------------------------------------------------------------------------

    def show_state(self) -> None:
        """Show this run's state and pid on the node, if it is the one that has its actors."""
        if self.node.run is self:
            self.node.state = self.state
            self.node.pid = self.pid

    def _set_state(self, state: NodeState) -> None:
        self.state = state
        self.show_state()

    async def start(self, ended: Callable[[Exit], None], within: float | None = None) -> None:
        """Start the node and return when it says that it is ready.

        Args:
            ended: called with how it ended, once it has been ready.
            within: seconds it has to get ready; None is the node's `boot_timeout`.

        Raises:
            BootFailed: it ended, or stayed silent, before that; the text holds its own traceback.
        """
        node = self.node
        self._register()
        seconds, began = node.spec.boot_timeout if within is None else within, self._loop.now()
        try:
            with fail_after(seconds):
                await self._spawned()
                self._set_state(NodeState.BOOTING)
                self._ready = self._loop.waiter()
                await self._ready
                await self._home.prepare(self)
            self.boot_seconds = round(self._loop.now() - began, 3)
        except BaseException as error:
            self._start_error = str(error).partition("\n")[0]
            self._ready = None  # nobody waits for it any more
            self.kill()
            # A start that failed leaves nothing behind.
            with move_on_after(_BOOT_KILL_WAIT, shield=True):
                await self.wait()
            if isinstance(error, TimeoutError):
                raise BootFailed(self.not_ready_after(seconds)) from error
            raise
        self._completion.on_done = ended
        self._started = node.was_ready = True
        self._set_state(NodeState.READY)
        self.hang_detector.start()
        if not self.successor:
            self._home.node_ready(self)
            node.changed()

    async def _spawned(self) -> None:
        try:
            await self._spawn()
        except ActorsError:
            raise
        except Exception as error:  # no room for a process, mostly; whoever asked is told
            text = f"node {self.node.name} could not be started: {with_limit(error)}"
            raise BootFailed(text) from error

    def not_ready_after(self, seconds: float) -> str:
        """Return the text of an error: what this node was waiting for, and its last lines."""
        doing = f" (its boot_timeout): {self.doing}" if self.doing else ""
        return (
            f"node {self.node.name} was not ready after {seconds:g} s{doing}" + self._last_lines()
        )

    def _register(self) -> None:
        self.number = self._home.new_node_number()
        if self.successor:
            self.address = f"{self.node.name}~{self.number}"
        else:
            self.node.run, self.node.futile = self, None
        self._home.runs[self.address] = self
        self._set_state(NodeState.SPAWNED)

    async def _spawn(self) -> None:
        """Start the process or thread, with a link."""
        raise NotImplementedError

    def _config(self, **own: Any) -> dict[str, Any]:
        """Return the configuration that the node is started with; *own* is that of its kind."""
        spec = self.node.spec
        return {
            **self._home.node_config(),
            "name": self.node.name,
            "number": self.number,
            "fence": self._home.host.fences.next(),
            "address": self.address,
            "backend": spec.backend,
            "uvloop": spec.uvloop,
            "silent_after": spec.silent_after,
            "block_after": spec.block_after,
            "ready": spec.ready,
            "on_ready": spec.on_ready,
            "on_stop": spec.on_stop,
            "max_requests": spec.requests_of_a_run(random.randint),
            **own,
        }

    def kill(self) -> None:
        """End it now, as far as its kind allows."""
        raise NotImplementedError

    def end_for(self, actors: set[int], why: str) -> None:
        """End it now for others' sake, as no crash: another run follows at once, and is charged to nobody.

        Args:
            actors: the numbers of those for whose kill it is ended.
            why: what the events and the log are told.
        """
        self.end.killed_actors = actors
        self.end.uncharged = True
        self.end.for_others = f"killed by its parent: {why}"
        self._force_end()

    def fence(self, _uid: int) -> bool:
        """Refuse from now on what an actor sends that was given up; return whether the run itself goes on."""
        return False

    def _force_end(self) -> None:
        """End it now as a crash: its supervisor restarts it."""
        raise NotImplementedError

    def _stack(self) -> str:
        """Return the stack of its loop's thread, as far as that can be seen from here."""
        return ""

    def link_ended(self) -> None:
        """React to the end of the link, which hints that the node has ended, too."""
        raise NotImplementedError

    def _last_lines(self) -> str:
        """Return the last lines it wrote, if its output is its own."""
        return ""

    def _release(self) -> None:
        """Release what only this kind of node holds."""

    # -- what the node says ----------------------------------------------------------------

    def on_ready(self) -> None:
        """Continue `start`: the node has imported everything and its loop runs."""
        if self._ready is not None and not self._ready.done():
            self._ready.set_result(None)

    def on_boot_failed(self, traceback: str) -> None:
        """Remember why the node could not get ready."""
        self._boot_error = traceback

    @property
    def failed_restart(self) -> str:
        """Why it did not get ready, if it was to restart a node that has been ready before; "" otherwise."""
        if self._started or not self.node.was_ready:
            return ""
        return self._start_error or self._boot_error.strip().rpartition("\n")[2] or self.last_end

    def on_heartbeat(self, *, watched: bool) -> None:
        """Note that the node's loop runs; unless *watched*, ignore its silence from now on."""
        self.hang_detector.beat(watched=watched)
        if self._busy and self.state is NodeState.READY:
            self._busy = {}
            self.hang_detector.start()

    def on_stack_dump(self, stacks: int) -> None:
        """Take the file that the node writes its stacks to when it is asked."""
        os.close(stacks)

    def on_block_page(self, page: int) -> None:
        """Take the memory in which the node says what keeps its loop."""
        if self._block_page < 0:
            self._block_page = page
        else:
            os.close(page)

    @property
    def block(self) -> dict[str, Any]:
        """What keeps its loop now, if anything: actor, message, stack, since when.

        `since` is in seconds since the epoch.
        """
        page = {} if self._block_page < 0 else read_page(self._block_page)
        return page or self._busy

    async def stacks(self) -> dict[str, Any]:
        """Return the stacks of its threads and tasks; tasks are None if it does not answer.

        Raises:
            ActorsError: it cannot be inspected.
        """
        raise NotImplementedError

    async def profile(self, seconds: float) -> dict[str, Any]:
        """Return where it spends its CPU time for *seconds*, as `StackCounts.facts`, or raise as `stacks`."""
        raise NotImplementedError

    # -- the end -------------------------------------------------------------------------

    async def wait(self) -> Exit:
        """Wait for its end and return how it ended."""
        return await self._completion.wait()

    def stop(self) -> None:
        """Ask the node to drain and end."""
        if self.end.asked is None:
            self.end.asked = Exit.SHUTDOWN
            self.hang_detector.stop()
            node = self.node
            if node.leaving and self.state is NodeState.READY:
                self.drain("it is being stopped")
            self._set_state(NodeState.DRAINING)
            node.changed()
            if self.link is not None and not (node.leaving and self.end.replaced):
                self.link.note(ops.leave if node.leaving else ops.shut_down, node.drain_within)

    def drain(self, why: str) -> None:
        """Give it nothing new from now on; it finishes what it has."""
        self._set_state(NodeState.DRAINING)
        self._home.node_draining(self, why)
        self.node.changed()

    def kill_to_restart(self, by: str) -> None:
        """Kill it for *by*, who does not want it to end for good: its supervisor restarts it."""
        self.end.to_restart = self.end.asked is None
        self.end.by = by
        self.kill()

    def replace(self, why: str, *, charged: bool = True) -> bool:
        """End this run in order, so that its supervisor starts another; that is no crash.

        It gets no new work from now on: messages wait at their senders for the next run,
        connections go to other nodes. What it has is finished: requests that
        are being served, messages that are queued. Its actors then wait for the next run and are
        started there, which costs them no restart. One that takes longer than its `shutdown` seconds
        is killed.

        Args:
            why: what the event, the log and refused senders are told.
            charged: whether the restart counts in the node's backoff, in which the first one is immediate.

        Returns:
            Whether it was running and is being replaced now; one that boots or ends already is not.
        """
        if self.end.asked is not None or self.state is not NodeState.READY or self.link is None:
            return False
        self.end.replaced = f"replaced: {why}"
        self.end.uncharged = not charged
        self.hang_detector.stop()
        self.drain(self.end.replaced)
        seconds = self.node.spec.shutdown
        self.link.note(ops.leave, IN_ORDER * seconds)
        self._deadline = self._loop.call_later(seconds, self._replace_overdue)
        return True

    @property
    def renewing(self) -> bool:
        """Whether another run is to take its place."""
        return bool(self.end.replaced)

    def retire(self, why: str) -> None:
        """End it in order, as another run has taken its place."""
        self.retired = True
        self.replace(why)

    def _replace_overdue(self) -> None:
        if self.end.asked is None:
            self.end.overdue = True
            self._force_end()

    def _blocked_by(self) -> dict[str, Any]:
        """Return what keeps its loop: actor, message and stack, as far as that can be seen from here."""
        return dict(self.block)

    def _silent(self) -> None:
        """Its loop does not run: somebody waits for a node that serves, so that one is killed."""
        if self.node.spec.hang_after is not None:
            self._hung()
            return
        seconds = self.node.spec.silent_after
        self._busy = {"since": time.time() - seconds, **self._blocked_by()}
        facts = {**self._busy, "since": iso_time(self._busy["since"])}
        self._home.event("node_busy", {"node": self.node.name, "seconds": seconds, **facts})

    def _hung(self) -> None:
        """Report and kill the node, which was silent for too long."""
        seconds = self.node.spec.silent_after
        facts = {"node": self.node.name, "seconds": seconds, "stack": self._stack()}
        self._home.event("node_hung", {key: fact for key, fact in facts.items() if fact != ""})
        self.end.hung = f"hung: no heartbeat for {seconds:g} s"
        self._force_end()

    def _finish(self, why: str, end: Exit) -> None:
        """Note its end and tell everybody who counted on it, once."""
        if not self._completion.set(end):
            return
        self._leave_node(why)
        restarting = self.end.asked is None or self.end.to_restart
        link, self.link = self.link, None
        if link is not None:
            link.close()
        replaced = bool(self.end.replaced) and end.kind is not ExitKind.CRASHED
        self._home.node_ended(self, link, why, restarting=restarting, replaced=replaced)
        if self._ready is not None and not self._ready.done():
            text = self._boot_error or f"{why}{self._last_lines()}"
            self._ready.set_exception(BootFailed(f"node {self.node.name} failed to boot: {text}"))
        self._completion.announce()

    def _leave_node(self, why: str) -> None:
        """Release everything but the link, and show on the node that the run has ended."""
        node = self.node
        self.pid = None
        self._set_state(NodeState.EXITED)
        self.hang_detector.stop()
        if self._deadline is not None:
            self._deadline.cancel()
        self._release()
        if self._block_page >= 0:
            os.close(self._block_page)
            self._block_page = -1
        self.last_end = why + self._last_lines()
        if self._home.runs.get(self.address) is self:
            del self._home.runs[self.address]
        if node.run is self:
            node.run = None
            node.last_end = self.last_end
        node.changed()
