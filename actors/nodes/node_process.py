"""A node, seen from inside: it boots, serves its parent's requests, and ends.

Rule 1: a process node dies with its parent, and so does every program it started: the kernel kills the
group when the lifeline closes, and where it cannot, a thread does, which works while the loop is stuck.
Rule 2: it says itself that it is ready, after everything it needs is imported; an earlier failure is
reported with its traceback.
"""

from __future__ import annotations

import io
import json
import os
import select
import signal
import socket
import sys
import threading
from importlib import invalidate_caches
from typing import TYPE_CHECKING, Any, Final

from actors._base.errors import InvalidSpec
from actors._base.fault_handler import faulthandler
from actors._base.fences import Fences
from actors._base.log import write_lines_to
from actors._base.log_config import LogConfig, apply_log_config
from actors._base.std_logging import hand_to_handlers, join_logging
from actors._messaging.context_propagation import Propagation
from actors._remoting import admin_operations as admin_ops, operations as ops
from actors._remoting.actor_host import ActorHost
from actors._remoting.main_values import take_definition
from actors.nodes._local import LocalNode
from actors.nodes._sibling import Siblings
from actors.nodes.actor_starts import ActorStarts
from actors.nodes.boot.descriptors import end_with
from actors.nodes.boot.launch import PARENTS_PATH
from actors.nodes.boot.main_module import install_main
from actors.nodes.child_actors import ChildActors
from actors.nodes.debugger import Debugger, refuse
from actors.nodes.drain import finish_cells
from actors.nodes.health.block_watch import BlockWatch
from actors.nodes.health.figures import LOOKED_AT, node_figures, node_readings
from actors.nodes.health.heartbeat import Heartbeat
from actors.nodes.health.mailbox_look import MailboxLooks
from actors.nodes.health.sampling import sample
from actors.nodes.health.stack_dump import StackDump, task_stacks
from actors.nodes.health.stats import loop_seconds, node_stats
from actors.nodes.linked_process import LinkedProcess
from actors.nodes.process_settings import take_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from anyio.abc import TaskGroup

    from actors._actor.cell import Cell
    from actors._base.loop import Loop
    from actors._remoting.link import Link
    from actors.transport import Endpoint, Extra
    from actors.transport.channels.tls_session import TlsSession

__all__ = ["BOOT_FAILED", "LINK_LOST", "NodeProcess", "boot_config"]

_STDERR: Final = 2
_A_LOOK: Final = 10.0
"""Seconds after a look for which messages and requests are measured for the next one."""
BOOT_FAILED: Final = 70
"""The exit code of a node that never got ready (sysexits' EX_SOFTWARE)."""
LINK_LOST: Final = 75
"""The exit code of a node that ended in order because it had lost its link (sysexits' EX_TEMPFAIL)."""


def boot_config(lifeline_fd: int, take_lease: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """Set up the process: read the configuration, die with the parent, take over its settings.

    Args:
        lifeline_fd: the descriptor of the lifeline.
        take_lease: called with the configuration of a node that is to end with the lease of its machine.
    """
    lifeline = socket.socket(fileno=lifeline_fd)
    config = _read_config(lifeline)
    _die_with_parent(lifeline, config["parent_pid"])
    if "lease" in config:
        take_lease(config)
    _inherit(config)
    return config


def _read_config(lifeline: socket.socket) -> dict[str, Any]:
    with lifeline.makefile("rb") as stream:
        size = int.from_bytes(stream.read(4), "little")
        config: dict[str, Any] = json.loads(stream.read(size) or b"{}")
    if not config:
        raise SystemExit("the parent of this node ended before it had booted")
    return config


def _die_with_parent(lifeline: socket.socket, parent: int) -> None:
    """End the whole process group when the parent's end of the lifeline closes."""
    end_with(lifeline, os.getpgrp())
    if os.getppid() != parent:
        os._exit(BOOT_FAILED)  # it ended before the lines above

    def watch() -> None:
        # Polled, because a reader that blocks keeps the kernel from sending the signal above.
        poll = select.poll()
        poll.register(lifeline, select.POLLIN | select.POLLHUP)
        poll.poll()
        os.killpg(0, signal.SIGKILL)

    # Daemon, because it waits for an event that on a clean end never comes.
    threading.Thread(target=watch, name="actors lifeline", daemon=True).start()


def _inherit(config: dict[str, Any]) -> None:
    """Take over the parent's path, arguments, environment, signals and log."""
    sys.path[:] = config["path"]
    sys.argv[:] = config["argv"]
    own = os.environ.pop(PARENTS_PATH, "")
    if own:
        os.environ["PYTHONPATH"] = own
    else:
        os.environ.pop("PYTHONPATH", None)
    write_lines_to(config["log"], config["name"])
    join_logging(both_ways=True)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)  # whoever reads the log wants to see it now
    if config["logging"] is not None:
        _configure_logging(LogConfig(**config["logging"]))
    take_settings(config["process"])
    install_main(config["main"])
    if "PYTHONBREAKPOINT" not in os.environ:
        sys.breakpointhook = refuse
    # Terminals send SIGINT to whole process groups: the parent alone decides when a node ends.
    # A program that an actor starts would inherit SIG_IGN, but not a function.
    signal.signal(signal.SIGINT, lambda _number, _frame: None)
    # A crash in C leaves its stack in the output, and so in the report of the end.
    faulthandler.enable(_STDERR)


def _configure_logging(config: LogConfig) -> None:
    try:
        apply_log_config(config)
    except InvalidSpec as error:
        raise SystemExit(str(error)) from error


class NodeProcess(LinkedProcess):
    """Runs actors, and serves the parent's requests."""

    def __init__(
        self,
        config: dict[str, Any],
        loop: Loop,
        tasks: TaskGroup,
        extras: Sequence[Callable[[ActorHost], Extra[Any]]] = (),
    ) -> None:
        self.tasks = tasks
        self.config = config
        host = ActorHost(
            config["name"],
            config["number"],
            loop,
            propagation=Propagation.of(config["propagate"]),
            trace=config["trace"],
            largest=config["largest"],
            lend=config["lend_per_node"],
            ask_timeout=config["ask_timeout"],
            system_id=config["system_id"],
            extras=extras,
        )
        host.address, host.fences = config["address"], Fences(config["fence"])
        host.new_child_actors = self.new_child_actors
        super().__init__(host, config["parent"])
        self.router_link: Link = self.parent
        """To the process that has the routers of this node's listeners."""
        self.local: LocalNode = LocalNode(self.host, self)
        self.siblings: Siblings = Siblings(self.local, self, config["nodes"])
        self.host.deadlock_probe.pass_to_start = lambda *probe: self.parent.note(
            ops.probe_start, *probe
        )
        self.heartbeat: Heartbeat = Heartbeat(loop, self.parent, config)
        self.block_watch: BlockWatch = BlockWatch(
            self.host, config["block_after"], self._loop_was_blocked, shared=True
        )
        self._mailbox_looks = MailboxLooks(host)
        self._metrics_missing = ""
        self.server_figures: Callable[[float], dict[str, Any]] = lambda _seconds: {}
        """Returns what this node serves; listeners are a layer up."""
        self.actor_starts: ActorStarts = ActorStarts(host, self.parent, self.heartbeat, self.log)
        self.actor_starts.serve()
        self.host.topics.interests(config["topics"])
        self._serve_parent()
        for node, address in config["moved"]:
            self.host.node_moved(node, address)
        for address, why, restarting, patience in config["down"]:
            self.host.peer(address).down(why, restarting=restarting, patience=patience)

    def attach(self, link: int | Endpoint | TlsSession) -> None:
        """Attach the link to the parent: a descriptor, an endpoint within its process, or a session."""
        self.parent.attach(socket.socket(fileno=link) if isinstance(link, int) else link)

    def show_stacks(self, link: Link | None = None) -> None:
        """Let the parent read this process's stacks whenever it asks; call it in the main thread.

        Args:
            link: to who reads them, if it is not the parent itself.
        """
        stacks = StackDump(self.host.loop, self.host.parked).for_parent()
        (link or self.parent).note_fds(ops.stack_dump, (stacks,))

    def serve_debugger(self) -> None:
        """Have `breakpoint()` wait for `actors debug`, unless the user has set another debugger."""
        if sys.breakpointhook is refuse:
            sys.breakpointhook = Debugger(
                self.host.name, self.host.loop, self.parent, self.heartbeat
            )

    def show_blocks(self) -> None:
        """Let the parent see what keeps this loop, whenever it looks."""
        self.parent.note_fds(ops.block_page, (os.dup(self.block_watch.page),))

    def _loop_was_blocked(self, facts: dict[str, Any]) -> None:
        self.event("loop_blocked", {"node": self.host.name, **facts})

    # -- requests of the parent ------------------------------------------------------------

    def _serve_parent(self) -> None:
        host, handlers = self.host, self.host.handlers
        handlers.on_call(ops.answer, _answer)
        handlers.on_note(ops.log_record, self._hand_on)
        handlers.on_note(ops.probe_starting, lambda _, *probe: host.take_probe(*probe))
        handlers.on_note(ops.stop_actor, self._stop_actor)
        handlers.on_note(ops.kill_actor, lambda _, uid: self.local.kill_actor(uid))
        handlers.on_note(ops.release_actor, lambda _, uid, end: self.local.release_actor(uid, end))
        handlers.on_note(ops.take_path, lambda _, path: _take_path(path))
        handlers.on_note(ops.take_definition, self._take_definition)
        handlers.on_call(ops.stats, self._stats)
        handlers.on_call(ops.sample, self._sample)
        handlers.on_call(ops.load, self._load)
        handlers.on_call(admin_ops.figures, self._figures)
        handlers.on_call(admin_ops.queued, self._queued)
        handlers.on_call(admin_ops.readings, self._readings)
        handlers.on_call(ops.task_stacks, self._task_stacks)

    def _stop_actor(self, _link: Link, uid: int, renew: bool) -> None:  # noqa: FBT001 - a wire field
        self.local.stop_actor(uid, renew=renew)

    def _hand_on(self, link: Link, facts: dict[str, Any]) -> None:
        """Hand a record of the parent's to the handlers of `logging`."""
        if link is self.parent:
            hand_to_handlers(facts)

    def _take_definition(self, link: Link, data: bytes) -> None:
        """Make what was typed in the parent; siblings may not send any."""
        if link is not self.parent:
            return
        try:
            take_definition(data)
        except Exception as error:  # noqa: BLE001 - whoever uses it is told that it is not there
            self.log.warning("cannot make what was typed in the parent", error=str(error))

    async def new_child_actors(self, name: str) -> ChildActors:
        """Start a supervisor for actors of this node."""
        return await ChildActors(self.host, self.local, name, self.tasks).open()

    async def _stats(self, _link: Link) -> dict[str, Any]:
        return {**node_stats(self.host), "loop_lag": round(self.heartbeat.late, 6)}

    async def _sample(
        self, _link: Link, seconds: float, rows: int, by: str, match: str
    ) -> dict[str, Any]:
        if rows:
            self.host.times.begin_for(seconds + _A_LOOK, self.host.loop)
        before = self.server_figures(seconds + _A_LOOK) if rows else {}
        found = await sample(self.host, seconds, rows, by, match)
        after = self.server_figures(0.0) if rows else {}
        return {**found, "serves": {name: [before.get(name), now] for name, now in after.items()}}

    async def _load(self, _link: Link) -> tuple[float, int]:
        queued = sum(len(cell.mailbox) for cell in self.host.cells.values())
        return loop_seconds(), queued

    async def _figures(self, _link: Link) -> dict[str, Any]:
        self.host.times.begin_for(LOOKED_AT, self.host.loop)
        figures = node_figures(self.host, round(self.heartbeat.late, 6))
        found = {**figures, "serves": self.server_figures(LOOKED_AT)}
        missing, self._metrics_missing = self._metrics_missing, found["user"]["error"]
        if self._metrics_missing not in {"", missing}:
            why = self._metrics_missing
            self.event("metrics_incomplete", {"node": self.host.name, "why": why})
        return found

    async def _readings(self, _link: Link, mailbox: float) -> dict[str, Any]:
        return node_readings(self.host, self.heartbeat.late, mailbox)

    async def _queued(self, _link: Link, name: str, most: int) -> dict[str, Any] | None:
        return self._mailbox_looks.look(name, most)

    async def _task_stacks(self, _link: Link) -> list[dict[str, Any]]:
        return task_stacks(self.host.loop, self.host.parked())

    async def finish_actors(self, seconds: float) -> None:
        """Let the actors that the parent supervises finish what they have, then stop them."""
        self.actor_starts.leaving = True
        await finish_cells(self.host.cells, self._supervised(), seconds)

    @property
    def has_supervised(self) -> bool:
        """Whether there are actors here that the parent supervises."""
        return bool(self._supervised())

    def _supervised(self) -> list[Cell]:
        own = self.host.number
        return [cell for uid, cell in self.host.cells.items() if uid >> 32 != own]


def _take_path(path: list[str]) -> None:
    """Look for modules as the parent does now; what code of this node has added itself comes behind."""
    sys.path[:] = [*path, *(own for own in sys.path if own not in path)]
    invalidate_caches()


async def _answer(_link: Link) -> None:
    """Answer the parent: it only asks whether this loop turns."""
