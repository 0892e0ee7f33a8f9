"""The engine "ray": Ray places one actor of its own for each place, and says when its process has ended.

Rule 1: Ray itself is in a process beside this one (`ray_driver`), which is started when it is needed.
Rule 2: an agent that Ray has lost sight of is not gone: its lease decides.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import threading
from contextlib import suppress
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from anyio import Event, fail_after, move_on_after, to_thread

from actors._base.errors import BootFailed
from actors._base.suggestions import did_you_mean
from actors.machines.engine import Gone, Placed
from actors.nodes import common_environment, python_command, read_output

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from actors._base.loop import Loop, Waiter
    from actors.machines.engine import Join, Reach, Want
    from actors.nodes import LinesReader

__all__ = ["RayEngine"]

DRIVER_MODULE: Final = "actors.machines.ray_driver"
_SHORT: Final = {"CPU": "num_cpus", "GPU": "num_gpus"}
"""Ray's names of resources, and its options for them."""
_OPTIONS: Final = (
    *_SHORT,
    "accelerator_type",
    "fallback_strategy",
    "label_selector",
    "memory",
    "num_cpus",
    "num_gpus",
    "resources",
    "runtime_env",
)
"""What may be said of where an actor of Ray's is to be; everything else of it is this engine's own affair."""
_CONNECTS_WITHIN: Final = 60.0
_CHECKS_WITHIN: Final = 60.0
_KILLED_WITHIN: Final = 5.0
"""Seconds until an actor that was killed is taken for gone at the end of a system."""
_ENDS_WITHIN: Final = 10.0
"""Seconds that the process has to end a cluster that it has started."""
_LAST_LINES: Final = 5
_CHUNK: Final = 65536


class _Agent:
    """An agent that Ray was asked for."""

    def __init__(self, driver: _Driver, number: int, gone: Callable[[Gone], None]) -> None:
        self.driver = driver
        self.number = number
        self.gone = gone
        self.ended = Event()
        self.placed: Waiter | None = driver.loop.waiter()

    def place(self, name: str) -> None:
        """It has a name: Ray has taken it on."""
        if self.placed is not None and not self.placed.done():
            self.placed.set_result(name)

    def end(self, told: Gone) -> None:
        """It is over, or nothing more will be heard of it."""
        if self.ended.is_set():
            return
        self.ended.set()
        if self.placed is not None and not self.placed.done():
            self.placed.set_exception(BootFailed(told.why))
        else:
            self.gone(told)


class _Driver:
    """The process that speaks to Ray, and the agents that it has started."""

    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        self.over = ""
        self.agents: dict[int, _Agent] = {}
        self._numbers = 0
        self._in = b""
        self._connected: Waiter = loop.waiter()
        self._popen: subprocess.Popen[bytes] | None = None
        self._output: LinesReader | None = None
        self._pipe = threading.Lock()

    async def connect(self) -> None:
        """Start the process, and return when it has connected to a cluster.

        Raises:
            BootFailed: it cannot.
        """
        output, written = os.pipe()
        try:
            self._popen = popen = await to_thread.run_sync(self._start, written)
        except BaseException:
            os.close(output)
            raise
        finally:
            os.close(written)
        self._output = read_output(self.loop, output, "ray")
        assert popen.stdout is not None
        assert popen.stdin is not None
        os.set_blocking(popen.stdout.fileno(), False)
        os.set_blocking(popen.stdin.fileno(), False)
        self.loop.watch_readable(popen.stdout.fileno(), self._read)
        try:
            with fail_after(_CONNECTS_WITHIN):
                await self._connected
        except TimeoutError:
            self._end(f"it has not connected within {_CONNECTS_WITHIN:g} s{self._last()}")
            raise BootFailed(f"engine ray: {self.over}") from None

    def _last(self) -> str:
        """Return what the process has printed last, for errors."""
        return "" if self._output is None else self._output.shown(_LAST_LINES)

    def _start(self, output: int) -> subprocess.Popen[bytes]:
        return subprocess.Popen(  # noqa: S603 - our own interpreter
            python_command(DRIVER_MODULE),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=output,
            env={**os.environ, **common_environment()},
            start_new_session=True,
        )

    def new_agent(self, gone: Callable[[Gone], None]) -> _Agent:
        """Make an agent that is not started yet."""
        self._numbers += 1
        agent = self.agents[self._numbers] = _Agent(self, self._numbers, gone)
        return agent

    def ask(self, op: str, **fields: Any) -> None:
        """Tell the process to do something; from any thread, without waiting.

        A pipe holds 64 KiB: a process that leaves so much unread is of no use, and is killed.
        """
        popen = self._popen
        line = json.dumps({"op": op, **fields}).encode() + b"\n"
        with self._pipe:  # for a moment: nobody waits who has it
            if popen is None or popen.stdin is None or popen.stdin.closed:
                return
            try:
                if os.write(popen.stdin.fileno(), line) < len(line):
                    popen.kill()
            except BlockingIOError:
                popen.kill()
            except OSError:
                return  # it has ended, which is told where its output is read

    def _read(self) -> None:
        assert self._popen is not None
        assert self._popen.stdout is not None
        try:
            data = os.read(self._popen.stdout.fileno(), _CHUNK)
        except BlockingIOError:
            return
        if not data:
            self._end(f"the process that speaks to Ray has ended{self._last()}")
            return
        *lines, self._in = (self._in + data).split(b"\n")
        for line in lines:
            self._take(**json.loads(line))

    def _take(self, op: str, n: int = 0, **fields: Any) -> None:
        if op == "connected":
            self._connected.set_result(None)
        elif op == "unconnected":
            self._end(f"it cannot connect: {fields['why']}")
        elif op == "placed" and n in self.agents:
            self.agents[n].place(fields["name"])
        elif op == "gone" and n in self.agents:
            self.agents.pop(n).end(Gone(**fields))

    def _end(self, why: str) -> None:
        """It is over; what it has started Ray ends with it, but nobody here will see when."""
        popen = self._popen
        if self.over or popen is None or popen.stdout is None or popen.stdin is None:
            return
        self.over = why
        self.loop.unwatch_readable(popen.stdout.fileno())
        popen.kill()
        popen.stdout.close()
        self._close_stdin()
        popen.wait()  # it was killed: this is a moment
        if self._output is not None:
            self._output.close()
        if not self._connected.done():
            self._connected.set_exception(BootFailed(f"engine ray: {why}"))
        agents, self.agents = self.agents, {}
        for agent in agents.values():
            agent.end(Gone(certain=False, why=why))

    def _close_stdin(self) -> None:
        with self._pipe, suppress(OSError):
            if self._popen is not None and self._popen.stdin is not None:
                self._popen.stdin.close()

    def abandon(self) -> None:
        """Kill the process: it is of no use."""
        self._end("it was given up")

    async def close(self) -> None:
        """Have the process end, and with it a cluster that it has started."""
        if self._popen is not None and not self.over:
            self._close_stdin()
            with suppress(subprocess.TimeoutExpired):
                await to_thread.run_sync(self._popen.wait, _ENDS_WITHIN)
        self._end("the system has ended")


class RayEngine:
    """Has Ray start agents; made by ``nodes(engine="ray")``.

    It connects to the cluster that Ray finds, as `ray.init` without an address does: that of the variable
    ``RAY_ADDRESS``, one that ``ray start`` began on this machine, or else a new one here alone.

    Args:
        loop: of the process that made the system.
    """

    name = "ray"

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._driver: _Driver | None = None
        self._connecting: Event | None = None
        self._right: set[str] = set()
        """Options that Ray has nothing against."""

    async def open(self, reach: Reach) -> None:
        """Connect to Ray.

        Raises:
            BootFailed: it cannot, and why.
        """
        del reach  # which an agent is told with all else that it joins by
        await self._connected()

    async def _connected(self) -> _Driver:
        """Return a driver that is connected; the one before may have been lost with its cluster."""
        while self._connecting is not None:
            await self._connecting.wait()
        if self._driver is not None and not self._driver.over:
            return self._driver
        self._connecting, driver = Event(), _Driver(self._loop)
        try:
            await driver.connect()
        except BaseException:
            driver.abandon()
            raise
        finally:
            self._connecting.set()
            self._connecting = None
        self._driver = driver
        return driver

    def check(self, want: Want) -> None:
        """Refuse what Ray does; the first time that is asked of a process of its own, for some seconds.

        Raises:
            InvalidSpec: in Ray's words, or Ray is not installed.
        """
        options, require = _options(want), partial(want.require, self.name)
        text = json.dumps(options)
        if text in self._right:
            return
        try:
            checked = subprocess.run(  # noqa: S603 - our own interpreter
                [*python_command(DRIVER_MODULE), "check"],
                input=text.encode(),
                capture_output=True,
                timeout=_CHECKS_WITHIN,
                check=False,
                env={**os.environ, **common_environment()},
            )
        except subprocess.TimeoutExpired:
            require(condition=False, rule=f"Ray said nothing within {_CHECKS_WITHIN:g} s")
            raise
        said = checked.stdout.decode(errors="replace").strip()
        if checked.returncode:
            said = checked.stderr.decode(errors="replace").strip()[-2000:]
        require(not said and not checked.returncode, said)
        self._right.add(text)

    async def start(self, want: Want, join: Join, gone: Callable[[Gone], None]) -> Placed:
        """Have Ray start an actor with an agent in it; where it is, and when, Ray decides."""
        driver = await self._connected()
        agent = driver.new_agent(gone)
        driver.ask("start", n=agent.number, options=_options(want), join=asdict(join))
        assert agent.placed is not None
        try:
            name = await agent.placed
        except BaseException:
            driver.ask("kill", n=agent.number)  # nobody else knows of it
            raise
        agent.placed = None
        return Placed(name=name, handle=agent)

    async def stop(self, placed: Placed, grace: float) -> None:
        """Wait for the end of an agent that was told to end, and have Ray kill it after *grace* seconds."""
        agent: _Agent = placed.handle
        with move_on_after(grace):
            await agent.ended.wait()
        if not agent.ended.is_set():
            self.kill(placed)
            with move_on_after(_KILLED_WITHIN):
                await agent.ended.wait()

    def kill(self, placed: Placed) -> None:
        """Have Ray kill an actor; one that Ray cannot reach ends with its lease."""
        agent: _Agent = placed.handle
        agent.driver.ask("kill", n=agent.number)

    def facts(self, placed: Placed) -> Mapping[str, str]:
        """Return Ray's number of the actor."""
        return {"ray_actor": placed.name}

    async def close(self) -> None:
        """End the process that speaks to Ray, and with it the actors that were not stopped."""
        if self._driver is not None:
            await self._driver.close()


def _options(want: Want) -> dict[str, Any]:
    """Return what Ray is told of a place, checked as far as Ray need not be asked."""
    require = partial(want.require, RayEngine.name)
    require(
        importlib.util.find_spec("ray") is not None,
        "Ray is not installed, which the extra `ray` has: pip install 'actors-framework[ray]'",
    )
    for key in want.on:
        require(
            key in _OPTIONS,
            f"on takes {', '.join(_OPTIONS)}, got {key!r}{did_you_mean(str(key), _OPTIONS)}",
        )
        twice = _SHORT.get(key) in want.on
        require(not twice, f"on has {key!r} and {_SHORT.get(key)!r}, which are the same")
    options = {_SHORT.get(key, key): value for key, value in want.on.items()}
    if want.spread:
        options["scheduling_strategy"] = "SPREAD"
    try:
        json.dumps(options, allow_nan=False)
    except (TypeError, ValueError) as error:
        require(condition=False, rule=f"on must be what JSON has: {error}")
    return options
