"""A group of nodes as data."""

from __future__ import annotations

import math
import re
import resource
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import EllipsisType, MappingProxyType
from typing import Any, Final, Literal, Protocol, TypeAlias, get_args

from actors._base.errors import InvalidSpec
from actors._base.options import env_problem
from actors._base.run_loop import BACKENDS, Backend
from actors._known_options import known_options
from actors.supervisors import Backoff

__all__ = ["NodeKind", "NodesSpec", "nodes"]

NodeKind: TypeAlias = Literal["process", "thread", "interpreter"]
"""What a node that is started can be."""
_KINDS: Final = get_args(NodeKind)
_INTERPRETERS: Final = (3, 14)
ENGINES: Final = ("hosts", "join", "ray")
"""The engines that are part of this package, by their names."""
MOST: Final = 1024
SILENT_AFTER: Final = 30.0
"""Seconds without a sign of life until a node is reported as busy, or as hung if it serves a listener."""
_LONGEST_NAME: Final = 100
_PATH: Final = re.compile(r"\w+(\.\w+)*:\w+(\.\w+)*")
_NICEST, _LEAST_NICE = 19, -20
_OF_THE_PROCESS: Final = {
    "preload": "modules",
    "env": "environment",
    "nice": "priority",
    "cpus": "CPUs",
    "user": "user",
    "rlimits": "limits",
    "cgroup": "control group",
}
"""Options of a process, and what of it they set."""
_SLOT: Final = "{slot}"
_RLIMIT: Final = "RLIMIT_"


class Engine(Protocol):
    """Who places nodes on machines, as far as a spec is concerned; see `actors.machines.Engine`."""

    @property
    def name(self) -> str: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class NodesSpec:
    """`count` nodes that are alike; see `nodes`."""

    name: str
    count: int = 1
    kind: NodeKind = "process"
    backend: Backend = "asyncio"
    uvloop: bool = True
    preload: Sequence[str] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    nice: int = 0
    cpus: Literal["each"] | None = None
    user: str | None = None
    rlimits: Mapping[str, int] = field(default_factory=dict)
    cgroup: str | None = None
    backoff: Backoff = field(default_factory=Backoff)
    boot_timeout: float = 30.0
    shutdown: float = 5.0
    hang_after: float | EllipsisType | None = ...
    block_after: float | None = 0.25
    max_rss: int | None = None
    max_requests: int | None = None
    max_requests_jitter: int = 0
    lifetime: float | None = None
    ready: str | None = None
    unready_after: float = 60.0
    on_ready: str | None = None
    on_stop: str | None = None
    min: int | None = None
    max: int | None = None
    engine: Any = None
    on: Mapping[str, Any] = field(default_factory=dict)
    spread: bool = False

    def __post_init__(self) -> None:
        called: object = self.name
        if type(called) is not str or not called.replace("-", "").replace("_", "").isalnum():
            raise InvalidSpec(
                f"a group of nodes is named with letters, digits, - and _; got {self.name!r}"
            )
        if len(self.name) > _LONGEST_NAME:
            raise InvalidSpec(
                f"the name of a group of nodes has at most {_LONGEST_NAME} letters, "
                f"got {len(self.name)}: {self.name[:_LONGEST_NAME]!r}..."
            )
        count: object = self.count
        self._require(
            type(count) is int and 0 < count <= MOST, f"count must be 1 to {MOST}, got {count!r}"
        )
        for name, known in (("kind", _KINDS), ("backend", BACKENDS)):
            value = getattr(self, name)
            choices = f"{', '.join(map(repr, known[:-1]))} or {known[-1]!r}"
            self._require(value in known, f"{name} must be {choices}, got {value!r}")
        if self.kind == "interpreter":
            version = ".".join(map(str, sys.version_info[:2]))
            what = f"kind='interpreter' needs Python 3.14 or later, this is {version}"
            self._require(sys.version_info >= _INTERPRETERS, what)
        self._check_range()
        for name in ("ready", "on_ready", "on_stop"):
            path: object = getattr(self, name)
            self._require(
                path is None or (type(path) is str and bool(_PATH.fullmatch(path))),
                f"{name} must be an import path such as 'pkg.mod:function', got {path!r}",
            )
        for name in ("boot_timeout", "shutdown", "unready_after"):
            seconds: object = getattr(self, name)
            positive = isinstance(seconds, int | float) and seconds > 0
            self._require(positive, f"{name} must be more than 0 seconds, got {seconds!r}")
        self._check_health()
        self._check_process()
        self._check_rights()
        self._check_limits()
        self._check_engine()

    def _check_range(self) -> None:
        """Check between which numbers of nodes the group scales itself."""
        if self.min is None and self.max is None:
            return
        least: object = self.count if self.min is None else self.min
        self._require(self.max is not None, f"min={least!r} needs max, how many nodes at most")
        self._require(
            type(least) is int and 0 < least <= MOST, f"min must be 1 to {MOST}, got {least!r}"
        )
        most: object = self.max
        self._require(
            type(most) is int and least <= most <= MOST,  # type: ignore[operator] # checked above
            f"max must be a whole number from min={least} to {MOST}, got {most!r}",
        )
        object.__setattr__(self, "min", least)
        if self.count < self.min:  # type: ignore[operator] # as above
            object.__setattr__(self, "count", self.min)
        self._require(
            self.count <= self.max,  # type: ignore[operator] # as above
            f"count={self.count} is more than max={most}",
        )

    def _check_engine(self) -> None:
        """Check who places the nodes, on which machines; the engine itself checks its own words in `on`."""
        engine, on = self.engine, self.on
        self._require(
            engine is None
            or (isinstance(engine, str) and engine in ENGINES)
            or (not isinstance(engine, str) and bool(getattr(engine, "name", ""))),
            f"engine must be {', '.join(map(repr, ENGINES))}, an actors.machines.Engine or None, "
            f"got {engine!r}",
        )
        self._require(isinstance(on, Mapping), f"on must map words of the engine, got {on!r}")
        spread: object = self.spread
        self._require(type(spread) is bool, f"spread must be True or False, got {spread!r}")
        if engine is None:
            for option in ("on", "spread"):
                given = getattr(self, option)
                self._require(not given, f"{option}={given!r} needs an engine, which it is for")
            return
        self._require(
            self.kind == "process",
            f"engine={self.engine_name!r} needs kind='process': a {self.kind} is of the parent's process",
        )
        self._require(
            self.max is None,
            f"max={self.max} with engine={self.engine_name!r} is not built: a group on other machines "
            "does not scale itself",
        )

    @property
    def engine_name(self) -> str:
        """The name of the engine that places its nodes, "" for none."""
        if self.engine is None:
            return ""
        return self.engine if isinstance(self.engine, str) else str(self.engine.name)

    def _check_rights(self) -> None:
        """Check what a process takes on before it runs anything of the user."""
        self._require(
            self.cpus in (None, "each"), f"cpus must be 'each' or None, got {self.cpus!r}"
        )
        for name in ("user", "cgroup"):
            given: object = getattr(self, name)
            self._require(
                given is None or (type(given) is str and bool(given) and "\0" not in given),
                f"{name} must be text that is not empty or None, got {given!r}",
            )
        limits: object = self.rlimits
        self._require(isinstance(limits, Mapping), f"rlimits must map names, got {limits!r}")
        known = rlimit_names()
        for name, value in self.rlimits.items():
            self._require(name in known, f"rlimits has no {name!r} here; it has {', '.join(known)}")
            self._require(
                type(value) is int and value >= 0,
                f"rlimits[{name!r}] must be a whole number, 0 or more, got {value!r}",
            )
        object.__setattr__(self, "rlimits", MappingProxyType(dict(self.rlimits)))

    def _check_process(self) -> None:
        preload: object = self.preload
        self._require(
            isinstance(preload, list | tuple),
            f"preload must be a list of names of modules, got {preload!r}",
        )
        for name in self.preload:
            self._require(
                type(name) is str and all(part.isidentifier() for part in name.split(".")),
                f"preload has names of modules such as 'pkg.model', got {name!r}",
            )
        object.__setattr__(self, "preload", tuple(dict.fromkeys(self.preload)))
        env: object = self.env
        self._require(isinstance(env, Mapping), f"env must map text to text, got {env!r}")
        for key, value in self.env.items():
            problem = env_problem(key, value)
            self._require(not problem, f"env {problem}, got {key!r}: {value!r}")
        object.__setattr__(self, "env", MappingProxyType(dict(self.env)))
        nice: object = self.nice
        self._require(
            type(nice) is int and _LEAST_NICE <= nice <= _NICEST,
            f"nice must be a whole number from {_LEAST_NICE} to {_NICEST}, got {nice!r}",
        )
        for option, shared in _OF_THE_PROCESS.items():
            given = getattr(self, option)
            self._require(
                not given or self.kind == "process",
                f"{option} needs kind='process': a {self.kind} shares the {shared} of its process",
            )

    def _check_health(self) -> None:
        for name in ("hang_after", "block_after"):
            after: object = getattr(self, name)
            number = isinstance(after, int | float) and not isinstance(after, bool)
            self._require(
                after is None
                or (after is ... and name == "hang_after")
                or (number and 0 < after < math.inf),  # type: ignore[operator] # a number
                f"{name} must be more than 0 seconds or None, got {after!r}",
            )

    def _check_limits(self) -> None:
        rss: object = self.max_rss
        self._require(
            rss is None or (type(rss) is int and rss > 0),
            f"max_rss must be a whole number of bytes above 0 or None, got {rss!r}",
        )
        most: object = self.max_requests
        self._require(
            most is None or (type(most) is int and most > 0),
            f"max_requests must be a whole number above 0 or None, got {most!r}",
        )
        jitter: object = self.max_requests_jitter
        self._require(
            type(jitter) is int and jitter >= 0,
            f"max_requests_jitter must be a whole number, 0 or more, got {jitter!r}",
        )
        life: object = self.lifetime
        number = isinstance(life, int | float) and not isinstance(life, bool)
        self._require(
            life is None or (number and 0 < life < math.inf),  # type: ignore[operator] # a number
            f"lifetime must be more than 0 seconds or None, got {life!r}",
        )
        for name in ("max_rss", "max_requests", "lifetime"):
            given = getattr(self, name)
            self._require(
                given is None or self.kind == "process",
                f"{name}={given} needs kind='process': a {self.kind} shares the memory of its process",
            )

    def requests_of_a_run(self, randint: Callable[[int, int], int]) -> int | None:
        """Return how many requests the next process may serve, None for no limit."""
        if self.max_requests is None:
            return None
        return self.max_requests + randint(0, self.max_requests_jitter)

    def _require(self, condition: bool, rule: str) -> None:  # noqa: FBT001 - as of `assert`
        if not condition:
            raise InvalidSpec(f"nodes({self.name!r}): {rule}")

    def with_hang_after(self, *, serves: bool) -> NodesSpec:
        """Return it with `hang_after` decided: by default 30 for a group that serves a listener, else None."""
        if self.hang_after is not ...:
            return self
        return replace(self, hang_after=SILENT_AFTER if serves else None)

    @property
    def silent_after(self) -> float:
        """Seconds without a sign of life until a node is reported as busy, or as hung."""
        after = self.hang_after
        return SILENT_AFTER if after is None or isinstance(after, EllipsisType) else after

    def named(self, slot: int) -> str:
        """Return the name of the node in *slot*."""
        return f"{self.name}/{slot}"

    @property
    def shared_env(self) -> dict[str, str]:
        """The variables that have the same value for each node."""
        return {key: value for key, value in self.env.items() if _SLOT not in value}

    def own_env(self, slot: int) -> dict[str, str]:
        """Return the variables with another value for each slot, for the node in *slot*."""
        own = {key: value for key, value in self.env.items() if _SLOT in value}
        return {key: value.replace(_SLOT, str(slot)) for key, value in own.items()}


def rlimit_names() -> list[str]:
    """Return the names that `nodes(rlimits=)` may have on this system, such as "nofile"."""
    found = (name for name in dir(resource) if name.startswith(_RLIMIT))
    return sorted(name.removeprefix(_RLIMIT).lower() for name in found)


@known_options(InvalidSpec)
def nodes(
    name: str,
    *,
    count: int = 1,
    kind: NodeKind = "process",
    backend: Backend = "asyncio",
    uvloop: bool = True,
    preload: Sequence[str] = (),
    env: Mapping[str, str] | None = None,
    nice: int = 0,
    cpus: Literal["each"] | None = None,
    user: str | None = None,
    rlimits: Mapping[str, int] | None = None,
    cgroup: str | None = None,
    backoff: Backoff | None = None,
    boot_timeout: float = 30.0,
    shutdown: float = 5.0,
    hang_after: float | EllipsisType | None = ...,
    block_after: float | None = 0.25,
    max_rss: int | None = None,
    max_requests: int | None = None,
    max_requests_jitter: int = 0,
    lifetime: float | None = None,
    ready: str | None = None,
    unready_after: float = 60.0,
    on_ready: str | None = None,
    on_stop: str | None = None,
    min: int | None = None,  # noqa: A002 - the name of the option
    max: int | None = None,  # noqa: A002 - the same
    engine: str | Engine | None = None,
    on: Mapping[str, Any] | None = None,
    spread: bool = False,
) -> NodesSpec:
    """Describe a group of nodes; its nodes are called ``name/0``, ``name/1`` and so on.

    Args:
        name: the group; actors and listeners are placed by it.
        count: how many nodes; with *max*, how many it begins with.
        kind: "process": each node is an operating system process, isolated and killable; "thread":
            a thread of this process with a loop of its own, cheap, sharing the interpreter's lock;
            "interpreter" (Python 3.14 or later): a sub-interpreter of this process, with a lock of
            its own, asyncio's own loop, and only modules that support sub-interpreters. The last two
            cannot be killed, and end with their process when one of them crashes it.
        backend: "asyncio" or "trio".
        uvloop: run it on uvloop where that is installed.
        preload: names of modules that are imported once, in a process from which the nodes are
            forked: what they load is in memory once, however many nodes there are, for as long as
            nobody writes to it. A killed node comes back without importing them again; a reload
            imports them anew. They should start no threads, which a fork does not have, and
            initialise no device; `OMP_NUM_THREADS` and the like are 1 while they are imported,
            unless they are set. Their import counts for *boot_timeout*. Where nodes cannot be
            forked, each imports them before it is ready.
        env: environment variables beside the parent's own; ``{slot}`` in a value is the number of the
            node, as in ``{"CUDA_VISIBLE_DEVICES": "{slot}"}``. Process nodes only.
        nice: added to the process's niceness, from -20 to 19; below 0 needs the right to raise a
            priority. Process nodes only.
        cpus: "each" keeps each node on one of the CPUs that this process may use, by its slot, so that
            its caches stay warm; with more nodes than CPUs some share one. Process nodes only.
        user: name or number of the user that the nodes run as; it needs root. It is no sandbox: code on a
            node may still ask the system for actors on other nodes. Process nodes only.
        rlimits: limits of the process by their names in lower case, such as ``{"nofile": 65536}``, in the
            units of `resource.setrlimit`; soft and hard limit alike. Process nodes only.
        cgroup: folder of a control group (version 2) that exists, which the processes join; it needs the
            right to write there. Process nodes only.
        backoff: waits between restarts of a node that keeps dying.
        boot_timeout: seconds a node has to get ready.
        shutdown: seconds a node has to end before it is killed.
        hang_after: seconds without a sign of life after which a node counts as hung: the stacks of
            its threads are written among its output, it is killed, and restarted as after a crash.
            The default is 30 for a group that serves a listener, None for others. None kills
            nothing: after 30 seconds one event `node_busy` names the actor, its message, since
            when, and has the stack. Both are off while a node is debugged: a tracer or debugger
            is active in its loop's thread, Python runs in development mode (``-X dev``), or
            ``PYTHONASYNCIODEBUG`` is set. What a node imports for listeners and actors does not
            count. A process node uses `faulthandler.dump_traceback_later`, of which a process has
            one. A thread cannot be killed: one that is hung is abandoned.
        block_after: seconds for which one actor's code may keep the loop from turning; what takes
            longer is an event `loop_blocked` with the actor, its message, the seconds and the
            stack, at most once in ten seconds for the same message. None turns that off.
        max_rss: bytes of resident memory above which a process node is recycled. It is looked at once
            a second. None sets no limit. A node that serves a listener goes on until a new process is
            ready and takes its place, so that no client notices; then it finishes what it has within
            *shutdown* seconds. Another node gets no new work, finishes what it has, ends, and is started
            again. A limit that is reached at once is paced by *backoff*.
        max_requests: requests after which a process node that serves a listener is recycled, or
            connections or datagrams of a handler; it is looked at four times a second. None sets no
            limit.
        max_requests_jitter: up to so many requests more, at random for each process, so that not all
            nodes are recycled at the same time.
        lifetime: seconds after which a process node is recycled, up to a tenth of them earlier, at
            random. None sets no limit.
        ready: import path of a function without arguments, sync or async, that says whether a node may
            be given connections: ``pkg.mod:check``. It is asked when the servers of the node have
            started, which are not ready before it says yes, and then once a second. A node that says no
            (what the check raises is a no, too) gets no new connections until it says yes; what it
            serves goes on. A check that takes more than five seconds is a no.
        unready_after: seconds of no after which a process node is renewed.
        on_ready: import path of a function without arguments, sync or async, that each node calls when it
            has started, before it gets an actor or a connection: ``pkg.mod:open_database``. It counts for
            *boot_timeout*; what it raises fails the start of the node.
        on_stop: the same, called when a node ends on purpose, after its actors and connections; it counts
            for *shutdown*, and what it raises is logged.
        min: how many nodes there are at least, if the group scales itself.
        max: how many nodes there are at most: the group scales itself. It gets a node more when its loops are
            busy or its messages and connections wait for some seconds, as long as memory is left and there
            are not more nodes than CPUs this process may use, and one less when they have had little to do
            for a minute. `System.scale` sets a number within *min* and *max* from which it goes on.
        engine: who places the nodes on machines: "hosts", "join", "ray", or an `actors.machines.Engine`. None
            is this machine. Others are reached over TLS, and what they are sent is copied.
        on: the engine's own words about where; for "hosts" ``{"hosts": [{"run": ["ssh", "web1"]}]}``, and
            this machine if there are none; for "join" the labels that an agent must have; for "ray" its
            options of an actor, ``{"GPU": 1}``.
        spread: whether the engine is to place the nodes on as many machines as it can.

    Raises:
        InvalidSpec: a value that can never work, or an unknown one.
    """
    return NodesSpec(
        name=name,
        count=count,
        kind=kind,
        backend=backend,
        uvloop=uvloop,
        preload=preload,
        env={} if env is None else env,
        nice=nice,
        cpus=cpus,
        user=user,
        rlimits={} if rlimits is None else rlimits,
        cgroup=cgroup,
        backoff=backoff or Backoff(),
        boot_timeout=boot_timeout,
        shutdown=shutdown,
        hang_after=hang_after,
        block_after=block_after,
        max_rss=max_rss,
        max_requests=max_requests,
        max_requests_jitter=max_requests_jitter,
        lifetime=lifetime,
        ready=ready,
        unready_after=unready_after,
        on_ready=on_ready,
        on_stop=on_stop,
        min=min,
        max=max,
        engine=engine,
        on={} if on is None else on,
        spread=spread,
    )
