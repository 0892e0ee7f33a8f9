"""An agent: what the parent is to its own machine, on a place that an engine has given; ``python -m`` runs one.

Rule 1: it starts nodes, ends and reaps them, and says what became of them; it decides nothing.
Rule 2: it and its nodes live no longer than the connection to the parent, and the nodes no longer than the
lease, whatever happens to it.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
from typing import TYPE_CHECKING, Any, Final

from anyio import Event, move_on_after, to_thread

from actors._base.errors import ActorsError
from actors._base.log import this_process_is
from actors._base.run_loop import open_loop, run_on
from actors._remoting import operations as ops
from actors.machines.agent_listeners import AgentListeners
from actors.machines.agent_node import AgentNode
from actors.machines.control_line import ControlLine
from actors.machines.dial import dial
from actors.machines.engine import Join
from actors.machines.lease_asker import LeaseAsker
from actors.machines.material import Material
from actors.machines.place_links import LinkEnds
from actors.machines.placed_process import own_address
from actors.machines.stamps import version_of
from actors.machines.wire_version import identity
from actors.nodes import PARENTS_PATH, ActorHost, Launchers

if TYPE_CHECKING:
    from collections.abc import Mapping

    from actors._base.loop import Loop, Waiter
    from actors._remoting.router_node import LinkedRouterNode
    from actors.machines.control_line import Record
    from actors.nodes import Link

__all__ = ["REFUSED", "Agent", "main", "run_agent", "take_over_path"]

_REAPING: Final = 5.0
"""Seconds that the nodes have to be gone once they are killed."""
_LAST_WORDS: Final = 2.0
"""Seconds that the parent has to read what the agent said last."""
_PATIENCE: Final = 2.0
"""Seconds beyond their `shutdown` that nodes have which the parent has to end, until the agent does."""
REFUSED: Final = 78
"""The exit code of an agent that the parent will not have (sysexits' EX_CONFIG)."""


class Agent:
    """Serves one parent.

    Args:
        loop: of this process.
        join: how to join.
        address: where other nodes reach those of this place; "" is where this machine has reached the parent.

    Attributes:
        line: to the parent.
        launchers: what starts nodes.
        log_format: in which the nodes write records.
        nodes: those that have not ended, by their numbers.
        host: what its links to nodes need; it has no actors.
        listeners: of this place.
        over: why it ends, once it does.
    """

    line: ControlLine

    def __init__(self, loop: Loop, join: Join, *, address: str = "") -> None:
        self.loop = loop
        self.log_format: str = "json"
        self.nodes: dict[int, AgentNode] = {}
        self.over: Waiter = loop.waiter()
        self.exit_code: int = 0
        self._join = join
        self._material = None if join.material is None else Material.from_plain(join.material)
        self._address = address
        self._asker: LeaseAsker | None = None
        self._leaving = False
        self._node_ended = Event()
        """Of the node that ends next; then there is another one."""
        self.launchers: Launchers = Launchers(loop, self._event)
        self.host: ActorHost = ActorHost(f"agent {join.place}", 0, loop)
        self.listeners: AgentListeners = AgentListeners(self)
        self._link_ends = LinkEnds(self)
        self._operations = {"version_of": version_of, **self.listeners.operations}
        self.host.handlers.on_fd_note(ops.stack_dump, self._stack_dump, lost=lambda _link: None)

    # -- to the parent ------------------------------------------------------------------------

    async def join_parent(self) -> None:
        """Connect; what is to be done next comes over the line.

        Raises:
            ConnectionError: nobody let us in; it says where and why.
        """
        hello = {
            "purpose": "agent",
            **identity(),
            "machine": socket.gethostname(),
            "pid": os.getpid(),
        }
        session = await self._dial(self._join.ticket, hello)
        self._address = self._address or own_address(session)
        self.line = ControlLine(self.loop, session, self._take, self.end)

    @property
    def own(self) -> tuple[Material | None, str, float]:
        """What it shows, the address by which it has reached the parent, and the lease."""
        return self._material, self._address, self._join.lease

    async def _dial(self, ticket: str, hello: dict[str, Any]) -> Any:
        join = self._join
        parent = join.host, join.port
        return await dial(parent, self._material, ticket, hello, lease=join.lease)

    async def _welcomed(self, ticket: str) -> None:
        """Hold a lease, and tell the parent that nodes can be started."""
        try:
            session = await self._dial(ticket, {"purpose": "lease"})
        except (OSError, ValueError) as error:
            self.end(str(error))
            return
        try:
            self._asker = LeaseAsker(session, self._join.lease, self._lease_ended)
        except (OSError, RuntimeError) as error:  # no descriptor or no thread is free
            session.close()
            self.end(f"it can hold no lease: {error}")
            return
        if await to_thread.run_sync(self._asker.wait_held, self._join.lease):
            self.line.send("ready")
        else:
            self.end("its parent has granted no lease")

    def _lease_ended(self, why: str) -> None:
        """No lease can be asked for any more; called in a thread. The nodes need nobody to tell them."""
        # A parent that ends has closed this connection as well, and says so on the other one.
        self.loop.call_threadsafe(self.loop.call_later, _LAST_WORDS / 2, self.end, why)

    @property
    def held_lease(self) -> dict[str, Any]:
        """Where nodes find until when they may run."""
        assert self._asker is not None
        return {"page": self._asker.page.path, "every": self._asker.every}

    @property
    def reach(self) -> dict[str, Any]:
        """Where nodes find the parent: there where this agent has found it."""
        own = {"address": self._address} if self._address else {}
        return {"host": self._join.host, "port": self._join.port, **own}

    @property
    def material(self) -> Mapping[str, Any] | None:
        """What nodes show for which the parent has made no certificate."""
        return self._join.material

    @property
    def ready(self) -> bool:
        """Whether there are nodes, all of them are ready, and none of them was told to end."""
        nodes = self.nodes.values()
        leaving = self.over.done() or self._leaving
        return bool(nodes) and not leaving and all(node.ready for node in nodes)

    @property
    def doing(self) -> str:
        """What it does, in words."""
        if self.over.done() or self._leaving:
            return f"place {self._join.place} is draining"
        ready = sum(node.ready for node in self.nodes.values())
        return f"place {self._join.place} has {ready} of {len(self.nodes)} nodes ready"

    @property
    def clock(self) -> tuple[float, float]:
        """How far the parent's clock is ahead of this machine's, and by how much that may be wrong."""
        found = None if self._asker is None else self._asker.offset
        assert found is not None, "a lease is held"
        return found.ahead, found.error

    def child_processes(self) -> set[int]:
        """Return the numbers of the processes that nodes and their start need."""
        pids = {node.pid for node in self.nodes.values() if node.pid is not None}
        return pids | self.launchers.fork_server_pids

    # -- what the parent says -------------------------------------------------------------------

    def _take(self, record: Record) -> None:
        op = record.pop("op")
        if op == "welcome":
            self.line.let_peer_wait()
            self.log_format = record["log_format"]
            self.loop.start(self._welcomed, record["ticket"], name="lease")
        elif op == "refused":
            self.exit_code = REFUSED
            self.end(f"refused: {record['why']}")
        elif op == "start":
            node = AgentNode(self, record["n"], record)
            self.nodes[node.number] = node
            self.loop.start(node.start, name=f"start {record['name']}")
        elif op in {"kill", "state"}:
            self._tell_node(op, **record)
        elif op == "renew":
            self.launchers.renew()
        elif op == "end":
            self.end("")
        elif op in self._operations:
            self._do(op, record)
        else:
            call, asked = record["call"], self.nodes.get(record["n"])
            self.loop.start(self._answer, op, call, asked, float(record.get("seconds", 0)), name=op)

    def _tell_node(self, op: str, n: int, *, ready: bool = False) -> None:
        node = self.nodes.get(n)
        if node is not None and op == "kill":
            node.kill()
        elif node is not None:
            node.ready = ready

    def _do(self, op: str, record: Record) -> None:
        """Do what takes no time, and answer if that is wanted."""
        call = record.pop("call", None)
        try:
            answer = {"result": self._operations[op](**record)}
        except ActorsError as error:
            answer = {"error": str(error)}
        if call is not None:
            self.line.send("answer", call=call, **answer)

    async def _answer(self, op: str, number: int, node: AgentNode | None, seconds: float) -> None:
        try:
            if node is None:
                raise ActorsError("this node has ended")  # noqa: TRY301 - told like any other
            if op == "stacks":
                found = await node.stacks()
            elif op == "profile":
                found = await node.profile(seconds)
            else:
                raise ActorsError(f"an agent does no {op!r}")  # noqa: TRY301 - as above
        except ActorsError as error:
            self.line.send("answer", call=number, error=str(error))
        else:
            self.line.send("answer", call=number, result=found)

    def router_node(self, number: int) -> LinkedRouterNode | None:
        """Return a node as routers see it, None if it has ended."""
        node = self.nodes.get(number)
        return None if node is None else node.router_node

    def _of(self, link: Link) -> AgentNode | None:
        return next((node for node in self.nodes.values() if node.link is link), None)

    def run_of(self, link: Link) -> int | None:
        """Return the number of the run at the other end of a link."""
        node = self._of(link)
        return None if node is None else node.number

    def slot_of(self, link: Link) -> int | None:
        """Return the slot of the node at the other end of a link."""
        node = self._of(link)
        return None if node is None else node.slot

    def _stack_dump(self, link: Link, fds: list[int]) -> None:
        node, (stacks,) = self._of(link), fds
        if node is None:
            os.close(stacks)
        else:
            node.take_stack_file(stacks)

    def _event(self, kind: str, facts: dict[str, Any]) -> None:
        self.line.send("event", kind=kind, facts=facts)

    # -- the end --------------------------------------------------------------------------------

    def link_ended(self, node: AgentNode) -> None:
        """The link to a node has been read to its end: what it has not taken goes to others."""
        if node.router_node is not None:
            self.listeners.node_ended(node.router_node)

    def node_ended(self, node: AgentNode) -> None:
        """Forget a node that has ended, and was told of."""
        self.nodes.pop(node.number, None)
        self._link_ends.node_ended(node.number)
        self._node_ended.set()
        self._node_ended = Event()

    def leave(self) -> None:
        """Let the parent end the nodes in order, then end: what SIGTERM asks for.

        Where the parent does not, as its loop is kept by its own code, they are killed after their time.
        """
        if self.over.done() or self._leaving:
            return
        self._leaving = True
        self.listeners.leave()
        self.line.send("leaving", why="its agent was told to end")
        self.loop.start(self._leave, name="leave")

    async def _leave(self) -> None:
        shutdown = max((node.shutdown for node in self.nodes.values()), default=0.0)
        with move_on_after(shutdown + _PATIENCE):
            await self.wait_emptied()
        await self.listeners.drain()
        self.line.send("left", why="its agent was told to end")
        self.end("")

    def end(self, why: str) -> None:
        """Nobody answers any more for what runs here: end it."""
        self.listeners.close()
        for node in list(self.nodes.values()):
            node.kill()
        if not self.over.done():
            self.over.set_result(why)

    async def close(self) -> None:
        """Wait for the end of the nodes, and let go of everything."""
        with move_on_after(_REAPING):
            await self.wait_emptied()
        closed = self.loop.waiter()
        self.line.close(lambda: None if closed.done() else closed.set_result(None))
        with move_on_after(_LAST_WORDS):
            await closed
        if self._asker is not None:
            await to_thread.run_sync(self._asker.close)
        await to_thread.run_sync(self.launchers.close)

    async def wait_emptied(self) -> None:
        """Wait until no node runs any more, which the kernel ends with their lease at the latest."""
        while self.nodes:
            await self._node_ended.wait()


async def _serve(join: Join) -> int:
    async with open_loop() as loop:
        agent = Agent(loop, join)
        try:
            await agent.join_parent()
        except (OSError, ValueError) as error:
            print(f"agent: {error}", file=sys.stderr)  # noqa: T201 - the engine shows it
            return 1
        signal.signal(signal.SIGTERM, lambda _number, _frame: loop.call_threadsafe(agent.leave))
        why = await agent.over
        await agent.close()
        if why:
            print(f"agent: {why}", file=sys.stderr)  # noqa: T201 - as above
        return agent.exit_code


def run_agent(join: Join) -> int:
    """Be an agent until it is over; return the exit code."""
    # A terminal sends SIGINT to whole process groups: the parent alone decides when a place ends.
    signal.signal(signal.SIGINT, lambda _number, _frame: None)
    this_process_is(f"agent {join.place}")
    return run_on(_serve, join, uvloop=False)


def take_over_path() -> None:
    """Give this program the PYTHONPATH of the one that made the system; `sys.path` has what that had."""
    own = os.environ.pop(PARENTS_PATH, None)
    if own:
        os.environ["PYTHONPATH"] = own
    elif own is not None:
        os.environ.pop("PYTHONPATH", None)


def main() -> None:
    """Read how to join from stdin, and be an agent."""
    take_over_path()
    try:
        join = Join.from_text(sys.stdin.readline())
    except ValueError as error:
        raise SystemExit(f"agent: its first line on stdin says how to join: {error}") from error
    raise SystemExit(run_agent(join))


if __name__ == "__main__":
    main()
