"""A pool as data: who its workers are, how many, and where they run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from inspect import signature
from typing import (
    TYPE_CHECKING,
    Any,
    Final,
    Generic,
    Self,
    TypedDict,
    TypeVar,
    TypeVarTuple,
    Unpack,
    cast,
    get_args,
    overload,
)

from actors._actor.constructor import constructor_options, unpack_constructor
from actors._base.cpus import usable_cpus
from actors._base.errors import InvalidSpec
from actors._messaging.mailbox_options import MailboxOption, at_least, check_mailbox
from actors._pools import FunctionWorker, refuse_function
from actors._system.tree_specs import (
    ActorSpec,
    Elsewhere,
    SentClass,
    SupervisorSpec,
    class_name,
    new_child,
    supervisor,
)
from actors.nodes import NodeKind, NodesSpec, check_actor_options, nodes
from actors.supervisors import Backoff, Budget

if TYPE_CHECKING:
    from actors._actor.base import Actor

__all__ = ["DEFAULT_POOL", "PoolSpec", "pool", "sent_pool"]

DEFAULT_POOL: Final = "offload"
"""The name of the pool that `System.offload` uses."""
_QUEUE: Final = 4096
_IDLE: Final = 30.0
_GRACE: Final = 0.1
_KINDS: Final = get_args(NodeKind)
_MEMBER_BACKOFF: Final = Backoff(first=0.01, cap=1.0, start_cap=30)
"""Short, as the tasks of a pool wait for its workers; but not for a worker that cannot start."""


A = TypeVar("A", bound="Actor")
A_co = TypeVar("A_co", bound="Actor", covariant=True)
Ts = TypeVarTuple("Ts")


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolSpec(SupervisorSpec, Generic[A_co]):
    """Workers behind one address; see `pool`."""

    cls: type[A_co] | None
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    size: int
    least: int
    most: int
    idle: float
    at_once: int
    queue: int | None
    grace: float
    recycle: int | None
    max_rss: int | None
    on: str | None
    kind: NodeKind
    per_node: str | None
    group: NodesSpec | None
    backoff: Backoff | None
    shutdown: float
    mailbox: MailboxOption
    options: Mapping[str, Any]
    """The keywords of `pool` it was made by, for the process that made the system."""
    sent: SentClass | None = None
    """The class of its members or, without one, what runs functions, if a node has described the pool."""

    @property
    def why_not_killable(self) -> str:
        """Why a worker cannot be ended alone; "" if it can."""
        if self.on is not None:
            return f"on={self.on!r} also runs others"
        if self.kind != "process":
            return f"a worker of kind={self.kind!r} cannot be ended, and shares its process's fate"
        return ""

    def workers(self, slot: int) -> list[ActorSpec[Any]]:
        """Return the actors of one worker: its member, and beside one with a class who runs functions."""
        on = self.on if self.on is not None else f"{self.name}/{slot}"
        options: dict[str, Any] = {
            "on": on,
            "backoff": self.backoff,
            "shutdown": self.shutdown,
            "mailbox": at_least(self.mailbox, self.at_once),
        }
        cls: type[Actor] = self.cls or FunctionWorker
        name = f"{self.name}/{slot}"
        member = new_child(cls, self.args, self.kwargs, name=name, **options)
        made: list[ActorSpec[Any]] = [replace(member, sent=self.sent)]
        if self.cls is not None:
            beside = f"{name}/functions"
            made.append(new_child(FunctionWorker, (), {}, name=beside, **options))
        return [_in_pool(spec, self.name, slot) for spec in made]

    def with_workers(self) -> Self:
        """Return it with the actors of its workers; one for each node of a group has none itself."""
        slots = range(0 if self.per_node is not None else self.size)
        workers = [actor for slot in slots for actor in self.workers(slot)]
        return replace(self, children=tuple(workers))

    def for_node(self, slot: int) -> Self:
        """Return the pool of one node, of a pool that each node of a group has."""
        name = f"{self.name}-{slot}"
        group = None if self.group is None else replace(self.group, name=name)
        return replace(self, name=name, group=group, per_node=None).with_workers()


def _in_pool(spec: ActorSpec[Any], name: str, slot: int) -> ActorSpec[Any]:
    return replace(spec, turn=slot, pool=name)


class PoolOptions(TypedDict, total=False):
    """The options of `pool`."""

    size: int | None
    min: int | None
    max: int | None
    name: str | None
    on: str | None
    kind: NodeKind | None
    per_node: str | None
    at_once: int
    queue: int | None
    idle: float | None
    grace: float
    recycle: int | None
    max_rss: int | None
    preload: Sequence[str]
    env: Mapping[str, str] | None
    nice: int
    boot_timeout: float
    budget: Budget | None
    backoff: Backoff | None
    shutdown: float
    mailbox: MailboxOption


@overload
def pool(
    *, init: Callable[[], Any] | None = None, **options: Unpack[PoolOptions]
) -> PoolSpec[Actor]: ...
@overload
def pool(cls: Callable[[*Ts], A], /, *args: *Ts, **options: Unpack[PoolOptions]) -> PoolSpec[A]: ...
@constructor_options  # type: ignore[misc] # mypy does not find `*Ts` in `*Any`
def pool(
    cls: Callable[..., Any] | None = None,
    /,
    *args: Any,
    size: int | None = None,
    min: int | None = None,  # noqa: A002 - the words of every pool
    max: int | None = None,  # noqa: A002 - as above
    name: str | None = None,
    on: str | None = None,
    kind: NodeKind | None = None,
    per_node: str | None = None,
    at_once: int = 1,
    queue: int | None = _QUEUE,
    idle: float | None = None,
    grace: float = _GRACE,
    recycle: int | None = None,
    max_rss: int | None = None,
    init: Callable[[], Any] | None = None,
    preload: Sequence[str] = (),
    env: Mapping[str, str] | None = None,
    nice: int = 0,
    boot_timeout: float = 30.0,
    budget: Budget | None = None,
    backoff: Backoff | None = None,
    shutdown: float = 5.0,
    mailbox: MailboxOption = 1024,
) -> PoolSpec[Any]:
    """Describe a pool: workers behind one address, each of which takes the next task when it is free.

    ``await system.start(pool(size=4, name="work"))`` returns its `Pool`, and so does
    ``system.pool("work")``, on every node. Without a class it runs functions; with one, its members are
    copies of an actor, supervised one for one and called ``resizer/0`` and so on, and it has the verbs of
    a `Ref` too.

    Args:
        cls: the actor class of every member, or a `functools.partial` of it, with keywords for its
            constructor; None for functions alone.
        *args: constructor arguments, copied at every start.
        size: how many workers; as many as there are usable CPUs unless given.
        min: the fewest workers, which it starts with. With *max* it grows while tasks wait for a
            worker, and shrinks when workers are idle.
        max: the most workers.
        name: the pool's name; the class's in lower case, or "pool", unless given.
        on: a group of nodes that also runs others, over which the workers are spread, or one node. Unless
            given, each worker has a node of its own.
        kind: of the workers' own nodes. "process" (the default); "thread", which shares this process and
            its lock; "interpreter" (Python 3.14 or later), a sub-interpreter of this process with a lock
            of its own, in which modules that do not support that, such as numpy, cannot be imported. The
            last two share their process's fate, and cannot be ended: they refuse a `timeout`.
        per_node: a group each of whose nodes gets such a pool of its own: ``system.pool(name)`` returns
            there the node's own one.
        at_once: tasks that one worker runs at the same time; more than 1 suits tasks that wait.
        queue: tasks that may wait: `tell` waits for room, the verbs with ``_nowait`` raise. None is no
            bound.
        idle: seconds after which a worker above *min* that had nothing to do is ended (30).
        grace: seconds that a cancelled or late task has to end before its process is killed.
        recycle: tasks after which a worker's process is renewed; None is never.
        max_rss: bytes of resident memory after which a worker's process is renewed, between two tasks.
            One that holds a quarter more is killed, and its task fails with `OutOfMemory`.
        init: a function without arguments that each worker calls before its first task; only for a pool of
            functions, as actors have a constructor.
        preload: modules that the workers' processes share, imported before they are made; see `nodes`.
        env: environment variables of the workers' processes.
        nice: added to the niceness of the workers' processes.
        boot_timeout: seconds a worker's own node has to get ready.
        budget: restarts of all members together; when they need more, all of them are restarted.
        backoff: of each member by itself, unless there is a budget.
        shutdown: seconds a member has to stop.
        mailbox: how many messages may wait for each member beside the pool's queue, or a `Bounded`.

    Raises:
        InvalidSpec: a value that can never work, or an argument that the constructor does not take.
    """
    given = dict(locals())
    options = {key: given[key] for key in given if key not in {"cls", "args"}}
    return _spec(*unpack_constructor(cls, args), options)


_KEPT: Final = (
    "at_once",
    "queue",
    "grace",
    "recycle",
    "max_rss",
    "on",
    "per_node",
    "shutdown",
    "mailbox",
)
"""The options that a spec has under their own names."""


def _spec(
    cls: type[Actor] | None,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    options: dict[str, Any],
) -> PoolSpec[Any]:
    if cls is not None:
        check_actor_options(cls, None, 1)
    given = options["name"]
    name = ("pool" if cls is None else class_name(cls).lower()) if given is None else given
    where = f"pool({name!r})"
    _check_names(where, name=name, on=options["on"], per_node=options["per_node"])
    least, count, most = _sizes(where, options["size"], options["min"], options["max"])
    kind = _check_options(where, options)
    budget, backoff = options["budget"], options["backoff"]
    if budget is not None and backoff is not None:
        raise InvalidSpec(f"{where}: members have a backoff each or a budget together, got both")
    base = supervisor(name, [], budget=budget)
    group = _group(where, name, count, kind, options) if options["on"] is None else None
    env, preload = dict(options["env"] or {}), list(options["preload"])
    spec: PoolSpec[Any] = PoolSpec(
        **{item.name: getattr(base, item.name) for item in fields(base)},
        **{option: options[option] for option in _KEPT},
        cls=cls,
        args=_arguments(name, cls, args, options["init"]),
        kwargs=kwargs,
        size=count,
        least=least,
        most=most,
        idle=_IDLE if options["idle"] is None else options["idle"],
        kind=kind,
        group=group,
        backoff=backoff or (_MEMBER_BACKOFF if budget is None else None),
        options={**options, "name": name, "env": env, "preload": preload},
    )
    return spec.with_workers()


def _check_options(where: str, options: dict[str, Any]) -> NodeKind:
    """Check the options by themselves and against each other; return the kind of the workers' nodes."""

    def some(*names: str) -> dict[str, Any]:
        return {name: options[name] for name in names}

    _check_whole(where, **some("at_once"))
    check_mailbox(where, options["mailbox"])
    _check_whole(where, optional=True, **some("recycle", "max_rss"))
    _check_whole(where, optional=True, least=0, **some("queue"))
    _check_seconds(where, optional=True, **some("idle"))
    _check_seconds(where, **some("grace"))
    kind = _kind(where, **some("kind", "on", "per_node"))
    if options["on"] is not None or kind != "process":
        _refuse_options(where, **some("recycle", "max_rss", "preload", "env", "nice"))
    return kind


def _refuse_options(where: str, **options: object) -> None:
    """Refuse what only a process of the worker's own can have."""
    for option, value in options.items():
        if value:
            raise InvalidSpec(
                f"{where}: {option}={value!r} needs workers with process nodes of their own"
            )


def _arguments(
    name: str,
    cls: type[Actor] | None,
    args: tuple[Any, ...],
    init: Callable[[], Any] | None,
) -> tuple[Any, ...]:
    """Return the constructor arguments of the members."""
    where = f"pool({name!r})"
    if cls is not None:
        if init is not None:
            what = f"init= is for functions; {class_name(cls)} has a constructor"
            raise InvalidSpec(f"{where}: {what}")
        return args
    if args:
        given = ", ".join(map(repr, args))
        raise InvalidSpec(f"{where}: without a class there is no constructor to take {given}")
    if init is None:
        return ()
    if not callable(init):
        raise InvalidSpec(f"{where}: init must be a function without arguments, got {init!r}")
    refuse_function(name, init)
    try:
        signature(init).bind()
    except TypeError as error:
        raise InvalidSpec(f"{where}: init= is called without arguments: {error}") from error
    except ValueError:
        pass  # a builtin, which does not tell its arguments
    return (init,)


def _check_names(where: str, **names: object) -> None:
    for option, name in names.items():
        if name is not None and (type(name) is not str or not name):
            raise InvalidSpec(f"{where}: {option} must be a non-empty text, got {name!r}")


def _sizes(where: str, size: object, least: object, most: object) -> tuple[int, int, int]:
    for option, value in (("size", size), ("min", least), ("max", most)):
        if value is not None and (type(value) is not int or value < 1):
            raise InvalidSpec(
                f"{where}: {option} must be a whole number of 1 or more, got {value!r}"
            )
    if type(least) is int and type(most) is int and least > most:
        raise InvalidSpec(f"{where}: min={least} is more than max={most}")
    cpus = usable_cpus()
    if type(size) is not int:
        low = least if type(least) is int else (1 if type(most) is int else cpus)
        high = most if type(most) is int else max(low, cpus)
        return low, low, high
    low = least if type(least) is int else size
    high = most if type(most) is int else size
    if not low <= size <= high:
        raise InvalidSpec(f"{where}: size={size} is not between min={low} and max={high}")
    return low, size, high


def _check_whole(where: str, *, optional: bool = False, least: int = 1, **values: object) -> None:
    for option, value in values.items():
        if value is None and optional:
            continue
        if type(value) is not int or value < least:
            also = ", or None" if optional else ""
            raise InvalidSpec(
                f"{where}: {option} must be a whole number of {least} or more{also}, got {value!r}"
            )


def _check_seconds(where: str, *, optional: bool = False, **values: object) -> None:
    for option, value in values.items():
        if value is None and optional:
            continue
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or not value >= 0:  # type: ignore[operator] # a number
            raise InvalidSpec(f"{where}: {option} must be 0 or more seconds, got {value!r}")


def _kind(where: str, kind: object, on: object, per_node: object) -> NodeKind:
    if kind is not None and kind not in _KINDS:
        choices = ", ".join(map(repr, _KINDS))
        raise InvalidSpec(f"{where}: kind must be one of {choices}, got {kind!r}")
    if on is not None and (kind is not None or per_node is not None):
        other = f"kind={kind!r}" if kind is not None else f"per_node={per_node!r}"
        raise InvalidSpec(
            f"{where}: {other} is of nodes of its own, and on={on!r} of another group's"
        )
    return cast("NodeKind", kind or "process")


def _group(where: str, name: str, count: int, kind: NodeKind, options: dict[str, Any]) -> NodesSpec:
    own = ("preload", "env", "nice", "boot_timeout", "shutdown")
    chosen = {option: options[option] for option in own}
    try:
        return nodes(name, count=count, kind=kind, backoff=_MEMBER_BACKOFF, **chosen)
    except InvalidSpec as error:
        text = str(error).removeprefix(f"nodes({name!r}): ")
        its = "" if text.startswith("kind=") else "its nodes: "
        raise InvalidSpec(f"{where}: {its}{text}") from None


def sent_pool(sent: SentClass, options: dict[str, Any], *, functions: bool) -> PoolSpec[Any]:
    """Make the spec of a pool that a node has described, of *functions* or of members of a class.

    Raises:
        InvalidSpec: a value that can never work.
    """
    parameters = signature(pool).parameters.values()
    known = {one.name: one.default for one in parameters if one.kind is one.KEYWORD_ONLY}
    unknown = sorted(options.keys() - known.keys())
    if unknown:
        raise InvalidSpec(f"pool() has no option {unknown[0]!r}")
    given = {**known, **options, "init": None}
    made = _spec(None if functions else Elsewhere, (), {}, given)
    return replace(made, sent=sent).with_workers()
