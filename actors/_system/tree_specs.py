"""The parts of a supervision tree as data: actors, supervisors and dynamic supervisors."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Generic, TypeAlias, TypeVar, TypeVarTuple

from actors._actor.base import Actor
from actors._actor.constructor import constructor_options, unpack_constructor
from actors._base.errors import InvalidSpec
from actors._base.options import check_on
from actors._known_options import known_options
from actors._messaging.mailbox_options import MailboxOption
from actors.nodes import check_actor_options, class_path
from actors.supervisors import AutoShutdown, Backoff, Budget, Restart, Strategy

if TYPE_CHECKING:
    from actors.transport import SharedBuffer

__all__ = [
    "SYSTEM_SUPERVISORS",
    "ActorSpec",
    "Arguments",
    "DynamicSpec",
    "Elsewhere",
    "SentClass",
    "SupervisorSpec",
    "TreeSpec",
    "check_ends",
    "check_tree",
    "child",
    "class_name",
    "dynamic",
    "new_child",
    "path_of",
    "supervisor",
]


A = TypeVar("A", bound=Actor)
A_co = TypeVar("A_co", bound=Actor, covariant=True)
Ts = TypeVarTuple("Ts")


Arguments: TypeAlias = "list[bytes | SharedBuffer] | tuple[tuple[Any, ...], dict[str, Any]]"
"""Constructor arguments: as a node has packed them, or the objects themselves, by position and by name."""


@dataclass(frozen=True, slots=True)
class SentClass:
    """The class of an actor that a node or an application file has described, by name, and its arguments.

    The process that made the system need not have the class: it is imported where the actor runs.
    """

    path: str
    arguments: Arguments


class Elsewhere(Actor):
    """Stands for the class of a `SentClass` in a spec."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ActorSpec(Generic[A_co]):
    """An actor in a tree; see `child`."""

    cls: type[A_co]
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    name: str
    on: str | None
    restart: Restart
    backoff: Backoff | None
    shutdown: float
    significant: bool
    mailbox: MailboxOption
    turn: int | None = None
    """Its slot in its pool; members are spread over the nodes of a group by it."""
    pool: str = ""
    """The pool whose worker it is."""
    sent: SentClass | None = None
    """Its class and arguments, if a node has described them."""


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
TreeSpec: TypeAlias = ActorSpec[Any] | SupervisorSpec | DynamicSpec


@constructor_options
def child(
    cls: Callable[[*Ts], A],
    /,
    *args: *Ts,
    name: str | None = None,
    on: str | None = None,
    restart: Restart = Restart.PERMANENT,
    backoff: Backoff | None = None,
    shutdown: float = 5.0,
    significant: bool = False,
    mailbox: MailboxOption = 1024,
) -> ActorSpec[A]:
    """Describe an actor in a tree.

    Args:
        cls: a subclass of `Actor`, or a `functools.partial` of one, with keywords for its constructor.
        *args: constructor arguments, copied at every start.
        name: its system-wide name; the class's name in lower case unless given.
        on: the group ("rooms") or node ("rooms/0") it runs on; None is the system's default.
        restart: after which ends it is restarted.
        backoff: a restart policy of its own; None puts it under its supervisor's budget.
        shutdown: seconds between being asked to stop and being killed.
        significant: whether its end can shut its supervisor down (`auto_shutdown`).
        mailbox: how many messages may wait for it, or a `Bounded` or `Priority`.

    Raises:
        InvalidSpec: a value that can never work, or an argument that the constructor does not take.
    """
    made, given, kwargs = unpack_constructor(cls, args)
    return new_child(
        made,
        given,
        kwargs,
        name=name,
        on=on,
        restart=restart,
        backoff=backoff,
        shutdown=shutdown,
        significant=significant,
        mailbox=mailbox,
    )


def new_child(
    cls: type[A],
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    *,
    name: str | None,
    on: str | None,
    shutdown: float,
    mailbox: MailboxOption,
    restart: Restart = Restart.PERMANENT,
    backoff: Backoff | None = None,
    significant: bool = False,
) -> ActorSpec[A]:
    """Make the spec of `child`, with constructor arguments that are checked already."""
    check_actor_options(cls, name, mailbox, backoff=backoff, shutdown=shutdown)
    where = f"child({class_name(cls)})"
    check_ends(where, restart, significant)
    check_on(f"{where}: ", on)
    return ActorSpec(
        cls=cls,
        args=args,
        kwargs=kwargs,
        name=name or class_name(cls).lower(),
        on=on,
        restart=restart,
        backoff=backoff,
        shutdown=shutdown,
        significant=significant,
        mailbox=mailbox,
    )


def path_of(spec: ActorSpec[Any]) -> str:
    """Return "module:qualname" of the class of an actor."""
    return class_path(spec.cls) if spec.sent is None else spec.sent.path


def class_name(cls: Callable[..., Any]) -> str:
    """Return the name of a class for errors, whatever was given in its place."""
    return str(getattr(cls, "__name__", cls))


def _check(where: str, what: str, value: object, kind: type) -> None:
    """Refuse a value of another type; suggest the member that was probably meant."""
    if isinstance(value, kind):
        return
    known = list(getattr(kind, "__members__", ()))
    close = difflib.get_close_matches(str(value).upper(), known, n=1)
    hint = f"; did you mean {kind.__name__}.{close[0]}?" if close else ""
    raise InvalidSpec(f"{where}: {what} must be a {kind.__name__}, got {value!r}{hint}")


def check_ends(where: str, restart: object, significant: object) -> None:
    """Refuse what can never work of how a child ends."""
    _check(where, "restart", restart, Restart)
    _check(where, "significant", significant, bool)
    if significant and restart is Restart.PERMANENT:
        raise InvalidSpec(
            f"{where}: a significant child must be TRANSIENT or TEMPORARY, as a PERMANENT one never ends"
        )


@known_options(InvalidSpec)
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
    check_ends(where, restart, significant)
    check_tree(where, children, auto_shutdown)
    return SupervisorSpec(
        name=name,
        children=tuple(children),
        strategy=strategy,
        budget=budget or Budget(),
        auto_shutdown=auto_shutdown,
        restart=restart,
        significant=significant,
    )


@known_options(InvalidSpec)
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
    check_ends(where, restart, significant)
    if max_children is not None and (type(max_children) is not int or max_children < 0):
        raise InvalidSpec(f"{where}: max_children must be 0 or more, got {max_children!r}")
    return DynamicSpec(
        name=name,
        budget=budget or Budget(),
        max_children=max_children,
        restart=restart,
        significant=significant,
    )


def check_tree(where: str, children: Sequence[Any], auto: AutoShutdown) -> None:
    """Refuse children that cannot be together under one supervisor.

    Raises:
        InvalidSpec: naming the child.
    """
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
