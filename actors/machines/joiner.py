"""What `actors join` runs: it is the agent of one parent after another, to whom it offers itself.

Rule 1: nothing is offered while a node of the parent before may run.
Rule 2: what another try cannot mend ends the process, with `REFUSED` and one line: its engine tells people.
"""

from __future__ import annotations

import os
import secrets
import signal
import socket
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from anyio import CancelScope, create_task_group, sleep

from actors._base.errors import InvalidSpec
from actors._base.log import system_logger, this_process_is
from actors._base.run_loop import open_loop
from actors.machines.agent import REFUSED, Agent
from actors.machines.agent_health import AgentHealth
from actors.machines.control_line import ControlLine
from actors.machines.dial import OtherSecret, dial_to_join
from actors.machines.engine import Join
from actors.machines.join_secret import JoinSecret
from actors.machines.pauses import Pauses
from actors.machines.wire_version import identity

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractContextManager
    from typing import TypeAlias

    from actors._base.loop import Loop, Waiter
    from actors.machines.control_line import Record
    from actors.machines.material import Material
    from actors.transport.channels.tls_session import TlsSession

    Reaping: TypeAlias = Callable[[Loop, Callable[[], set[int]]], AbstractContextManager[None]]

__all__ = ["JoinOptions", "Joiner", "run_joiner"]

_PAUSE: Final = 0.1
"""Seconds until the second try to find a parent."""
_LONGEST_PAUSE: Final = 5.0
_SAY_AGAIN: Final = 60.0
"""Seconds after which is said again what was said before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinOptions:
    """The options of `actors join`.

    Attributes:
        host: where the parent is.
        port: the same.
        secret_file: has the secret of the cluster.
        name: which no other agent has at a time; "" is one that it makes up.
        labels: by which groups choose their agents.
        address: where other nodes reach those of this machine; "" is where it has reached the parent.
        material: the users' own certificate; None is one that the parent gives.
        health: host and port at which probes are answered; None is nowhere.
    """

    host: str
    port: int
    secret_file: str
    name: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    address: str = ""
    material: Material | None = None
    health: tuple[str, int] | None = None


class _Offer:
    """The connection on which this agent waits to be wanted, and by which the parent knows that it lives.

    Attributes:
        wanted: how to join; or why the parent refuses this agent, as a text.
    """

    def __init__(self, loop: Loop, session: TlsSession) -> None:
        self.address: tuple[str, int] = session.address
        self.wanted: Waiter = loop.waiter()
        self.agent: Agent | None = None
        self.line: ControlLine = ControlLine(loop, session, self._take, self._ended)

    def _take(self, record: Record) -> None:
        op = record.pop("op")
        if op == "ping":
            self.line.send("pong")
        elif op == "kill" and self.agent is not None:
            self.agent.end("its engine was told to kill it")
        elif op == "join" and not self.wanted.done():
            self.wanted.set_result(Join.from_plain(record["join"]))
        elif op == "refused" and not self.wanted.done():
            self.wanted.set_result(str(record["why"]))

    def _ended(self, why: str) -> None:
        if not self.wanted.done():
            self.wanted.set_exception(ConnectionError(f"the parent has gone: {why}"))


class Joiner:
    """Serves one parent after another, until it is told to end.

    Args:
        loop: of this process.
        options: of the command.

    Attributes:
        name: by which the parent knows it.
    """

    def __init__(self, loop: Loop, options: JoinOptions) -> None:
        self.name: str = options.name or f"{socket.gethostname()}-{os.getpid()}"
        self._loop = loop
        self._options = options
        self._instance = secrets.token_hex(16)
        """Tells the parent that what was here before has ended: nobody else knows it."""
        self._agent: Agent | None = None
        self._waiting = CancelScope()
        self._leaving = False
        self._code = 0
        self._pauses = Pauses(_PAUSE, _LONGEST_PAUSE)
        self._said = ("", 0.0)
        self._log = system_logger(node=f"agent {self.name}")

    # -- for `/ready` and signals -------------------------------------------------------------

    @property
    def ready(self) -> bool:
        """Whether it has nodes, all of them are ready, and it was not told to end."""
        return self._agent is not None and not self._leaving and self._agent.ready

    @property
    def doing(self) -> str:
        """What it does, in words."""
        if self._leaving and self._agent is None:
            return "it ends"
        return "no parent has given it a place yet" if self._agent is None else self._agent.doing

    def child_processes(self) -> set[int]:
        """Return the numbers of the processes that its nodes and their start need."""
        return set() if self._agent is None else self._agent.child_processes()

    def leave(self) -> None:
        """End in order: the nodes finish what they have."""
        self._leaving = True
        if self._agent is None:
            self._waiting.cancel()
        else:
            self._agent.leave()

    # -- one parent after another ---------------------------------------------------------------

    async def run(self) -> int:
        """Serve until it is told to end; return the exit code."""
        while not self._leaving and not self._code:
            with CancelScope() as self._waiting:
                try:
                    await self._join_once()
                except OtherSecret as error:
                    self._log.error(
                        "agent refused",
                        why=f"{error} (--secret-file={self._options.secret_file!r})",
                    )
                    self._code = REFUSED
                except (InvalidSpec, ValueError) as error:
                    # The file of the secret is none any more, or there are too many labels.
                    self._log.error("agent refused", why=str(error))
                    self._code = REFUSED
                except OSError as error:
                    self._tell_waiting(str(error))
                    await sleep(self._pauses.next())
        if not self._code:
            self._log.info("agent ended")
        return self._code

    async def _join_once(self) -> None:
        """Offer this agent to the parent, and serve it."""
        offer = _Offer(self._loop, await self._dial())
        try:
            self._tell_waiting(f"{self._options.host}:{self._options.port} has no place for it yet")
            wanted: Join | str = await offer.wanted
            if isinstance(wanted, str):
                self._log.error("agent refused", why=wanted)
                self._code = REFUSED
                return
            with CancelScope(shield=True):
                await self._serve(offer, self._join_of(wanted, offer.address))
        finally:
            offer.line.close()

    async def _dial(self) -> TlsSession:
        options = self._options
        secret = JoinSecret.from_file(options.secret_file, "--secret-file")
        hello = {
            **identity(),
            "name": self.name,
            "unique": bool(options.name),
            "instance": self._instance,
            "labels": dict(options.labels),
            "machine": socket.gethostname(),
            "pid": os.getpid(),
        }
        return await dial_to_join((options.host, options.port), options.material, secret, hello)

    def _join_of(self, join: Join, address: tuple[str, int]) -> Join:
        """Return how to join: the parent is there where it was found, whatever name it has for itself."""
        material = self._options.material
        own = join.material if material is None else material.to_plain()
        host = self._options.host if material is not None else address[0]
        return replace(join, host=host, port=address[1], material=own)

    async def _serve(self, offer: _Offer, join: Join) -> None:
        agent = Agent(self._loop, join, address=self._options.address)
        await agent.join_parent()
        self._agent = offer.agent = agent
        self._pauses.reset()
        this_process_is(f"agent {join.place}")
        self._log.info("agent joined", place=join.place, parent=f"{join.host}:{join.port}")
        if self._leaving:
            agent.leave()
        why = await agent.over
        await agent.close()
        await agent.wait_emptied()
        self._agent = None
        tell = self._log.error if agent.exit_code else self._log.info
        tell("agent left", place=join.place, why=why or "its parent needs it no more")
        self._code = agent.exit_code

    def _tell_waiting(self, why: str) -> None:
        """Say what is waited for, once; and again after a while."""
        now = self._loop.now()
        if self._said[0] != why or now - self._said[1] >= _SAY_AGAIN:
            self._said = (why, now)
            self._log.info("agent waits", why=why)


async def run_joiner(options: JoinOptions, reaping: Reaping) -> int:
    """Be an agent of one parent after another; return the exit code.

    Args:
        options: of the command.
        reaping: reaps, as a context, the children of this process that are none of those it is told.

    Raises:
        InvalidSpec: an option cannot be.
    """
    async with open_loop() as loop, AsyncExitStack() as held:
        joiner = Joiner(loop, options)
        this_process_is(f"agent {joiner.name}")
        if options.health is not None:
            health = await AgentHealth.open(options.health, joiner)
            tasks = await held.enter_async_context(create_task_group())
            held.callback(tasks.cancel_scope.cancel)
            tasks.start_soon(health.serve)
        # A terminal sends SIGINT to all: nodes take no notice of it, the agent lets them finish.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda _number, _frame: loop.call_threadsafe(joiner.leave))
        with reaping(loop, joiner.child_processes):
            return await joiner.run()
