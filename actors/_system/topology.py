"""A system as data: nodes, supervised children and listeners, checked when they are written down."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import asdict, dataclass, field, replace
from os import PathLike
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from actors._base.errors import InvalidSpec
from actors._base.log_config import LogConfig, checked_log_config
from actors._base.options import (
    check_ask_timeout,
    check_machines,
    check_patience,
    check_sizes,
)
from actors._known_options import known_options
from actors._messaging.context_propagation import TRACING, check_paths
from actors._system.admin_spec import ADMIN_GROUP, Admin
from actors._system.alerts_spec import Alerts
from actors._system.far_listener import check_far_listener
from actors._system.keyed_spec import KeyedSpec
from actors._system.pool_spec import PoolSpec
from actors._system.program_spec import ProgramSpec
from actors._system.tree_specs import (
    SYSTEM_SUPERVISORS,
    ActorSpec,
    SupervisorSpec,
    TreeSpec,
    check_tree,
)
from actors.nodes import NodesSpec
from actors.programs import refuse_clashes
from actors.routing import Listener
from actors.supervisors import AutoShutdown, Budget
from actors.transport import MESSAGE_LIMIT

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["FilePath", "Topology", "has_unplaced", "pools_of", "programs_of"]

FilePath: TypeAlias = str | PathLike[str]


def pools_of(children: Sequence[TreeSpec]) -> Iterator[PoolSpec[Any]]:
    """Yield the pools of a tree."""
    for item in children:
        if isinstance(item, PoolSpec):
            yield item
        elif isinstance(item, SupervisorSpec):
            yield from pools_of(item.children)


def programs_of(children: Sequence[TreeSpec]) -> Iterator[ProgramSpec]:
    """Yield the programs of a tree."""
    for item in children:
        if isinstance(item, ProgramSpec):
            yield item
        elif isinstance(item, SupervisorSpec):
            yield from programs_of(item.children)


def _admin(value: object) -> Admin:
    if not isinstance(value, str):
        raise InvalidSpec(f"Topology: admin must be an address or an Admin, got {value!r}")
    return Admin(value)


def _actors(children: Sequence[TreeSpec]) -> Iterator[ActorSpec[Any]]:
    for item in children:
        if isinstance(item, ActorSpec):
            yield item
        elif isinstance(item, SupervisorSpec):
            yield from _actors(item.children)


def _placed(children: Sequence[TreeSpec]) -> Iterator[ActorSpec[Any] | KeyedSpec[Any, Any]]:
    """Yield what runs on a node or group that it names, or on the default."""
    for item in children:
        if isinstance(item, ActorSpec | KeyedSpec):
            yield item
        elif isinstance(item, SupervisorSpec):
            yield from _placed(item.children)


def _checked_tracing(where: str, tracing: object) -> bool:
    if not isinstance(tracing, bool):
        raise InvalidSpec(f"{where}: tracing must be True or False, got {tracing!r}")
    return tracing


def has_unplaced(children: Sequence[TreeSpec]) -> bool:
    """Whether an actor of a tree has no `on`."""
    return any(item.on is None for item in _placed(children))


_CHECKED: Final = (
    *("largest", "lend_per_node", "patience", "ask_timeout"),
    *("lease", "reach", "join_secret", "tls"),
)


def _check_options(where: str, given: dict[str, Any]) -> None:
    """Check those of a system's options that are numbers, addresses or files; *given* has some of them."""
    sizes = {name: given[name] for name in ("largest", "lend_per_node") if name in given}
    check_sizes(where, **sizes)
    if "patience" in given:
        check_patience(where, given["patience"])
    if "ask_timeout" in given:
        check_ask_timeout(where, given["ask_timeout"])
    check_machines(where, given)


@known_options(InvalidSpec)
@dataclass(frozen=True, slots=True, kw_only=True)
class Topology:
    """What `actors run pkg:topology` starts.

    Attributes:
        nodes: groups of nodes, made by `nodes`.
        children: the tree, made by `child`, `supervisor`, `dynamic`, `pool`, `keyed` and `program`.
        listeners: addresses and the groups that serve them, made by `listen`.
        budget: restarts of the top-level children, together.
        propagate: import paths ("pkg.module:name") of context variables that go with every message.
        trace: whether every message is an event; for debugging, as it slows the system down.
        largest: bytes that one message to another node may have; bigger ones raise `MessageTooBig`.
        lend_per_node: bytes of shared memory that one node may lend to others, all together; one other node
            gets at most half. What finds no room there is copied through the socket.
        patience: seconds from the death of a node for which messages to its actors wait until it is ready
            again; then they fail, as they do at once with 0.
        ask_timeout: seconds after which an ask ends with `DeadlineExceeded`, if neither its caller set a
            deadline (`Ref.within`) nor the class of the actor an `ask_timeout`. None is none.
        admin: where health, metrics and the dashboard are served, on a node of their own: an address such as
            ``127.0.0.1:9000``, or an `Admin`. None is nowhere.
        alerts: thresholds, and who is told when one is crossed.
        tracing: whether asks and handlers have spans of OpenTelemetry, and messages carry the trace; needs the
            extra ``otel``.
        log_config: how every process node configures `logging`, before it imports anything of yours: a dict
            for `logging.config.dictConfig`, or the path of a file: .json, .toml, or what
            `logging.config.fileConfig` reads.
        lease: seconds, 1 to 3600, for which nodes on other machines run on when they cannot reach this process,
            and for which nobody takes them for dead when they cannot be reached.
        reach: the address at which other machines find this process: "10.0.0.1:7000", or "10.0.0.1" for any
            port. None is this machine alone.
        join_secret: a file with the secret that lets agents in which come by themselves (``engine="join"``);
            nobody but its owner and group can read it.
        tls: files of an authority of your own, in place of one that the system makes in memory: the paths of
            ``ca``, ``certificate`` and ``key``, and as ``server`` a name that all certificates are for, if
            not the host that is dialled.
    """

    nodes: Sequence[NodesSpec] = ()
    children: Sequence[TreeSpec] = ()
    listeners: Sequence[Listener] = ()
    budget: Budget = field(default_factory=Budget)
    propagate: Sequence[str] = ()
    trace: bool = False
    largest: int = MESSAGE_LIMIT
    lend_per_node: int = MESSAGE_LIMIT
    patience: float = 1.0
    ask_timeout: float | None = None
    admin: Admin | str | None = None
    alerts: Alerts | None = None
    tracing: bool = False
    log_config: LogConfig | Mapping[str, Any] | str | PathLike[str] | None = None
    lease: float = 10.0
    reach: str | None = None
    join_secret: FilePath | None = None
    tls: Mapping[str, FilePath] | None = None

    @property
    def nodes_logging(self) -> dict[str, Any] | None:
        """The `log_config` as plain data."""
        config = self.log_config
        return asdict(config) if isinstance(config, LogConfig) else None

    @property
    def dashboard(self) -> Admin | None:
        """What `admin` asks for."""
        return self.admin if isinstance(self.admin, Admin) else None

    @property
    def all_listeners(self) -> list[Listener]:
        """Its listeners, and that of the dashboard."""
        own = [] if self.dashboard is None else [self.dashboard.listener()]
        return [*self.listeners, *own]

    @property
    def programs(self) -> list[ProgramSpec]:
        """The programs of the tree, in their order."""
        return list(programs_of(self.children))

    @property
    def pools(self) -> dict[str, int]:
        """How many members each pool of the tree has, by its name."""
        return {pool.name: pool.size for pool in pools_of(self.children)}

    def __post_init__(self) -> None:
        _check_options("Topology", {name: getattr(self, name) for name in _CHECKED})
        check_paths("Topology", self.propagate)
        self._take_log_options()
        if self.admin is not None and not isinstance(self.admin, Admin):
            object.__setattr__(self, "admin", _admin(self.admin))
        if self.alerts is not None and not isinstance(self.alerts, Alerts):
            raise InvalidSpec(f"Topology: alerts must be an Alerts, got {self.alerts!r}")
        for group in self.nodes:
            if not isinstance(group, NodesSpec):
                raise InvalidSpec(f"Topology: nodes are made by nodes(...), got {group!r}")
        names = [group.name for group in self.nodes]
        own = [pool.group for pool in pools_of(self.children)]
        names += [group.name for group in own if group is not None]
        if self.admin is not None and ADMIN_GROUP in names:
            raise InvalidSpec(
                f"Topology: {ADMIN_GROUP!r} is the group of admin=, call yours otherwise"
            )
        for name in names:
            if names.count(name) > 1:
                raise InvalidSpec(
                    f"Topology: two groups of nodes are called {name!r}; names are unique"
                )
        check_tree("Topology", self.children, AutoShutdown.NEVER)
        self._check_names()
        self._check_listeners(names)
        self._check_programs(names)
        self._check_placements(names)

    def _take_log_options(self) -> None:
        if _checked_tracing("Topology", self.tracing) and TRACING not in self.propagate:
            object.__setattr__(self, "propagate", (*self.propagate, TRACING))
        config = checked_log_config("Topology: log_config", self.log_config)
        object.__setattr__(self, "log_config", config)

    def _check_listeners(self, names: list[str]) -> None:
        for listener in self.listeners:
            if not isinstance(listener, Listener):
                raise InvalidSpec(f"Topology: listeners are made by listen(...), got {listener!r}")
            if listener.nodes not in names:
                raise InvalidSpec(
                    f"Topology: listener {listener.name} is served by nodes {listener.nodes!r}, "
                    f"but the groups are {', '.join(map(repr, names)) or 'none'}"
                )
            group = next((spec for spec in self.nodes if spec.name == listener.nodes), None)
            if group is not None and group.engine is not None:
                check_far_listener(listener)
            kind = "process" if group is None else group.kind
            if listener.preloaded and kind != "process":
                raise InvalidSpec(
                    f"Topology: {listener.path} has preload=True, which needs nodes of "
                    f"kind='process': {listener.nodes!r} are of kind {kind!r}"
                )

    def preloaded_apps(self, group: str) -> tuple[str, ...]:
        """Return the modules of the applications that the nodes of *group* are forked with."""
        modules = [item.preloaded for item in self.listeners if item.nodes == group]
        return tuple(dict.fromkeys(filter(None, modules)))

    def also(
        self, propagate: Sequence[str], *, trace: bool, tracing: bool = False, **options: Any
    ) -> Topology:
        """Return a copy with more to propagate, traced if either asks for it, and with other options.

        Args:
            propagate: as the attribute; added to it.
            trace: the same; either.
            tracing: the same; either.
            **options: attributes by their names; None leaves one as it is.
        """
        paths = dict.fromkeys((*self.propagate, *check_paths("System", propagate)))
        given = {name: value for name, value in options.items() if value is not None}
        _check_options("System", given)
        if self.tracing or _checked_tracing("System", tracing):
            given["tracing"] = True
        return replace(self, propagate=tuple(paths), trace=self.trace or trace, **given)

    def with_parts(self, **parts: Sequence[Any] | Alerts | None) -> Topology:
        """Return a copy with other parts, which are not checked: a system on its way."""
        made = copy(self)
        for name, value in parts.items():
            object.__setattr__(made, name, value)
        return made

    @property
    def has_unplaced(self) -> bool:
        """Whether a child has no `on`."""
        return has_unplaced(self.children)

    def _check_names(self) -> None:
        seen: set[str] = set()
        for item in _actors(self.children):
            if item.name in seen:
                raise InvalidSpec(
                    f"Topology: two actors are called {item.name!r}; their names are unique in a system"
                )
            seen.add(item.name)
        for inner in self.children:
            if inner.name in SYSTEM_SUPERVISORS:
                raise InvalidSpec(
                    f"Topology: {inner.name!r} is the name of a supervisor of the system's own"
                )

    def _check_programs(self, groups: list[str]) -> None:
        names = [*groups, *(spec.name for spec in self.programs)]
        for spec in self.programs:
            if names.count(spec.name) > 1:
                raise InvalidSpec(
                    f"Topology: program {spec.name!r} has the name of another program or group of nodes"
                )
        # Two listeners may have the same port on different addresses.
        listeners = {
            item.port: (f"listener {item.name}", range(item.port, item.port + 1))
            for item in self.all_listeners
            if item.port
        }
        programs = [
            (f"program {spec.name!r}", spec.program.ports(spec.program.instances))
            for spec in self.programs
        ]
        refuse_clashes("Topology", [*listeners.values(), *programs])

    def _check_placements(self, groups: list[str]) -> None:
        for item in _placed(self.children):
            if item.on is not None and item.on.partition("/")[0] not in groups:
                raise InvalidSpec(
                    f"Topology: child {item.name!r} runs on {item.on!r}, "
                    f"but the groups are {', '.join(map(repr, groups)) or 'none'}"
                )
