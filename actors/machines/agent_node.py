"""A node process, seen from the agent that has started it: what it says is passed on to the parent.

Rule: output is bounded: what the parent does not take in time is dropped, and counted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol

from actors._base.errors import BootFailed
from actors._base.import_path import import_path
from actors._base.open_files import with_limit
from actors._remoting.link_aside import AsideHost
from actors._remoting.router_node import LinkedRouterNode
from actors.nodes import (
    BACKEND_MODULES,
    LAST_READ,
    ChildProcess,
    Launch,
    Link,
    PreloadFailed,
    PrintedOutput,
    WrittenRecords,
    common_environment,
    cpus_of_slot,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from actors._base.loop import Loop
    from actors.machines.control_line import ControlLine, Record
    from actors.nodes import ActorHost, Launchers, NodePipes

__all__ = ["AgentNode", "NodeKeeper"]

_OWN: Final = "actors.machines.placed_process"
"""What only nodes of agents import; with TLS, which takes longer than the fork of a node."""
_MOST_LINES: Final = 500


class NodeKeeper(Protocol):
    """The agent, as its nodes see it."""

    loop: Loop
    line: ControlLine
    host: ActorHost
    launchers: Launchers
    log_format: str

    @property
    def held_lease(self) -> dict[str, Any]: ...
    @property
    def clock(self) -> tuple[float, float]: ...
    def link_ended(self, node: AgentNode) -> None: ...
    @property
    def reach(self) -> dict[str, Any]: ...
    @property
    def material(self) -> Mapping[str, Any] | None: ...
    def node_ended(self, node: AgentNode) -> None: ...


class AgentNode:
    """One process of a node.

    Args:
        keeper: the agent.
        number: which the parent knows it by.
        record: what it is to run, as the parent says.

    Attributes:
        address: what its run is called.
        link: to it, once it runs, for descriptors.
        slot: of its node.
        shutdown: seconds in which it has to end in order.
        router_node: what routers see of it, once it is linked.
        ready: whether it is, as the parent says.
    """

    def __init__(self, keeper: NodeKeeper, number: int, record: Record) -> None:
        self.number = number
        self.ready: bool = False
        self._keeper = keeper
        self._wanted = record
        self._name = str(record["name"])
        self._child = ChildProcess(self._name, keeper.loop, self._died)
        self._killed = False
        self._why = ""
        self._dropped = 0
        self.address = str(record["address"])
        self.slot = int(record["slot"])
        self.shutdown = float(record["shutdown"])
        self.router_node: LinkedRouterNode | None = None
        self.link: Link | None = None

    async def start(self) -> None:
        """Start it, or tell the parent why that cannot be."""
        try:
            await self._child.start(
                self._keeper.launchers,
                self._launch,
                unwanted=lambda: self._killed,
                adopt=self._adopt,
            )
        except PreloadFailed as failed:
            self._tell_end(None, failed.why, failed.stack)
        except BootFailed as error:
            self._tell_end(None, str(error))
        except Exception as error:  # noqa: BLE001 - no room for a process, mostly; the parent is told
            self._why = f"node {self._name} could not be started: {with_limit(error)}"
            if self._child.begun:  # it could not be configured: its end is told when it has ended
                self._child.kill()
            else:
                self._tell_end(None, self._why)

    def _launch(self, pipes: NodePipes) -> Launch:
        wanted = self._wanted
        common = {**common_environment(), "ACTORS_LOG_FORMAT": self._keeper.log_format}
        return Launch(
            module=wanted["module"],
            title=self._name,
            link=pipes.far_link,
            lifeline=pipes.far_lifeline,
            log=pipes.far_log,
            output=pipes.far_output,
            common=common,
            env=wanted["env"],
            own_env=wanted["own_env"],
            imports=(*BACKEND_MODULES[wanted["config"]["backend"]], _OWN, *wanted["imports"]),
            preload=tuple(wanted["config"]["preload"]),
            threadless=tuple(wanted["threadless"]),
            within=wanted["within"],
        )

    def _adopt(self) -> None:
        """Read what it writes, and send it its configuration, with what only this machine knows."""
        child, keeper, config = self._child, self._keeper, self._wanted["config"]
        child.read(_Records(self), _Output(self))
        if self._wanted["each_cpu"]:
            config["process"]["cpus"] = cpus_of_slot(self._wanted["slot"])
        config["path"] = import_path()
        config["argv"] = [self._name]
        own = {} if config["link"]["material"] else {"material": keeper.material}
        config["link"] |= {**keeper.reach, **own}
        config["lease"] = keeper.held_lease
        config["clock"] = keeper.clock
        child.configure(config)
        self._open_link()
        keeper.line.send("started", n=self.number, pid=child.pid)

    def _open_link(self) -> None:
        """Talk to it over what nodes elsewhere have to their parent: of descriptors, which cannot go there."""
        host = self._keeper.host
        aside = AsideHost(host, self._link_ended)
        self.link = Link(aside, self.address, lends=False)
        self.link.attach(self._child.link)
        self.router_node = LinkedRouterNode(self.address, self.slot, self.link)

    def _link_ended(self) -> None:
        self._keeper.link_ended(self)

    def take_stack_file(self, stacks: int) -> None:
        """Take the file that it writes its stacks to, which is closed here."""
        self._child.take_stack_file(stacks)

    @property
    def pid(self) -> int | None:
        """Its process, while there is one."""
        return self._child.pid if self._child.begun else None

    def kill(self) -> None:
        """End it now; one that starts ends when it is there."""
        self._killed = True
        self._child.kill()

    async def stacks(self) -> Any:
        """Return the stacks of its threads and tasks, or raise `ActorsError`."""
        return await self._child.stacks()

    async def profile(self, seconds: float) -> Any:
        """Return where it spends its CPU time, or raise `ActorsError`."""
        return await self._child.profile(seconds)

    def forward(self, op: str, what: list[Any], **fields: Any) -> None:
        """Pass on what it writes."""
        line = self._keeper.line
        if line.behind:
            self._dropped += len(what)
            return
        if self._dropped:
            line.send("dropped", n=self.number, lines=self._dropped)
            self._dropped = 0
        line.send(op, n=self.number, **fields)

    def _died(self) -> None:
        self._child.read_to_end()
        if self.link is not None:  # what it said last is read first
            self._keeper.loop.call_later(LAST_READ, self.link.close)
        self._tell_end(self._child.returncode, self._why)

    def _tell_end(self, code: int | None, why: str, stack: str = "") -> None:
        lines = self._child.last[-_MOST_LINES:]
        self._child.release()
        self._keeper.line.send("ended", n=self.number, code=code, why=why, stack=stack, lines=lines)
        self._keeper.node_ended(self)


class _Records(WrittenRecords):
    """Records of the log that a node has made, for the parent."""

    def __init__(self, node: AgentNode) -> None:
        super().__init__("")
        self._for = node

    def take(self, lines: list[str]) -> None:
        """Pass lines on as they are."""
        self._for.forward("lines", lines, lines=lines)

    def take_part(self, text: str) -> None:
        """Pass on the beginning of a line whose rest never came."""
        self.take([text])


class _Output(PrintedOutput):
    """What a node prints, for the parent."""

    def __init__(self, node: AgentNode) -> None:
        super().__init__("")
        self._for = node

    def _write(self, records: list[dict[str, Any]]) -> None:
        if records:
            self._for.forward("records", records, records=records)
