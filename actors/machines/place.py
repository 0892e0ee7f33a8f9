"""One place: what an engine has given on one machine, seen from the parent, from its start to its end.

Rule 1: an end of the connection is a hint. That a place is over is said by its engine, if that is certain, by
its lease, or by its agent after the last node of the place.
Rule 2: whoever says it, it is said once, and then nothing is started there or asked of it any more.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, Protocol

from actors._base.errors import ActorsError, BootFailed
from actors._base.open_files import with_limit
from actors.machines.agent_records import OF_RUNS, check_answer, check_record
from actors.machines.control_line import LinesHome
from actors.machines.engine import Join
from actors.transport import VersionSkew

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from actors._base.loop import Timer, Waiter
    from actors.machines.control_line import ControlLine, Record
    from actors.machines.engine import Engine, Gone, Placed, Want
    from actors.machines.entrance import Entrance
    from actors.machines.lease_server import LeaseServer
    from actors.machines.material import Issuer
    from actors.machines.stamps import Stamps
    from actors.routing import Listener
    from actors.transport.channels.tls_session import TlsSession

__all__ = ["Place", "PlaceHome", "PlacedProcess"]

_AGENT: Final = "agent"
_LEASE: Final = "lease"
_OF_AGENTS: Final = frozenset({"fork_server_unusable", "preload_threads", "preload_descriptors"})
"""The events that an agent reports."""
_OF_ROUTERS: Final = frozenset(
    {
        "accept_paused",
        "accept_resumed",
        "available",
        "connection_dropped",
        "connections_redispatched",
        "hand_over_failed",
        "key_unlearned",
        "listening",
        "node_suspect",
        "node_trusted",
        "policy_failed",
        "unavailable",
    }
)
"""Those of the routers that it has."""
_CLOCK_EVERY: Final = 5.0
"""Seconds between two words about the clocks, which drift by some milliseconds a minute at most."""
_LAST_WORDS: Final = 1.0
"""Seconds that the connection of an agent that is known to have ended is still read."""


class PlacedProcess(Protocol):
    """A run of a node, as its place sees it."""

    def on_started(self, pid: int) -> None: ...
    def on_ended(self, code: int | None, why: str, stack: str, lines: list[str]) -> None: ...
    def on_records(self, records: list[dict[str, Any]]) -> None: ...
    def on_lines(self, lines: list[str]) -> None: ...
    def on_dropped(self, lines: int) -> None: ...
    def on_clock(self, ahead: float, error: float) -> None: ...
    def on_place_silent(self) -> None: ...
    def on_place_leaving(self, why: str) -> None: ...
    def on_place_lost(self, why: str) -> None: ...


class ShownRouter(Protocol):
    """A listener at all places of its group."""

    spec: Listener

    def shown(self, place: Place, figures: dict[str, Any]) -> None: ...


class PlaceHome(LinesHome, Protocol):
    """The places of the system, as each of them sees it."""

    authority: Issuer
    entrance: Entrance
    leases: LeaseServer
    log_format: str
    stamps: Stamps

    @property
    def routers(self) -> Sequence[ShownRouter]: ...
    def place_over(self, place: Place) -> None: ...
    def place_empty(self, place: Place) -> None: ...


class Place:
    """An agent and its nodes.

    Args:
        home: the places of the system.
        engine: who starts the agent.
        want: what is wanted of it.
        number: which no other place of the system had.

    Attributes:
        group: whose nodes it has.
        name: "group@number in the group".
        key: the name, and what tells it from those before it.
        machine: where it is, as the engine or the agent says.
        pid: the process of the agent.
        versions: of its Python, and of the code that was shipped to it, as far as it says.
        over: why it is over, "" while it is not.
        leaving: why it takes no more nodes, "" while it does.
        replaces: whether it follows one that was ended in order.
        wanted: whether there are nodes that are to run there.
        silent_since: when it was found to be silent, in seconds since the epoch; None while it is not.
    """

    def __init__(self, home: PlaceHome, engine: Engine, want: Want, number: int) -> None:
        self.group: str = want.group
        self.name: str = f"{want.group}@{want.place}"
        self.key: str = f"{self.name}#{number}"
        self.machine: str = ""
        self.pid: int = 0
        self.versions: dict[str, str] = {"python": "", "release": ""}
        self.over: str = ""
        self.replaces: bool = False
        self.wanted: bool = True
        self.leaving: str = ""
        self.silent_since: float | None = None
        self._home = home
        self._engine = engine
        self._want = want
        self._placed: Placed | None = None
        self._line: ControlLine | None = None
        self._hint = ""
        self._ready: Waiter = home.loop.waiter()
        self._runs: dict[int, PlacedProcess] = {}
        self._calls: dict[int, tuple[str, Waiter]] = {}
        """What the agent was asked, and who waits for its answer."""
        self._refused = ""
        """What the agent has sent that none does, "" if it has not."""
        self._numbers = 0
        self._clock_timer: Timer | None = None

    @property
    def usable(self) -> bool:
        """Whether nodes can be started there."""
        return bool(self._line is not None and not (self.over or self.leaving or self._line.closed))

    @property
    def to_be_ended(self) -> bool:
        """Whether nobody needs it, as no node is to run there, and none does."""
        return not (self.wanted or self._runs or self.over or self.leaving)

    @property
    def facts(self) -> dict[str, str]:
        """What people want to know about it."""
        engine = {} if self._placed is None else dict(self._engine.facts(self._placed))
        return {"engine": self._engine.name, "machine": self.machine, **engine}

    @property
    def status(self) -> dict[str, Any]:
        """What `actors ps` shows: the state, the seconds of a round trip and those left of the lease."""
        offset = self._home.leases.offset(self.key)
        state = "LEAVING" if self.leaving else "READY"
        return {
            "name": self.name,
            **self.facts,
            **self.versions,
            "pid": self.pid,
            "state": state if self.silent_since is None else "UNREACHABLE",
            "unreachable_since": self.silent_since,
            "round_trip": None if offset is None else 2 * offset.error,
            "lease_left": self._home.leases.left(self.key),
        }

    # -- start ------------------------------------------------------------------------------

    async def start(self) -> None:
        """Have the engine start the agent; return when it has joined, and holds its first lease.

        Raises:
            BootFailed: it has ended before, or its engine cannot start it.
        """
        home = self._home
        ticket = home.entrance.expect(_AGENT, self._came)
        host, port = home.entrance.address
        join = Join(
            host=host,
            port=port,
            ticket=ticket,
            material=home.authority.issue(self.key).to_plain(),
            lease=home.lease,
            place=self.name,
        )
        try:
            self._placed = await self._engine.start(self._want, join, self._gone_in_any_thread)
            failure: BootFailed | None = await self._ready
            if failure is not None:
                raise failure  # noqa: TRY301 - handled as what the engine raises
        except BaseException as error:
            self._finish(f"its start failed: {error}", "its parent")
            if isinstance(error, ActorsError) or not isinstance(error, Exception):
                raise
            raise BootFailed(
                f"place {self.name} could not be started: {with_limit(error)}"
            ) from error
        finally:
            home.entrance.forget(ticket)
        home.event("place_joined", {"place": self.name, "pid": self.pid, **self.facts})

    def _came(self, session: TlsSession, hello: dict[str, Any]) -> None:
        """The agent has connected: welcome it, unless it is of another kind."""
        home = self._home
        if self.over:
            session.close()
            return
        self._line = home.new_line(session, self._take, self._line_ended)
        problem = home.problem_of(hello) or _odd_in(hello)
        if problem:
            self._refuse(problem)
        else:
            self.pid, self.machine = hello["pid"], hello["machine"]
            self.versions = {name: str(hello.get(name, "")) for name in ("python", "release")}
            name = f"code of {self.name}"
            home.loop.start(self._check_code, str(hello.get("release", "")), name=name, fresh=True)

    async def _check_code(self, release: str) -> None:
        """Let it in if it has the code of the system."""
        stamps = self._home.stamps
        installed = ""
        try:
            if not release and stamps.distribution:
                installed = await self.call("version_of", distribution=stamps.distribution)
        except ActorsError:
            return  # it has left, which is told where its line has ended
        problem = stamps.problem_of(release, installed, replaces=self.replaces)
        if problem:
            self._refuse(problem)
        else:
            self._welcome()

    def _refuse(self, problem: str) -> None:
        self._send("refused", why=problem)
        error = BootFailed(f"place {self.name}: {problem}")
        error.__cause__ = VersionSkew("actors.machines.agent", "version", problem)
        self._fail_start(error)

    def _welcome(self) -> None:
        home = self._home
        home.leases.watch(self.key)
        if self._line is not None:
            self._line.let_peer_wait()
        ticket = home.entrance.expect(_LEASE, self._lease_came)
        self._send("welcome", ticket=ticket, log_format=home.log_format)

    def _lease_came(self, session: TlsSession, _hello: dict[str, Any]) -> None:
        self._home.leases.serve(self.key, session)

    def _fail_start(self, error: BootFailed) -> None:
        if not self._ready.done():
            self._ready.set_result(error)

    # -- what it is asked ---------------------------------------------------------------------

    def start_run(self, number: int, run: PlacedProcess, launch: Record) -> None:
        """Have a node started there; *run* is told what becomes of it."""
        self._runs[number] = run
        self._send("start", n=number, **launch)

    def kill(self, number: int) -> None:
        """Have a node killed; a place that cannot be reached kills it when its lease is over."""
        self._send("kill", n=number)

    def tell(self, op: str, **fields: Any) -> None:
        """Have the agent do something that is not answered."""
        self._send(op, **fields)

    def tell_state(self, number: int, *, ready: bool) -> None:
        """Tell the agent whether a node is ready, which others ask it."""
        self._send("state", n=number, ready=ready)

    def renew(self) -> None:
        """Have later nodes started from the files as they are now."""
        self._send("renew")

    async def call(self, op: str, **fields: Any) -> Any:
        """Ask the agent, and return its answer.

        Raises:
            ActorsError: it says why not, or cannot be reached.
        """
        if not self.usable and not self.leaving:
            raise ActorsError(f"place {self.name} cannot be reached: {self.over or self._hint}")
        self._numbers += 1
        number = self._numbers
        waiter = self._home.loop.waiter()
        self._calls[number] = op, waiter
        self._send(op, call=number, **fields)
        try:
            return await waiter
        finally:
            self._calls.pop(number, None)

    def _send(self, op: str, **fields: Any) -> None:
        if self._line is not None:
            self._line.send(op, **fields)

    # -- what it says -------------------------------------------------------------------------

    def _take(self, record: Record) -> None:
        op = record.pop("op")
        check_record(op, record)
        if op in OF_RUNS:
            self._tell_run(op, **record)
            return
        take: dict[str, Callable[..., None]] = {
            "ready": self._joined,
            "answer": self._answered,
            "leaving": self._leave,
            "left": self._left,
            "event": self._event,
            "router": self._router,
        }
        take[op](**record)

    def _tell_run(self, op: str, n: int, **fields: Any) -> None:
        """Tell a run, of which an agent is believed; of others it may say what it likes."""
        run = self._runs.pop(n, None) if op == "ended" else self._runs.get(n)
        if run is None:
            return
        tell: dict[str, Callable[..., None]] = {
            "started": run.on_started,
            "records": run.on_records,
            "lines": run.on_lines,
            "dropped": run.on_dropped,
            "ended": run.on_ended,
        }
        tell[op](**fields)
        self._tell_empty()

    def _joined(self) -> None:
        if not self._ready.done():
            self._ready.set_result(None)
            self._tell_clock()

    def _tell_clock(self) -> None:
        """Tell the nodes how the clocks differ, again and again: they drift."""
        if self.over:
            return
        found = self._home.leases.offset(self.key)
        if found is not None and self.silent_since is None:
            for run in list(self._runs.values()):
                run.on_clock(found.ahead, found.error)
        self._clock_timer = self._home.loop.call_later(_CLOCK_EVERY, self._tell_clock)

    def _left(self, why: str) -> None:
        self._finish(why, "its agent")

    def _event(self, kind: str, facts: dict[str, Any]) -> None:
        if kind in _OF_AGENTS or kind in _OF_ROUTERS:
            self._home.event(kind, {**facts, "place": self.name, "machine": self.machine})

    def _router(self, listener: str, figures: dict[str, Any]) -> None:
        for router in self._home.routers:
            if router.spec.name == listener and router.spec.nodes == self.group:
                router.shown(self, figures)

    def _answered(self, call: int, result: Any = None, error: str | None = None) -> None:
        op, waiter = self._calls.get(call, ("", None))
        if waiter is None or waiter.done():
            return
        if error:
            waiter.set_exception(ActorsError(error))
        else:
            check_answer(op, result)
            waiter.set_result(result)

    def _leave(self, why: str) -> None:
        """Start nothing more there: the agent was told to end, and lets its nodes finish."""
        self.leaving = why
        self._home.event("place_leaving", {"place": self.name, "why": why})
        for run in list(self._runs.values()):
            run.on_place_leaving(why)

    # -- its end ------------------------------------------------------------------------------

    def let_go(self) -> None:
        """Have it end when no node runs there any more."""
        self.wanted = False
        self._tell_empty()

    def _tell_empty(self) -> None:
        if self.to_be_ended:
            self._home.place_empty(self)

    def on_silent(self) -> None:
        """It was not heard of for a third of its lease."""
        self.silent_since = time.time()
        self._home.event("place_silent", {"place": self.name, "machine": self.machine})
        for run in list(self._runs.values()):
            run.on_place_silent()

    def on_heard(self) -> None:
        """It is heard of again."""
        self.silent_since = None
        self._home.event("place_heard", {"place": self.name, "machine": self.machine})

    def on_lease_over(self) -> None:
        """Its lease is certainly over: no node of it runs."""
        hint = f" ({self._hint})" if self._hint else ""
        self._finish(
            f"not heard of for longer than its lease of {self._home.lease:g} s{hint}", "its lease"
        )

    def _gone_in_any_thread(self, gone: Gone) -> None:
        try:
            self._home.loop.call_threadsafe(self._gone, gone)
        except RuntimeError:
            return  # the loop has ended, and with it whoever would be told

    def _gone(self, gone: Gone) -> None:
        """Its engine says that the agent has ended."""
        if self._refused:
            gone = replace(gone, why=self._refused)
        self._hint = gone.why
        if not gone.certain:
            self._fail_start(BootFailed(f"place {self.name}: {gone.why}"))
        elif self._line is None or self._line.closed:
            self._finish(gone.why, f"engine {self._engine.name}")
        else:  # what it said last is read first
            self._home.loop.call_later(
                _LAST_WORDS, self._finish, gone.why, f"engine {self._engine.name}"
            )
            self._certain = gone.why

    _certain = ""

    def _line_ended(self, why: str) -> None:
        if self._line is not None and self._line.refused:
            self._refuse_agent(f"its agent {why.removeprefix('it ')}")
        self._hint = self._hint or why
        self._fail_calls(why)
        self._fail_start(
            BootFailed(f"place {self.name}: its agent left before it was ready: {why}")
        )
        if self._certain:
            self._finish(self._certain, f"engine {self._engine.name}")

    def _refuse_agent(self, why: str) -> None:
        """Have an agent that sends what none does end: as it is broken, its lease is not prolonged either."""
        self._refused = self._hint = why
        self._home.leases.grant_no_more(self.key)
        if self._placed is not None:
            self._engine.kill(self._placed)

    def _fail_calls(self, why: str) -> None:
        """Nobody answers any more what the agent was asked."""
        for _, waiter in list(self._calls.values()):
            if not waiter.done():
                waiter.set_exception(ActorsError(f"place {self.name} cannot be reached: {why}"))

    def _finish(self, why: str, by: str) -> None:
        """It is over, as *by* says; its nodes are told."""
        if self.over:
            return
        self.over = why
        home = self._home
        home.leases.forget(self.key)
        if self._clock_timer is not None:
            self._clock_timer.cancel()
        if self._line is not None:
            self._line.send("end")
            self._line.close()
        self._fail_start(BootFailed(f"place {self.name}: {why}"))
        self._fail_calls(why)
        runs, self._runs = self._runs, {}
        ready = bool(self.machine)
        home.place_over(self)
        if ready and by != "its parent":
            kind = "place_left" if self.leaving else "place_lost"
            home.event(kind, {"place": self.name, "machine": self.machine, "why": why, "by": by})
        if self._placed is not None:
            self._engine.kill(self._placed)
        for run in runs.values():
            run.on_place_lost(why)

    async def stop(self, grace: float, why: str = "the system has ended") -> None:
        """End its agent in order, because of *why*; its nodes have ended."""
        placed, self._placed = self._placed, None
        self._finish(why, "its parent")
        if placed is not None:
            # One that has not come hears nothing of the end.
            await self._engine.stop(placed, 0.0 if self._line is None else grace)

    def abandon(self) -> None:
        """Kill its agent, which nobody waits for any more; in any thread."""
        if self._placed is not None:
            self._engine.kill(self._placed)


def _odd_in(hello: dict[str, Any]) -> str:
    """Return what an agent does not say of itself as it has to, "" if it does."""
    pid, machine = hello.get("pid"), hello.get("machine")
    if type(pid) is not int or type(machine) is not str or not machine.isprintable():
        return f"its agent says that it is process {pid!r:.40} of machine {machine!r:.40}"
    return ""
