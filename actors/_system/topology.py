"""A system as data: nodes, supervised children and listeners, checked when they are written down."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from actors._base.errors import InvalidSpec
from actors._base.options import check_sizes, constructor_options, known_options
from actors._messaging.context_propagation import check_paths
from actors._messaging.pool import ROUTES
from actors.nodes import NodesSpec, check_actor_options
from actors.routing import Listener
from actors.supervisors import AutoShutdown, Backoff, Budget, Restart, Strategy
from actors.transport import MESSAGE_LIMIT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = [
    "SYSTEM_SUPERVISORS",
    "ActorSpec",
    "DynamicSpec",
    "PoolSpec",
    "SupervisorSpec",
    "Topology",
    "TreeSpec",
    "child",
    "dynamic",
    "pool",
    "supervisor",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class ActorSpec:
    """An actor in a tree; see `child`."""

    cls: type
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    name: str
    on: str | None
    restart: Restart
    backoff: Backoff | None
    shutdown: float
    significant: bool
    mailbox: int
    turn: int | None = None
    """Its number in its pool; members are spread over the nodes of a group by it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SupervisorSpec:
    """A subtree with a strategy; see `supervisor`."""

    name: str
    children: tuple[TreeSpec, ...]
    strategy: Strategy
    budget: Budget
    auto_shutdown: AutoShutdown
    restart: Restart
    significant: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolSpec(SupervisorSpec):
    """A subtree of equal actors behind one address; see `pool`."""

    route: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DynamicSpec:
    """A subtree whose children are added at run time; see `dynamic`."""

    name: str
    budget: Budget
    max_children: int | None
    restart: Restart
    significant: bool


SYSTEM_SUPERVISORS: Final = {
    "nodes": "stop nodes by Node.stop() or System.scale()",
    "spawned": "stop actors by Ref.stop()",
}
"""The supervisors of the system's own, and what to do in place of stopping them."""
_MEMBER_BACKOFF: Final = Backoff(first=0.01, cap=0.1)
"""Short, as what is queued for a member waits for it."""

TreeSpec: TypeAlias = ActorSpec | SupervisorSpec | DynamicSpec


@constructor_options
def child(
    cls: Callable[..., Any],
    /,
    *args: Any,
    name: str | None = None,
    on: str | None = None,
    restart: Restart = Restart.PERMANENT,
    backoff: Backoff | None = None,
    shutdown: float = 5.0,
    significant: bool = False,
    mailbox: int = 1024,
    **kwargs: Any,
) -> ActorSpec:
    """Describe an actor in a tree.

    Args:
        cls: the actor class.
        *args: constructor arguments, copied at every start.
        name: its system-wide name; the class's name in lower case unless given.
        on: the group ("rooms") or node ("rooms/0") it runs on; None is the system's default.
        restart: after which ends it is restarted.
        backoff: a restart policy of its own; None puts it under its supervisor's budget.
        shutdown: seconds between being asked to stop and being killed.
        significant: whether its end can shut its supervisor down (`auto_shutdown`).
        mailbox: how many messages may wait for it.
        **kwargs: constructor arguments.

    Raises:
        InvalidSpec: a value that can never work, or an argument that the constructor does not take.
    """
    return _child(
        cls,
        args,
        kwargs,
        name=name,
        on=on,
        restart=restart,
        backoff=backoff,
        shutdown=shutdown,
        significant=significant,
        mailbox=mailbox,
    )


def _child(
    cls: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    *,
    name: str | None,
    on: str | None,
    shutdown: float,
    mailbox: int,
    restart: Restart = Restart.PERMANENT,
    backoff: Backoff | None = None,
    significant: bool = False,
) -> ActorSpec:
    check_actor_options(cls, name, mailbox, backoff=backoff, shutdown=shutdown)
    where = f"child({_name_of(cls)})"
    _check_ends(where, restart, significant)
    return ActorSpec(
        cls=cls,  # type: ignore[arg-type] # checked above
        args=args,
        kwargs=kwargs,
        name=name or _name_of(cls).lower(),
        on=on,
        restart=restart,
        backoff=backoff,
        shutdown=shutdown,
        significant=significant,
        mailbox=mailbox,
    )


def _name_of(cls: Callable[..., Any]) -> str:
    return str(getattr(cls, "__name__", cls))


@constructor_options
def pool(
    cls: Callable[..., Any],
    /,
    *args: Any,
    size: int,
    name: str | None = None,
    route: str = "turns",
    on: str | None = None,
    budget: Budget | None = None,
    backoff: Backoff | None = None,
    shutdown: float = 5.0,
    mailbox: int = 1024,
    **kwargs: Any,
) -> PoolSpec:
    """Describe a pool: *size* copies of an actor, supervised one for one, behind one address.

    ``await system.start(pool(Resizer, size=4, on="work"))`` returns its `Pool`, and so does
    ``system.lookup("resizer")``. Members are called ``resizer/0`` and so on.

    Args:
        cls: the actor class of every member.
        *args: constructor arguments, copied at every start.
        size: how many members, 1 or more.
        name: the pool's name; the class's in lower case unless given.
        route: "turns" sends to one after the other, "shortest" to the member with the fewest
            messages waiting, as far as the sender's node knows.
        on: the group over whose nodes the members take turns, or one node; None is the system's default.
        budget: restarts of all members together; when they need more, the whole pool is restarted.
        backoff: of each member by itself, unless there is a budget. Unless given it is short, so that a
            message that crashes whoever handles it costs one member, for a tenth of a second.
        shutdown: seconds a member has to stop.
        mailbox: how many messages may wait for each member.
        **kwargs: constructor arguments.

    Raises:
        InvalidSpec: a value that can never work, or an argument that the constructor does not take.
    """
    where = f"pool({_name_of(cls)})"
    if type(size) is not int or size < 1:
        raise InvalidSpec(f"{where}: size must be a whole number of 1 or more, got {size!r}")
    if route not in ROUTES:
        raise InvalidSpec(f"{where}: route must be one of {', '.join(ROUTES)}, got {route!r}")
    name = name or _name_of(cls).lower()
    if budget is not None and backoff is not None:
        raise InvalidSpec(f"{where}: members have a backoff each or a budget together, got both")
    if budget is None:
        backoff = backoff or _MEMBER_BACKOFF
    one = _child(
        cls, args, kwargs, name=name, on=on, backoff=backoff, shutdown=shutdown, mailbox=mailbox
    )
    members = [replace(one, name=f"{name}/{turn}", turn=turn) for turn in range(size)]
    base = supervisor(name, members, budget=budget)
    parts = {item.name: getattr(base, item.name) for item in fields(base)}
    return PoolSpec(**parts, route=route)


def _check(where: str, what: str, value: object, kind: type) -> None:
    """Refuse a value of another type; suggest the member that was probably meant."""
    if isinstance(value, kind):
        return
    known = list(getattr(kind, "__members__", ()))
    close = difflib.get_close_matches(str(value).upper(), known, n=1)
    hint = f"; did you mean {kind.__name__}.{close[0]}?" if close else ""
    raise InvalidSpec(f"{where}: {what} must be a {kind.__name__}, got {value!r}{hint}")


def _check_ends(where: str, restart: object, significant: object) -> None:
    """Refuse what can never work of how a child ends."""
    _check(where, "restart", restart, Restart)
    _check(where, "significant", significant, bool)
    if significant and restart is Restart.PERMANENT:
        raise InvalidSpec(
            f"{where}: a significant child must be TRANSIENT or TEMPORARY, as a PERMANENT one never ends"
        )


@known_options
def supervisor(
    name: str,
    children: Sequence[TreeSpec],
    *,
    strategy: Strategy = Strategy.ONE_FOR_ONE,
    budget: Budget | None = None,
    auto_shutdown: AutoShutdown = AutoShutdown.NEVER,
    restart: Restart = Restart.PERMANENT,
    significant: bool = False,
) -> SupervisorSpec:
    """Describe a subtree: started in order, restarted by *strategy* within *budget*, stopped in reverse.

    Args:
        name: unique under its own supervisor.
        children: made by `child`, `supervisor`, `dynamic` and `pool`, in start order.
        strategy: who is restarted together with a child.
        budget: how many restarts the children have together.
        auto_shutdown: which significant children end it by ending.
        restart: after which of its own ends it is restarted.
        significant: whether its end can shut the supervisor above down (`auto_shutdown` there).

    Raises:
        InvalidSpec: a value that can never work.
    """
    where = f"supervisor({name!r})"
    _check(where, "strategy", strategy, Strategy)
    _check(where, "budget", budget or Budget(), Budget)
    _check(where, "auto_shutdown", auto_shutdown, AutoShutdown)
    _check_ends(where, restart, significant)
    _check_tree(where, children, auto_shutdown)
    return SupervisorSpec(
        name=name,
        children=tuple(children),
        strategy=strategy,
        budget=budget or Budget(),
        auto_shutdown=auto_shutdown,
        restart=restart,
        significant=significant,
    )


@known_options
def dynamic(
    name: str,
    *,
    budget: Budget | None = None,
    max_children: int | None = None,
    restart: Restart = Restart.PERMANENT,
    significant: bool = False,
) -> DynamicSpec:
    """Describe a subtree whose children are added while it runs, and do not affect each other.

    Raises:
        InvalidSpec: a value that can never work.
    """
    where = f"dynamic({name!r})"
    _check(where, "budget", budget or Budget(), Budget)
    _check_ends(where, restart, significant)
    if max_children is not None and (type(max_children) is not int or max_children < 0):
        raise InvalidSpec(f"{where}: max_children must be 0 or more, got {max_children!r}")
    return DynamicSpec(
        name=name,
        budget=budget or Budget(),
        max_children=max_children,
        restart=restart,
        significant=significant,
    )


def _check_tree(where: str, children: Sequence[Any], auto: AutoShutdown) -> None:
    seen: set[str] = set()
    for item in children:
        if not isinstance(item, ActorSpec | SupervisorSpec | DynamicSpec):
            raise InvalidSpec(
                f"{where}: children are made by child(), supervisor() or dynamic(), got {item!r}"
            )
        if item.name in seen:
            raise InvalidSpec(f"{where}: two children are called {item.name!r}; names are unique")
        seen.add(item.name)
        if item.significant and auto is AutoShutdown.NEVER:
            raise InvalidSpec(
                f"{where}: child {item.name!r} is significant, which needs an auto_shutdown other than NEVER"
            )


def _pools(children: Sequence[TreeSpec]) -> Iterator[PoolSpec]:
    for item in children:
        if isinstance(item, PoolSpec):
            yield item
        elif isinstance(item, SupervisorSpec):
            yield from _pools(item.children)


def _actors(children: Sequence[TreeSpec]) -> Iterator[ActorSpec]:
    for item in children:
        if isinstance(item, ActorSpec):
            yield item
        elif isinstance(item, SupervisorSpec):
            yield from _actors(item.children)


@dataclass(frozen=True, slots=True, kw_only=True)
class Topology:
    """What `actors run pkg:topology` starts.

    Attributes:
        nodes: groups of nodes, made by `nodes`.
        children: the tree, made by `child`, `supervisor` and `dynamic`.
        listeners: addresses and the groups that serve them, made by `listen`.
        budget: restarts of the top-level children, together.
        propagate: import paths ("pkg.module:name") of context variables that go with every message.
        trace: whether every message is an event; for debugging, as it slows the system down.
        largest: bytes that one message to another node may have; bigger ones raise `MessageTooBig`.
        lend_per_node: bytes of shared memory that one node may lend to others, all together; one other node
            gets at most half. What finds no room there is copied through the socket.
    """

    nodes: Sequence[NodesSpec] = ()
    children: Sequence[TreeSpec] = ()
    listeners: Sequence[Listener] = ()
    budget: Budget = field(default_factory=Budget)
    propagate: Sequence[str] = ()
    trace: bool = False
    largest: int = MESSAGE_LIMIT
    lend_per_node: int = MESSAGE_LIMIT

    @property
    def pools(self) -> dict[str, int]:
        """How many members each pool of the tree has, by its name."""
        return {pool.name: len(pool.children) for pool in _pools(self.children)}

    def __post_init__(self) -> None:
        check_sizes("Topology", largest=self.largest, lend_per_node=self.lend_per_node)
        check_paths("Topology", self.propagate)
        for group in self.nodes:
            if not isinstance(group, NodesSpec):
                raise InvalidSpec(f"Topology: nodes are made by nodes(...), got {group!r}")
        names = [group.name for group in self.nodes]
        for name in names:
            if names.count(name) > 1:
                raise InvalidSpec(
                    f"Topology: two groups of nodes are called {name!r}; names are unique"
                )
        _check_tree("Topology", self.children, AutoShutdown.NEVER)
        self._check_names()
        for listener in self.listeners:
            if not isinstance(listener, Listener):
                raise InvalidSpec(f"Topology: listeners are made by listen(...), got {listener!r}")
            if listener.nodes not in names:
                raise InvalidSpec(
                    f"Topology: listener {listener.name} is served by nodes {listener.nodes!r}, "
                    f"but the groups are {', '.join(map(repr, names)) or 'none'}"
                )
        self._check_placements(names)

    def also(
        self, propagate: Sequence[str], *, trace: bool, largest: int | None, lend: int | None
    ) -> Topology:
        """Return a copy with more to propagate, traced if either asks for it, and with other limits."""
        paths = dict.fromkeys((*self.propagate, *check_paths("System", propagate)))
        limits = {"largest": largest, "lend_per_node": lend}
        given: dict[str, Any] = {name: size for name, size in limits.items() if size is not None}
        check_sizes("System", **given)
        return replace(self, propagate=tuple(paths), trace=self.trace or trace, **given)

    @property
    def has_unplaced(self) -> bool:
        """Whether a child has no `on`."""
        return any(item.on is None for item in _actors(self.children))

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

    def _check_placements(self, groups: list[str]) -> None:
        for item in _actors(self.children):
            if item.on is not None and item.on.partition("/")[0] not in groups:
                raise InvalidSpec(
                    f"Topology: child {item.name!r} runs on {item.on!r}, "
                    f"but the groups are {', '.join(map(repr, groups)) or 'none'}"
                )


Topology.__init__ = known_options(Topology.__init__)  # type: ignore[method-assign] # the same, with a suggestion
