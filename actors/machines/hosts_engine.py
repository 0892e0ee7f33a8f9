"""The engine "hosts": a command for each host, such as ``ssh web1``, runs an agent there.

Rule: only of an agent on this machine is the end certain. The end of a command that reaches another one proves
nothing of the program at its other end, so nothing certain is said of it.
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from anyio import Event, move_on_after, to_thread

from actors._base.options import kernel_text_problem
from actors._base.process_stat import process_stat
from actors._base.signal_name import signal_name
from actors._base.suggestions import did_you_mean
from actors.machines.engine import Gone, Placed
from actors.nodes import common_environment, python_command, read_output

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors._base.loop import Loop, Waiter
    from actors.machines.engine import Join, Reach, Want
    from actors.nodes import LinesReader

__all__ = ["AGENT_MODULE", "HostsEngine", "host_count"]

AGENT_MODULE: Final = "actors.machines.agent"
_KEYS: Final = ("run", "python")
_LOOK: Final = 0.005
"""Seconds between two looks for what is left of a place on this machine."""
_LAST_LINES: Final = 20


def host_count(on: Mapping[str, Any]) -> int:
    """Return how many hosts the words of the engine name."""
    hosts = on.get("hosts")
    return len(hosts) if isinstance(hosts, list) and hosts else 1


class _Agent:
    """The command that runs an agent."""

    def __init__(
        self,
        loop: Loop,
        gone: Callable[[Gone], None],
        forget: Callable[[_Agent], None],
        *,
        here: bool,
    ) -> None:
        self.here = here
        self.popen: subprocess.Popen[bytes] | None = None
        self.ended = Event()
        self._loop = loop
        self._gone = gone
        self._forget = forget
        self._pidfd = -1
        self._output: LinesReader | None = None
        self._unwanted = False

    def start(self, command: list[str], join: Join, env: dict[str, str]) -> int:
        """Start the command, in a thread, and return what its output is read from."""
        output, written = os.pipe()
        try:
            self.popen = subprocess.Popen(  # noqa: S603 - our own interpreter, or what the user has named
                command,
                stdin=subprocess.PIPE,
                stdout=written,
                stderr=written,
                env=env,
                start_new_session=True,
            )
            self._pidfd = os.pidfd_open(self.popen.pid)
        except BaseException:
            os.close(output)
            self._end_unseen()
            raise
        finally:
            os.close(written)
        assert self.popen.stdin is not None
        with suppress(BrokenPipeError):  # it has ended, which is told next
            self.popen.stdin.write(join.to_text().encode() + b"\n")
            self.popen.stdin.flush()
        with suppress(BrokenPipeError):
            self.popen.stdin.close()
        return output

    def watch(self, output: int, name: str) -> None:
        """Read its output, and see when it ends."""
        assert self.popen is not None
        self._output = read_output(self._loop, output, name)
        self._loop.watch_readable(self._pidfd, self._died)
        if self._unwanted:
            self.kill()

    def _end_unseen(self) -> None:
        """End a command whose end nobody would see, as there is no descriptor for that."""
        if self.popen is not None:
            self.kill()
            with self.popen:  # closes its input, and waits for its end
                pass

    def kill(self) -> None:
        """End it now, and with it its nodes, if it is here; one that starts ends when it is there."""
        self._unwanted = True
        if self.popen is not None and self.popen.returncode is None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self.popen.pid, signal.SIGKILL)

    def _died(self) -> None:
        self._loop.unwatch_readable(self._pidfd)
        os.close(self._pidfd)
        assert self.popen is not None
        # Not reaped before its nodes have ended: so long no other session can have its number.
        if self.here:
            self._sweep()
        else:
            self._tell()

    def _sweep(self) -> None:
        """Kill what is left of its session, and tell when there is nothing."""
        assert self.popen is not None
        left = _session(self.popen.pid)
        for pid in left:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        if left:
            self._loop.call_later(_LOOK, self._sweep)
        else:
            self._tell()

    def _tell(self) -> None:
        assert self.popen is not None
        assert self._output is not None
        code = self.popen.wait()
        self._output.close()
        lines = self._output.shown(_LAST_LINES)
        how = f"exit code {code}" if code >= 0 else f"killed by {signal_name(-code)}"
        what = "its agent" if self.here else f"the command {shlex.join(map(str, self.popen.args))}"  # type: ignore[arg-type] # a list
        why = f"{what} ended: {how}" + (f"; its last lines:{lines}" if lines and code else "")
        self._forget(self)
        self.ended.set()
        self._gone(Gone(certain=self.here, why=why))


class HostsEngine:
    """Runs a command on this machine for each agent; made by ``nodes(engine="hosts")``.

    Args:
        loop: of the process that made the system.
    """

    name = "hosts"

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._agents: set[_Agent] = set()
        """Those that have not ended."""

    async def open(self, reach: Reach) -> None:
        """Nothing is connected to."""

    def check(self, want: Want) -> None:
        """Refuse what names no hosts.

        Raises:
            InvalidSpec: naming the bad value.
        """
        _host(want)

    async def start(self, want: Want, join: Join, gone: Callable[[Gone], None]) -> Placed:
        """Run the command of the place's host, with an agent behind it."""
        host = _host(want)
        run = list(host.get("run", []))
        agent = _Agent(self._loop, gone, self._agents.discard, here=not run)
        if run:
            command = [*run, str(host.get("python", sys.executable)), "-m", AGENT_MODULE]
            env = dict(os.environ)
        else:
            command = python_command(AGENT_MODULE)
            env = {**os.environ, **common_environment()}
        self._agents.add(agent)
        begun = self._loop.waiter()
        task = partial(self._begin, agent, command, join, env, begun)
        self._loop.start(task, name=f"start of {join.place}", fresh=True)
        try:
            await begun
        except BaseException:
            agent.kill()
            raise
        name = shlex.join(run) if run else f"pid {agent.popen.pid if agent.popen else 0}"
        return Placed(name=name, handle=agent)

    async def _begin(
        self, agent: _Agent, command: list[str], join: Join, env: dict[str, str], begun: Waiter
    ) -> None:
        """Start the command; not in the task of whoever waits, which may be cancelled: it would run on."""
        try:
            output = await to_thread.run_sync(agent.start, command, join, env)
        except Exception as error:  # noqa: BLE001 - whoever waits is told
            self._agents.discard(agent)
            agent.ended.set()
            if not begun.done():
                begun.set_exception(error)
            return
        agent.watch(output, f"agent {join.place}")
        if not begun.done():
            begun.set_result(None)

    async def stop(self, placed: Placed, grace: float) -> None:
        """Wait for the end of an agent that was told to end, and kill it after *grace* seconds."""
        agent: _Agent = placed.handle
        with move_on_after(grace):
            await agent.ended.wait()
        if not agent.ended.is_set():
            agent.kill()
            await agent.ended.wait()

    def kill(self, placed: Placed) -> None:
        """Kill the command; what it runs on another machine ends with its lease at the latest."""
        placed.handle.kill()

    def facts(self, placed: Placed) -> Mapping[str, str]:
        """Return the command."""
        return {"host": placed.name}

    async def close(self) -> None:
        """Kill those that were not stopped, and wait for their ends."""
        for agent in list(self._agents):
            agent.kill()
            await agent.ended.wait()


def _host(want: Want) -> Mapping[str, Any]:
    """Return the host of a place, checked."""
    require = partial(want.require, "hosts")
    unknown = [key for key in want.on if key != "hosts"]
    require(not unknown, f"on has the key 'hosts' alone, got {', '.join(map(repr, unknown))}")
    hosts = want.on.get("hosts", [{}])
    require(
        isinstance(hosts, list) and hosts, f"on['hosts'] must be a list of hosts, got {hosts!r}"
    )
    for index, host in enumerate(hosts):
        where = f"on['hosts'][{index}]"
        require(isinstance(host, Mapping), f"{where} must be a table, got {host!r}")
        for key in host:
            require(key in _KEYS, f"{where} has no {key!r}{did_you_mean(str(key), _KEYS)}")
        run = host.get("run", [])
        words = isinstance(run, list | tuple) and all(map(_is_word, run))
        require(words, f"{where}['run'] must be a list of words, got {run!r}")
        python = host.get("python", "-")
        require(_is_word(python), f"{where}['python'] must be text, got {python!r}")
    found: Mapping[str, Any] = hosts[want.place % len(hosts)]
    return found


def _is_word(word: object) -> bool:
    """Whether a command can have this word."""
    return type(word) is str and word != "" and not kernel_text_problem(word)


def _session(number: int) -> list[int]:
    """Return the processes of a session that have not ended, but for the one that began it."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == number:
            continue
        with suppress(OSError):  # it has ended meanwhile
            fields = process_stat(entry.name)
            if fields[0] not in {"Z", "X"} and int(fields[3]) == number:
                found.append(int(entry.name))
    return found
