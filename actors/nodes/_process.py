"""A process node, seen from its parent: started, watched, killed, reaped.

Rule 1: the pidfd says whether the process has ended, end-of-file only hints at it; the link is read to
its end before what is awaited over it fails.
Rule 2: however the process ends, its process group is killed and the process reaped.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

from actors._base.cpus import usable_cpus
from actors._base.errors import BootFailed
from actors._base.library_threads import thread_settings
from actors._remoting.link import Link
from actors.nodes.boot.launch import Launch
from actors.nodes.boot.output import PrintedOutput, WrittenRecords
from actors.nodes.boot.preload import PreloadFailed
from actors.nodes.child_process import (
    BACKEND_MODULES,
    ChildProcess,
    common_environment,
    last_lines_of,
)
from actors.nodes.health.block_watch import message_in
from actors.nodes.health.heartbeat import last_dump
from actors.nodes.process_run import ProcessRun
from actors.nodes.process_settings import process_settings
from actors.nodes.remote_node import RemoteNode
from actors.transport import RemoteTraceback

if TYPE_CHECKING:
    from actors.nodes.boot.descriptors import NodePipes

__all__ = ["LocalProcessRun", "ProcessNode"]


class ProcessNode(RemoteNode):
    """A node that is a process of the operating system."""

    kind = "process"

    def make_run(self, *, successor: bool = False) -> LocalProcessRun:
        """Make a run of this node."""
        return LocalProcessRun(self, successor=successor)


class LocalProcessRun(ProcessRun):
    """A process of this machine, from its start to its reaping."""

    def __init__(self, node: RemoteNode, *, successor: bool = False) -> None:
        super().__init__(node, successor=successor)
        self._child = ChildProcess(node.name, self._loop, self._read_to_end)

    async def _spawn(self) -> None:
        """Start the process.

        Raises:
            BootFailed: it was killed meanwhile, or what it is to share with others cannot be imported.
        """
        preload = ", ".join(self.node.spec.preload)
        self.doing: str = f"importing {preload}" if preload else ""
        try:
            await self._child.start(
                self._home.launcher,
                self._launch,
                unwanted=lambda: self._completion.exit is not None,
                adopt=self._adopt,
            )
        except PreloadFailed as failed:
            cause = RemoteTraceback(failed.stack) if failed.stack else None
            raise BootFailed(f"nodes({self.node.group!r}): {failed.why}") from cause
        self.doing = ""

    def _launch(self, pipes: NodePipes) -> Launch:
        node = self.node
        return Launch(
            module=self._home.node_module,
            title=node.name,
            link=pipes.far_link,
            lifeline=pipes.far_lifeline,
            log=pipes.far_log,
            output=pipes.far_output,
            common=common_environment(),
            env=node.spec.shared_env,
            defaults=self._defaults(),
            own_env=node.spec.own_env(node.slot),
            imports=BACKEND_MODULES[node.spec.backend] + self._home.imports(node.group),
            preload=tuple(node.spec.preload),
            threadless=self._home.preloaded_apps(node.group),
            within=node.spec.boot_timeout,
        )

    def _defaults(self) -> dict[str, str]:
        """Return how many threads libraries may start, so that all nodes together have one for each CPU."""
        spec = self.node.spec
        cpus = 1 if spec.cpus == "each" else usable_cpus()
        return thread_settings(cpus, self._home.process_nodes, {*os.environ, *spec.env})

    def _adopt(self) -> None:
        """Read the process's output, send it its configuration, and attach the link."""
        node = self.node
        self.pid: int | None = self._child.pid
        self.show_state()
        self._child.read(WrittenRecords(node.name), PrintedOutput(node.name))
        config = self._config(
            process=process_settings(node.spec, node.slot),
            preload=list(node.spec.preload),
            max_rss=node.spec.max_rss,
            dumps=True,
            argv=[str(argument) for argument in getattr(sys, "argv", ())],
        )
        self.path: list[str] | None = config["path"]
        self._child.configure(config)
        self.link: Link | None = Link(self._home.host, self.address)
        self.link.attach(self._child.link)

    @property
    def begun(self) -> bool:
        """Whether it was started."""
        return self._child.begun

    @property
    def running(self) -> bool:
        """Whether it was started and has not ended, as its pidfd says."""
        return self._child.running

    def _force_end(self) -> None:
        self._child.kill()

    def _complete(self) -> None:
        if not self._child.begun:
            return
        self._child.read_to_end()  # before its last lines are wanted
        code = self._child.returncode
        how, lines = self._describe(code), self._last_lines()
        self._finish(*self.end.decide(how, clean=not code, last_lines=lines))

    def on_stack_dump(self, stacks: int) -> None:
        """Take the file that this process writes its stacks to, so that it can be looked into."""
        self._child.take_stack_file(stacks)

    def _blocked_by(self) -> dict[str, Any]:
        found = super()._blocked_by()
        lines = last_dump(self._child.last)
        if lines:
            found["stack"] = "\n".join(lines)
        message = message_in(lines)
        if message and "actor" not in found:
            # C code holds the interpreter's lock, so that the process itself could not look.
            found["message"] = message
            actors = self._home.actors_with(self.node, message)
            found["actor"] = actors[0] if len(actors) == 1 else f"one of {', '.join(actors)}"
        return found

    async def stacks(self) -> dict[str, Any]:
        """Return the stacks of its threads and tasks; see `RemoteRun.stacks`."""
        return await self._child.stacks()

    async def profile(self, seconds: float) -> dict[str, Any]:
        """Return where it spends its CPU time; see `RemoteRun.profile`."""
        return await self._child.profile(seconds)

    def _release(self) -> None:
        self._child.release()

    def _last_lines(self) -> str:
        return last_lines_of(self._child.last, self._child.returncode, hung=bool(self.end.hung))
