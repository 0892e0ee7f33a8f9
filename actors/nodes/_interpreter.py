"""An interpreter node, seen from its parent: a sub-interpreter of this process with a lock and loop of its own.

Rule 1: it shares no object with its parent: it is reached over a socket, as a process is.
Rule 2: as a thread it cannot be killed: one that does not end is ABANDONED.
"""

from __future__ import annotations

import json
import os
import socket
import sys
from contextlib import suppress
from importlib import import_module
from typing import Any, Final

from anyio import move_on_after, to_thread

from actors._base.errors import ActorsError, BootFailed
from actors._base.own_output import becomes_records
from actors._remoting import operations as ops
from actors._remoting.link import Link
from actors.nodes._thread import ThreadRun
from actors.nodes.boot.output import LinesReader, WrittenRecords
from actors.nodes.remote_node import RemoteNode

__all__ = ["InterpreterNode", "InterpreterRun"]

_ANSWER: Final = 1.0
"""Seconds its loop has to return the stacks of its tasks."""
_CLOSE: Final = 2.0
"""Seconds to wait until an interpreter whose node has ended is freed."""
_MOST: Final = 65536
"""Bytes of the error with which its thread has ended."""
_BOOT: Final = """
import sys, threading

def run():
    import os, traceback
    problem = ""
    try:
        sys.path[:] = {path!r}
        from importlib import import_module
        import_module({module!r}).run_interpreter({config!r})
    except BaseException:
        problem = traceback.format_exc()
    try:
        os.write({lifeline}, problem.encode("utf-8", "backslashreplace")[-{most}:])
    finally:
        os.close({lifeline})

threading.Thread(target=run, name={name!r}, daemon=True).start()
"""
"""What starts the node's thread inside the new interpreter, which has imported nothing yet."""


class InterpreterNode(RemoteNode):
    """A node that is a sub-interpreter with an event loop."""

    kind = "interpreter"

    def make_run(self, *, successor: bool = False) -> InterpreterRun:
        """Make a run of this node."""
        return InterpreterRun(self, successor=successor)


class InterpreterRun(ThreadRun):
    """One sub-interpreter, from its start to its end."""

    def __init__(self, node: RemoteNode, *, successor: bool = False) -> None:
        super().__init__(node, successor=successor)
        self._interpreter: Any = None
        self._lifeline: socket.socket | None = None
        self._lines: LinesReader | None = None
        self._log = -1

    @property
    def _begun(self) -> bool:
        return self._interpreter is not None

    async def _spawn(self) -> None:
        ours, theirs = socket.socketpair()
        near, far = socket.socketpair()
        lines, log = os.pipe()
        os.set_blocking(log, False)  # a full one drops lines
        # Numbers: the interpreter makes sockets of its own of them, and closes them.
        link, lifeline = theirs.detach(), far.detach()
        self.pid = os.getpid()
        self.show_state()
        config = self._config(
            link=link, log=log, records=becomes_records(), max_rss=None, dumps=False, argv=_argv()
        )
        self.path = config["path"]
        self.link = Link(self._home.host, self.address)
        self.link.attach(ours)
        self._lines = LinesReader(self._loop, lines, WrittenRecords(self.node.name))
        self._log = log
        try:
            self._interpreter = await to_thread.run_sync(self._start, config, lifeline)
        except BaseException:
            near.close()
            for fd in (link, lifeline, log):
                os.close(fd)
            raise
        near.setblocking(False)
        self._lifeline = near
        self._loop.watch_readable(near.fileno(), self._thread_ended)

    def _start(self, config: dict[str, Any], lifeline: int) -> Any:
        """Make the interpreter, and start the node's thread in it; in a thread beside the loop."""
        made = _new_interpreter()
        source = _BOOT.format(
            path=config["path"],
            module=self._home.node_module,
            config=json.dumps(config),
            lifeline=lifeline,
            most=_MOST,
            name=f"actors node {self.node.name}",
        )
        try:
            made.exec(source)
        except BaseException:
            made.close()
            raise
        return made

    def _thread_ended(self) -> None:
        """The node's thread has ended, and said how."""
        if self._lifeline is None:
            return
        problem = b""
        with suppress(OSError):
            problem = self._lifeline.recv(_MOST)
        self._forget_lifeline()
        why = problem.decode(errors="replace").strip().rpartition("\n")[2] or "its thread ended"
        self._loop.start(self._close, why, not problem, name=f"{self.node.name}: close", fresh=True)

    async def _close(self, why: str, clean: bool) -> None:  # noqa: FBT001 - passed on by position
        """Free the interpreter: what still runs in it does not go on, unless C code keeps its lock."""
        try:
            with move_on_after(_CLOSE), suppress(Exception):
                await to_thread.run_sync(self._interpreter.close, abandon_on_cancel=True)
                os.close(self._log)  # now nothing is left that may write to this number
        finally:
            self._finish(*self.end.decide(why, clean=clean))

    def _forget_lifeline(self) -> None:
        if self._lifeline is not None:
            self._loop.unwatch_readable(self._lifeline.fileno())
            self._lifeline.close()
            self._lifeline = None

    def _stack(self) -> str:
        return ""  # another interpreter's frames cannot be seen from here

    async def stacks(self) -> dict[str, Any]:
        """Return the stacks of its tasks; see `RemoteRun.stacks`."""
        if self.link is None:
            raise ActorsError(f"node {self.node.name} is {self.state.value}: nothing to see")
        tasks = None
        with move_on_after(_ANSWER):
            tasks = await self.link.call(ops.task_stacks)
        return {"threads": [], "tasks": tasks}

    async def profile(self, seconds: float) -> dict[str, Any]:  # noqa: ARG002 - of other kinds
        """Refuse: another interpreter's frames cannot be seen from here."""
        raise ActorsError(f"node {self.node.name} is an interpreter, which cannot be profiled")

    def _release(self) -> None:
        super()._release()
        self._forget_lifeline()
        if self._lines is not None:
            self._lines.close()


def _new_interpreter() -> Any:
    """Return a new interpreter with a lock of its own.

    Raises:
        BootFailed: this Python has none.
    """
    try:
        interpreters, inner = (
            import_module("concurrent.interpreters"),
            import_module("_interpreters"),
        )
    except ImportError as error:
        raise BootFailed("interpreter nodes need Python 3.14 or later") from error
    # Daemon threads, which `interpreters.create` does not allow: what never returns must not keep the
    # whole process from ending.
    config = inner.new_config("isolated", allow_daemon_threads=True)
    return interpreters.Interpreter(inner.create(config, reqrefs=True), _ownsref=True)


def _argv() -> list[str]:
    return [str(argument) for argument in getattr(sys, "argv", ())]
