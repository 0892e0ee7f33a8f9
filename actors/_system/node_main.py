"""`python -m actors._system.node_main FD`: the program of a process node; its parent starts it."""

from __future__ import annotations

import gc
import json
import os
import sys
import traceback
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, Final

from anyio import create_task_group, current_time, move_on_after

from actors._base.allocator import keep_big_blocks
from actors._base.collector import collect_less_often
from actors._base.log import this_thread_is, write_lines_to
from actors._base.own_output import make_records
from actors._base.run_loop import open_loop, run_on
from actors._base.std_logging import join_logging
from actors._remoting import operations as ops
from actors._system.extras import EXTRAS
from actors._system.far_links import serve_far_links
from actors._system.node_hooks import NodeHooks
from actors._system.node_servers import NodeServers
from actors._system.readiness import Readiness
from actors._system.system import System
from actors._system.system_access import NodeAccess
from actors.nodes import (
    BOOT_FAILED,
    LINK_LOST,
    NodeProcess,
    boot_config,
    import_modules,
    install_main,
)

if TYPE_CHECKING:
    from actors.nodes import Link

__all__ = ["main", "run_interpreter", "run_thread"]

_CONNECTIONS: Final = 0.5
"""The part of its time that a leaving node gives its connections, if it has actors as well."""
_LAST_READ: Final = 1.0
"""Seconds that other machines have to read what was sent to them last."""
_ENDING: Final = 0.125
"""How much longer actors may take to end than to finish their work, as a part of the whole time."""


def main(lifeline: int) -> None:
    """Boot from what the parent writes on the lifeline, and run until the parent ends the node."""
    config = boot_config(lifeline, _take_lease)
    collect_less_often()
    keep_big_blocks()
    code = run_on(_serve, config, True, backend=config["backend"], uvloop=config["uvloop"])
    if code == BOOT_FAILED:
        os._exit(code)
    if code:
        sys.exit(code)


def _take_lease(config: dict[str, Any]) -> None:
    """End with the lease of this machine: an agent has started this node."""
    from actors.machines.placed_process import take_lease  # noqa: PLC0415 - of other machines alone

    take_lease(config)


def run_thread(config: dict[str, Any]) -> None:
    """Run a thread node until the parent ends it."""
    this_thread_is(config["name"])
    run_on(_serve, config, False, backend=config["backend"], uvloop=config["uvloop"])


def run_interpreter(text: str) -> None:
    """Run an interpreter node until the parent ends it."""
    config = json.loads(text)
    sys.argv[:] = config["argv"]
    write_lines_to(config["log"], config["name"])
    join_logging(both_ways=True)
    with make_records() if config["records"] else nullcontext():
        install_main(config["main"])
        # No uvloop: it refuses to be imported in a sub-interpreter.
        run_on(_serve, config, False, backend=config["backend"], uvloop=False)


async def _serve(config: dict[str, Any], alone: bool) -> int:  # noqa: FBT001 - passed on by position
    """Serve the parent, *alone* in its process or not; return the exit code of a process for this end."""
    async with open_loop() as loop, create_task_group() as tasks:
        node = NodeProcess(config, loop, tasks, EXTRAS)
        if "show_host" in config:  # its parent shares this memory
            config["show_host"](node.host)
        try:
            servers, readiness = NodeServers(node), Readiness(node)
            access = NodeAccess(node, servers.sticky_slots)
            await _open(node, alone=alone)
            node.host.system = System.on_node(access)
            end, hooks = _NodeEnd(node, access, servers), NodeHooks(node)
            await hooks.ready()
        except Exception:  # noqa: BLE001 - the parent reports it
            _report_failure(node)
            return BOOT_FAILED
        node.parent.note(ops.ready)
        node.heartbeat.start()
        node.block_watch.start()
        if alone:
            # The garbage collector need not look at the imported modules again.
            gc.freeze()
        try:
            await end.reached
            await hooks.stopping()
        finally:
            node.heartbeat.stop()
            node.block_watch.stop()
            readiness.stop()
            servers.detach_sockets()
            access.threads.close()
            node.host.memory.close()
            await _close_links(node)
        tasks.cancel_scope.cancel()
    return LINK_LOST if end.link_lost else 0


async def _open(node: NodeProcess, *, alone: bool) -> None:
    """Open the link to the parent, and show it, or an agent, what it may look at."""
    node.host.has_rings = alone
    if "lease" in node.config:
        await _reach_parent(node)
    else:
        serve_far_links(node)
        node.attach(node.config["link"])
        if alone:
            node.show_stacks()
        node.show_blocks()
    if alone:
        node.serve_debugger()
        import_modules(node.config["preload"])


async def _close_links(node: NodeProcess) -> None:
    """Close all links: a thread has to do so itself, and what goes to another machine is to be read there."""
    links = node.host.close_links()
    with move_on_after(_LAST_READ, shield=True):
        for link in links:
            await link.socket_closed()
    for close in node.when_closed:
        close()


async def _reach_parent(node: NodeProcess) -> None:
    """Connect to the parent, which is on another machine than this node and its agent."""
    from actors.machines.placed_process import (  # noqa: PLC0415 - as above
        dial_parent,
        follow_clock,
        link_agent,
        peer_links,
    )

    follow_clock(node, node.config)
    session = await dial_parent(node.config)
    node.when_closed.append(peer_links(node, node.config, session).close)
    node.attach(session)
    node.router_link = link_agent(node, node.config)
    node.when_closed.append(node.router_link.close)
    node.show_stacks(node.router_link)


def _report_failure(node: NodeProcess) -> None:
    """Tell the parent what failed, in an `except` block, and close what this node has opened."""
    node.parent.note(ops.boot_failed, traceback.format_exc())
    node.parent.flush()
    node.block_watch.stop()
    node.parent.close()


class _NodeEnd:
    """Ends this node when the parent asks, at once or when its work is finished."""

    def __init__(self, node: NodeProcess, access: NodeAccess, servers: NodeServers) -> None:
        self._node = node
        self._access = access
        self._servers = servers
        self._ending = False
        self.link_lost = False
        self.reached = node.host.loop.waiter()
        handlers = node.host.handlers
        handlers.on_note(ops.leave, self._on_leave)
        handlers.on_note(ops.shut_down, self._on_shut_down)
        handlers.on_note(ops.end_now, lambda _link: self._reach())
        if "lease" in node.config:
            node.parent_lost = self._on_parent_lost

    def _on_leave(self, _link: Link, seconds: float) -> None:
        self._node.heartbeat.stop()
        self._node.host.loop.start(self._leave, seconds, name="leave")

    def _on_parent_lost(self) -> None:
        """End in order: the parent, which is elsewhere, has lost the link as well, and starts another run."""
        if not (self._ending or self.reached.done()):
            self.link_lost = True
            self._on_leave(self._node.parent, self._node.config["leave_within"])

    async def _leave(self, seconds: float) -> None:
        """Finish the node's work, connections first: their handlers may need its actors."""
        until = current_time() + seconds
        try:
            share = seconds * (_CONNECTIONS if self._node.has_supervised else 1.0)
            await self._servers.drain(share)
            left = max(0.0, until - current_time())
            with move_on_after(left + _ENDING * seconds):
                await self._node.finish_actors(left)
        finally:
            await self._shut_down(0.0)

    def _on_shut_down(self, _link: Link, seconds: float) -> None:
        self._node.heartbeat.stop()
        self._node.host.loop.start(self._shut_down, seconds, name="shutdown")

    async def _shut_down(self, seconds: float) -> None:
        """Drain the servers, end the node's own actors, then let the loop end; only once."""
        if self._ending:
            return
        self._ending = True
        try:
            await self._servers.stop(seconds)
            await self._access.stop_own_actors()
        finally:
            self._reach()

    def _reach(self) -> None:
        if not self.reached.done():
            self.reached.set_result(None)


if __name__ == "__main__":
    main(int(sys.argv[1]))
