"""The engine "join": agents come by themselves, as Kubernetes, Nomad or systemd start them, and wait.

Rule 1: an agent is let in by the secret of the cluster, and is believed about itself alone.
Rule 2: that an agent has ended is certain when it says so itself, as it comes again; or when another one comes
under its name, which an engine gives to one at a time, and it does not answer any more.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Protocol

from actors._base.log import iso_time
from actors._base.suggestions import did_you_mean
from actors.machines.control_line import LinesHome
from actors.machines.engine import Gone, Placed

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors._base.loop import Loop, Timer, Waiter
    from actors.machines.control_line import ControlLine, Record
    from actors.machines.engine import Join, Reach, Want
    from actors.machines.entrance import Came
    from actors.machines.material import Issuer
    from actors.transport.channels.tls_session import TlsSession

__all__ = ["JoinEngine", "JoinHome", "is_name", "label_problem", "nodes_per_agent"]

_KEYS: Final = ("labels", "nodes_per_agent")
_MOST_LABELS: Final = 32
_LONGEST: Final = 200
_MOST_SPARES: Final = 1024
_SHORTEST_ANSWER: Final = 1.0
"""Seconds that an agent has, at least, to say that it lives when another one comes under its name."""
_PATIENCE: Final = 1.0
"""Seconds without an agent, or without a place for one, until that is said."""
_SAY_AGAIN: Final = 60.0
"""Seconds after which is said again that a place waits."""


class JoinHome(LinesHome, Protocol):
    """The places of a system, as this engine sees them."""

    authority: Issuer

    @property
    def listens_at(self) -> str: ...
    def let_join(self, came: Came) -> None: ...
    def release_problem(self, release: str) -> str: ...


@dataclass(frozen=True, slots=True)
class _Hello:
    """What an agent says of itself.

    Attributes:
        name: which nobody else has at the time, if it is unique.
        instance: which only this process and its parents know.
    """

    name: str
    unique: bool
    instance: str
    labels: Mapping[str, str]
    machine: str
    pid: int
    python: str
    release: str

    @classmethod
    def of(cls, said: Mapping[str, Any]) -> _Hello:
        """Check what an agent has said.

        Raises:
            ValueError: it is not as it has to be.
        """
        texts: dict[str, Any] = {
            name: said.get(name) for name in ("name", "instance", "machine", "python", "release")
        }
        good = all(text == "" or is_name(text) for text in texts.values())
        pid, labels = said.get("pid"), said.get("labels")
        if not good or type(pid) is not int or not texts["name"] or not texts["instance"]:
            raise ValueError("an agent says its name, machine, process and versions")
        problem = label_problem(labels)
        if problem or labels is None:
            raise ValueError(problem)
        return cls(labels=dict(labels), unique=said.get("unique") is True, pid=pid, **texts)


class _Agent:
    """An agent that waits to be wanted, or is.

    Attributes:
        since: when it has come, in seconds since the epoch.
        gone: told when it has ended; None while nobody wants it.
    """

    def __init__(self, engine: JoinEngine, session: TlsSession, hello: _Hello) -> None:
        self.hello = hello
        self.since: float = time.time()
        self.gone: Callable[[Gone], None] | None = None
        self.rival: _Agent | None = None
        """Has come under its name, and waits whether it answers."""
        self.timer: Timer | None = None
        self._engine = engine
        self.line: ControlLine = engine.new_line(session, self._take, self._ended)

    def _take(self, record: Record) -> None:
        if record["op"] == "pong":
            self._engine.answered(self)

    def _ended(self, why: str) -> None:
        self._engine.ended(self, why)

    def has(self, labels: Mapping[str, str]) -> bool:
        """Whether it has these labels."""
        return labels.items() <= self.hello.labels.items()

    def tell_gone(self, gone: Gone) -> None:
        """Tell whoever wants it, once where that is certain."""
        if self.gone is not None:
            self.gone(gone)
            if gone.certain:
                self.gone = None

    @property
    def labels(self) -> str:
        """Its labels, in words."""
        return ", ".join(f"{key}={value}" for key, value in sorted(self.hello.labels.items()))

    @property
    def facts(self) -> dict[str, str]:
        """What people want to know of it."""
        labels = {"labels": self.labels} if self.labels else {}
        return {"agent": self.hello.name, **labels}

    @property
    def status(self) -> dict[str, Any]:
        """What `actors ps` shows of it while nobody wants it."""
        hello = self.hello
        return {
            "name": "-",
            "engine": "join",
            "machine": hello.machine,
            **self.facts,
            "python": hello.python,
            "release": hello.release,
            "pid": hello.pid,
            "state": "SPARE",
            "since": self.since,
            "unreachable_since": None,
            "round_trip": None,
            "lease_left": None,
        }


class _Wanted:
    """A place that waits for an agent."""

    def __init__(self, want: Want, waiter: Waiter) -> None:
        self.want = want
        self.labels: Mapping[str, str] = want.on.get("labels", {})
        self.waiter = waiter
        self.since: float = time.time()
        self.timer: Timer | None = None
        self.agent: _Agent | None = None

    @property
    def what(self) -> str:
        """For what it waits, in words."""
        if not self.labels:
            return "an agent"
        return "an agent with " + ", ".join(f"{key}={text}" for key, text in self.labels.items())


class JoinEngine:
    """Gives places to agents that come by themselves; made by ``nodes(engine="join")``.

    Args:
        home: the places of the system.
    """

    name = "join"

    def __init__(self, home: JoinHome) -> None:
        self.loop: Loop = home.loop
        self.new_line = home.new_line
        self._home = home
        self._spares: list[_Agent] = []
        """Those that nobody wants, the oldest first."""
        self._serving: list[_Agent] = []
        self._checked: list[_Agent] = []
        """Newcomers of whose name it is not known yet whether it is theirs."""
        self._wanted: list[_Wanted] = []
        home.let_join(self._came)

    async def open(self, reach: Reach) -> None:
        """Nothing is connected to: agents come."""

    def check(self, want: Want) -> None:
        """Refuse words that are none of this engine's.

        Raises:
            InvalidSpec: naming the bad value.
        """
        require = partial(want.require, self.name)
        for key in want.on:
            hint = did_you_mean(str(key), _KEYS)
            require(key in _KEYS, f"on has {' and '.join(map(repr, _KEYS))}, got {key!r}{hint}")
        problem = label_problem(want.on.get("labels", {}))
        require(not problem, f"on['labels']: {problem}")
        each: object = want.on.get("nodes_per_agent", 1)
        many = type(each) is int and each > 0
        require(many, f"on['nodes_per_agent'] must be 1 or more, got {each!r}")
        require(
            not want.spread, "spread=True is for an engine that places; whoever starts agents does"
        )

    # -- who is wanted --------------------------------------------------------------------------

    async def start(self, want: Want, join: Join, gone: Callable[[Gone], None]) -> Placed:
        """Wait for an agent with the labels that are wanted, as long as that takes, and have it join."""
        wanted = _Wanted(want, self.loop.waiter())
        self._wanted.append(wanted)
        self._match()
        if not wanted.waiter.done():
            wanted.timer = self.loop.call_later(_PATIENCE, self._tell_waiting, wanted)
        try:
            agent: _Agent = await wanted.waiter
        except BaseException:
            if wanted.agent is not None:  # given to somebody who does not wait any more
                self._serving.remove(wanted.agent)
                self._take_in(wanted.agent)
            raise
        finally:
            if wanted.timer is not None:
                wanted.timer.cancel()
            if wanted in self._wanted:
                self._wanted.remove(wanted)
        agent.gone = gone
        # An agent that needs a certificate of the users' authority has it, and its key stays where it is.
        sent = join if self._home.authority.issues else replace(join, material=None)
        agent.line.send("join", join=asdict(sent))
        if agent.line.closed:
            gone(Gone(certain=False, why=f"agent {agent.hello.name} has gone: {agent.line.closed}"))
        return Placed(name=agent.hello.name, handle=agent)

    def _match(self) -> None:
        """Give each place that waits an agent, the one with the fewest labels of those that it can take.

        Who asks for most labels chooses first, as it can take the fewest.
        """
        for wanted in sorted(self._wanted, key=lambda one: -len(one.labels)):
            fit = [agent for agent in self._spares if agent.has(wanted.labels)]
            if fit and not wanted.waiter.done():
                agent = min(fit, key=lambda one: len(one.hello.labels))
                self._spares.remove(agent)
                self._serving.append(agent)
                self._wanted.remove(wanted)
                wanted.agent = agent
                wanted.waiter.set_result(agent)

    def waits_for(self, group: str, place: int) -> tuple[str, float] | None:
        """Return for what a place waits, and since when in seconds since the epoch; None if it does not."""
        for wanted in self._wanted:
            if (wanted.want.group, wanted.want.place) == (group, place):
                return wanted.what, wanted.since
        return None

    def _tell_waiting(self, wanted: _Wanted) -> None:
        wanted.timer = self.loop.call_later(_SAY_AGAIN, self._tell_waiting, wanted)
        spares = [f"{agent.hello.name} ({agent.labels or 'no labels'})" for agent in self._spares]
        facts = {"at": self._home.listens_at}
        if spares:
            facts["spares"] = ", ".join(spares[:10])
        place = f"{wanted.want.group}@{wanted.want.place}"
        since = iso_time(wanted.since)
        self._home.event(
            "place_waits", {"place": place, "for": wanted.what, "since": since, **facts}
        )

    @property
    def spares(self) -> list[dict[str, Any]]:
        """The agents that wait to be wanted, for `actors ps`."""
        return [agent.status for agent in self._spares]

    # -- who comes ------------------------------------------------------------------------------

    def _came(self, session: TlsSession, said: dict[str, Any]) -> None:
        try:
            hello = _Hello.of(said)
        except ValueError as error:
            self._refuse(self.new_line(session, _ignore, _ignore), session.peer, str(error))
            return
        agent = _Agent(self, session, hello)
        problem = self._home.problem_of(said) or self._home.release_problem(hello.release)
        if len(self._spares) + len(self._checked) >= _MOST_SPARES:
            problem = f"{_MOST_SPARES} agents wait already"
        if problem:
            self._refuse(agent.line, hello.name, problem)
            return
        self._settle_before(agent)

    def _refuse(self, line: ControlLine, name: str, why: str) -> None:
        line.send("refused", why=why)
        line.close()
        self._home.event("agent_refused", {"agent": name, "why": why})

    def _settle_before(self, agent: _Agent) -> None:
        """Say of those before it, of which its coming proves something, that they have ended."""
        hello = agent.hello
        for old in list(self._serving):
            if old.hello.instance == hello.instance:
                self._certain(old, f"agent {hello.name} has ended its nodes, and has come again")
        for old in self._spares:
            if old.hello.instance == hello.instance:
                old.line.close()
                self._spares.remove(old)
                break
        rivals = [old for old in self._named(hello.name) if hello.unique and old.hello.unique]
        if not rivals:
            self._take_in(agent)
        elif rivals[0].line.closed:
            self._proved(rivals[0], agent)
        elif rivals[0].rival is not None:
            self._refuse(agent.line, hello.name, f"another agent has come as {hello.name!r} before")
        else:
            self._ask(rivals[0], agent)

    def _named(self, name: str) -> list[_Agent]:
        return [old for old in (*self._serving, *self._spares) if old.hello.name == name]

    def _ask(self, old: _Agent, agent: _Agent) -> None:
        """Ask the one who had this name before whether it lives."""
        self._checked.append(agent)
        old.rival = agent
        old.timer = self.loop.call_later(
            max(_SHORTEST_ANSWER, self._home.lease / 3), self._proved, old, agent
        )
        old.line.send("ping")

    def answered(self, old: _Agent) -> None:
        """One whose name another one has shown lives: the other one has no right to it."""
        agent = self._leave_check(old)
        if agent is not None:
            one = old.hello
            why = f"agent {one.name!r} lives, on {one.machine} with pid {one.pid}: names are unique"
            self._refuse(agent.line, agent.hello.name, why)

    def _proved(self, old: _Agent, agent: _Agent) -> None:
        """An agent has come under the name of one that does not answer, which has ended."""
        self._leave_check(old)
        if old in self._spares:
            self._spares.remove(old)
        self._certain(
            old, f"another agent has come as {agent.hello.name!r}, which is one at a time"
        )
        old.line.close()
        self._take_in(agent)

    def _leave_check(self, old: _Agent) -> _Agent | None:
        agent, old.rival = old.rival, None
        if old.timer is not None:
            old.timer.cancel()
        if agent is not None and agent in self._checked:
            self._checked.remove(agent)
        return agent

    def _certain(self, old: _Agent, why: str) -> None:
        if old in self._serving:
            self._serving.remove(old)
        old.tell_gone(Gone(certain=True, why=why))
        old.line.close()

    def _take_in(self, agent: _Agent) -> None:
        if agent.line.closed:
            return
        self._spares.append(agent)
        self._match()
        if agent in self._spares:
            agent.timer = self.loop.call_later(_PATIENCE, self._tell_spare, agent)

    def _tell_spare(self, agent: _Agent) -> None:
        if agent in self._spares:
            self._home.event("agent_spare", {**agent.facts, "machine": agent.hello.machine})

    def ended(self, agent: _Agent, why: str) -> None:
        """The connection of an agent has ended, which is a hint."""
        if agent in self._spares:
            self._spares.remove(agent)
            self._home.event("agent_gone", {"agent": agent.hello.name, "why": why})
        agent.tell_gone(Gone(certain=False, why=f"agent {agent.hello.name} has gone: {why}"))
        rival = agent.rival
        if rival is not None:
            self._proved(agent, rival)

    # -- who is not needed any more ---------------------------------------------------------------

    async def stop(self, placed: Placed, grace: float) -> None:  # noqa: ARG002 - it need not end
        """Let an agent go, which was told that its place has ended; it offers itself again."""
        self._let_go(placed.handle)

    def kill(self, placed: Placed) -> None:
        """Have an agent kill its nodes; what cannot be reached does so at the end of its lease."""
        try:
            self.loop.call_threadsafe(self._kill, placed.handle)
        except RuntimeError:
            return  # the loop has ended, and with it the connections

    def _kill(self, agent: _Agent) -> None:
        agent.line.send("kill")
        self._let_go(agent)

    def _let_go(self, agent: _Agent) -> None:
        agent.gone = None
        if agent in self._serving:
            self._serving.remove(agent)
        agent.line.close()

    def facts(self, placed: Placed) -> Mapping[str, str]:
        """Return what the agent says of itself."""
        facts: Mapping[str, str] = placed.handle.facts
        return facts

    async def close(self) -> None:
        """Let all agents go: they offer themselves to the next parent."""
        for agent in (*self._spares, *self._serving, *self._checked):
            if agent.timer is not None:
                agent.timer.cancel()
            agent.line.close()
        for wanted in self._wanted:
            if wanted.timer is not None:
                wanted.timer.cancel()


def is_name(text: object) -> bool:
    """Whether that is a text which can be shown in a line."""
    return type(text) is str and 0 < len(text) <= _LONGEST and text.isprintable()


def label_problem(labels: object) -> str:
    """Return why these are no labels, "" if they are."""
    if not isinstance(labels, Mapping):
        return f"labels are a table of texts, got {labels!r:.80}"
    if len(labels) > _MOST_LABELS:
        return f"there are at most {_MOST_LABELS} labels, got {len(labels)}"
    for key, value in labels.items():
        for text in (key, value):
            if not is_name(text):
                return (
                    f"a label has texts of 1 to {_LONGEST} letters, got {key!r:.80}={value!r:.80}"
                )
    return ""


def nodes_per_agent(on: Mapping[str, Any]) -> int:
    """Return how many nodes of a group one agent has, by the words of the engine."""
    each = on.get("nodes_per_agent", 1)
    return each if type(each) is int and each > 0 else 1


def _ignore(_said: object) -> None:
    """Nothing more is heard of it."""
