"""The places of a system: who is where, and where agents come in.

Rule: the loss of a place is one event, and is charged to the place by a backoff of its own; its nodes wait for
the next one.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any, Final, Protocol

from anyio import Event, create_task_group, move_on_after, sleep

from actors._base.errors import BootFailed, InvalidSpec
from actors._base.log import iso_time
from actors._base.options import host_and_port
from actors.machines.authority import Authority
from actors.machines.control_line import ControlLine
from actors.machines.engine import Reach, Want
from actors.machines.entrance import Entrance
from actors.machines.hosts_engine import HostsEngine, host_count
from actors.machines.join_engine import JoinEngine, nodes_per_agent
from actors.machines.join_secret import JoinSecret
from actors.machines.lease_server import LeaseServer
from actors.machines.place import Place
from actors.machines.ray_engine import RayEngine
from actors.machines.users_authority import UsersAuthority
from actors.machines.wire_version import skew_of
from actors.routing import Inet
from actors.supervisors import BackoffState

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from os import PathLike

    from actors._base.loop import Loop, Task, Waiter
    from actors.machines.control_line import Record
    from actors.machines.engine import Engine
    from actors.machines.entrance import Came
    from actors.machines.material import Issuer
    from actors.machines.placed_router import PlacedRouter
    from actors.machines.stamps import Stamps
    from actors.nodes import NodesSpec
    from actors.transport.channels.tls_session import TlsSession

__all__ = ["Places"]

_LAST_WORDS: Final = 5.0
"""Seconds that agents have, all together, to end their connections when the system has ended."""
_GRACE: Final = 5.0
"""Seconds that an agent without nodes has to end."""


class MachineOptions(Protocol):
    """The options of a `Topology` that are about other machines."""

    @property
    def lease(self) -> float: ...
    @property
    def reach(self) -> str | None: ...
    @property
    def tls(self) -> Mapping[str, str | PathLike[str]] | None: ...
    @property
    def join_secret(self) -> str | PathLike[str] | None: ...


class Places:
    """Gives each node its place, and starts agents for that.

    Args:
        loop: the parent's.
        options: of the system.
        event: publishes an event.
        log_format: in which nodes write their records: "json" or "console".
        stamps: says which code the places may have.

    Attributes:
        authority: signs for this system.
        entrance: where agents and nodes come in.
        leases: answers agents.
        routers: the listeners of nodes on other machines that are open.
    """

    def __init__(
        self,
        loop: Loop,
        options: MachineOptions,
        event: Callable[[str, dict[str, Any]], None],
        log_format: str,
        stamps: Stamps,
    ) -> None:
        self.loop = loop
        self.stamps = stamps
        self.event = event
        self.log_format = log_format
        self.lease: float = float(options.lease)
        self._options = options
        self.authority: Issuer = (
            Authority.new() if options.tls is None else UsersAuthority(options.tls)
        )
        reach = host_and_port(options.reach or "127.0.0.1")
        assert reach is not None, "it was checked"
        try:
            self.entrance: Entrance = Entrance(
                loop,
                self.authority.issue("parent"),
                *reach,
                lease=self.lease,
                turned_away=self._turned_away,
            )
        except InvalidSpec as error:
            raise InvalidSpec(f"reach={options.reach!r}: {error}") from error
        self.leases: LeaseServer = LeaseServer(
            self.lease,
            on_silent=self._from_thread(Place.on_silent),
            on_heard=self._from_thread(Place.on_heard),
            on_over=self._from_thread(Place.on_lease_over),
        )
        self.routers: list[PlacedRouter] = []
        self._engines: dict[str, Engine] = {}
        self._opening: dict[str, Event] = {}
        self._slots: dict[tuple[str, int], _PlaceSlot] = {}
        self._by_key: dict[str, Place] = {}
        self._numbers = 0
        self._closing = False
        self._lines: set[ControlLine] = set()
        """Those of which something is left."""

    # -- who is where -------------------------------------------------------------------------

    async def place_for(self, spec: NodesSpec, slot: int, *, patient: bool) -> Place:
        """Return the place of a node, when its agent has joined.

        Args:
            spec: of its group.
            slot: its number in the group.
            patient: whether to wait as long as it takes; otherwise the first failure is raised.

        Raises:
            BootFailed: there is none, and why.
        """
        number = place_number(spec, slot)
        key = (spec.name, number)
        if key not in self._slots:
            want = Want(group=spec.name, place=number, on=spec.on, spread=spec.spread)
            self._slots[key] = _PlaceSlot(self, spec, want)
        return await self._slots[key].get(patient=patient)

    def let_go(self, group: str, number: int) -> None:
        """Have no place of that number in a group, as no node needs it: others may have its agent."""
        slot = self._slots.get((group, number))
        if slot is not None:
            slot.let_go()

    def waits_for(self, spec: NodesSpec, slot: int) -> str:
        """Return what the place of a node waits for, for errors."""
        found = self._slots.get((spec.name, place_number(spec, slot)))
        return "" if found is None else found.doing

    def is_patient(self, spec: NodesSpec) -> bool:
        """Whether nodes of a group wait as long as it takes for their agents, which come by themselves."""
        return isinstance(self._engine(spec), JoinEngine)

    def waits_since(self, spec: NodesSpec, slot: int) -> dict[str, Any]:
        """Return for what agent a node waits, and since when; empty if for none."""
        engine = self._engine(spec)
        if not isinstance(engine, JoinEngine):
            return {}
        found = engine.waits_for(spec.name, place_number(spec, slot))
        return {} if found is None else {"waits_for": found[0], "waits_since": iso_time(found[1])}

    def check(self, spec: NodesSpec) -> None:
        """Refuse a group that its engine cannot place.

        Raises:
            InvalidSpec: in the engine's words.
        """
        engine = self._engine(spec)
        for number in {place_number(spec, slot) for slot in range(spec.count)}:
            engine.check(Want(group=spec.name, place=number, on=spec.on, spread=spec.spread))

    def new_place(self, engine: Engine, want: Want) -> Place:
        """Make a place that is not started yet."""
        self._numbers += 1
        place = Place(self, engine, want, self._numbers)
        self._by_key[place.key] = place
        return place

    async def engine_of(self, spec: NodesSpec) -> Engine:
        """Return the engine of a group, connected."""
        engine = self._engine(spec)
        opening = self._opening.get(engine.name)
        if opening is not None:
            await opening.wait()
            if engine.name in self._opening:
                return engine
        self._opening[engine.name] = opened = Event()
        host, port = self.entrance.address
        try:
            await engine.open(Reach(host=host, port=port))
        except BaseException:
            del self._opening[engine.name]
            raise
        finally:
            opened.set()
        return engine

    def _engine(self, spec: NodesSpec) -> Engine:
        name = spec.engine_name
        if name not in self._engines:
            made = spec.engine if not isinstance(spec.engine, str) else _ENGINES[name](self)
            self._engines[name] = made
        return self._engines[name]

    @property
    def status(self) -> list[dict[str, Any]]:
        """What `actors ps` shows of each place that has joined."""
        return [place.status for place in self._by_key.values() if place.machine]

    @property
    def spares(self) -> list[dict[str, Any]]:
        """What `actors ps` shows of each agent that waits for a place."""
        engines = [one for one in self._engines.values() if isinstance(one, JoinEngine)]
        return [spare for engine in engines for spare in engine.spares]

    def place_number(self, spec: NodesSpec, slot: int) -> int:
        """Return the place of a node in its group."""
        return place_number(spec, slot)

    def places_of(self, group: str) -> list[Place]:
        """Return the places of a group that can be told something."""
        return [place for place in self._by_key.values() if place.group == group and place.usable]

    def renew(self) -> None:
        """Have all agents start later nodes from the files as they are now."""
        for place in self._by_key.values():
            place.renew()

    # -- what a place needs (`PlaceHome`) -----------------------------------------------------

    def let_join(self, came: Came) -> None:
        """Let in agents that have the secret of the cluster.

        Raises:
            InvalidSpec: there is none, or no address that agents could know.
        """
        options = self._options
        if options.join_secret is None:
            raise InvalidSpec("engine='join' needs System(join_secret=FILE), which lets agents in")
        if ":" not in (options.reach or "").rpartition("]")[2]:
            raise InvalidSpec(
                f"engine='join' needs System(reach='HOST:PORT'), where agents come, got {options.reach!r}"
            )
        secret = JoinSecret.from_file(options.join_secret)
        self.entrance.standing(secret, came, anonymous=self.authority.issues)

    @property
    def listens_at(self) -> str:
        """Where agents come in, in words."""
        return str(Inet(*self.entrance.address))

    def material_for(self, name: str) -> dict[str, Any] | None:
        """Return what a node of another machine shows; None if its machine has that."""
        return self.authority.issue(name).to_plain() if self.authority.issues else None

    def new_line(
        self,
        session: TlsSession,
        take: Callable[[Record], object],
        ended: Callable[[str], object],
    ) -> ControlLine:
        """Make a line to an agent, which ends with the system at the latest."""
        line = ControlLine(self.loop, session, take, ended)
        self._lines.add(line)
        line.when_finished(lambda: self._lines.discard(line))
        return line

    def problem_of(self, hello: dict[str, Any]) -> str:
        """Return why an agent cannot be of this system, "" if it can."""
        return skew_of(hello)

    def release_problem(self, release: str) -> str:
        """Return why no place can have an agent of this release now, "" if one may."""
        if any(slot.follows_one_in_order for slot in self._slots.values()):
            return ""
        return self.stamps.problem_of_spare(release)

    def place_over(self, place: Place) -> None:
        """Forget a place; the next node that needs one gets another."""
        self._by_key.pop(place.key, None)
        for router in self.routers:
            router.place_over(place)
        for slot in self._slots.values():
            slot.place_over(place)

    def place_empty(self, place: Place) -> None:
        """End the agent of a place that is not wanted, and has no node any more, in order."""
        name = f"end of place {place.name}"
        self.loop.start(self._end_empty, place, name=name, fresh=True)

    async def _end_empty(self, place: Place) -> None:
        if place.to_be_ended:
            why = "no node needs it any more"
            facts = {"place": place.name, "machine": place.machine, "why": why}
            self.event("place_left", {**facts, "by": "its parent"})
            await place.stop(_GRACE, why)

    def _from_thread(self, tell: Callable[[Place], None]) -> Callable[[str], None]:
        """Return what tells a place something on the loop, called in the leases' thread with its key."""

        def on_loop(key: str) -> None:
            place = self._by_key.get(key)
            if place is not None:
                tell(place)

        return lambda key: (self.loop.call_threadsafe(on_loop, key), None)[1]

    def _turned_away(self, count: int, peer: str, why: str) -> None:
        self.event("strangers_turned_away", {"count": count, "last": peer, "why": why})

    # -- the end ------------------------------------------------------------------------------

    async def close(self) -> None:
        """End all agents, and the engines; the nodes have ended."""
        self._closing = True
        for slot in self._slots.values():
            slot.cancel()
        self.entrance.close()  # agents that are let go come again, to the next system
        async with create_task_group() as ends:
            for place in list(self._by_key.values()):
                ends.start_soon(place.stop, _GRACE)
        for engine in self._engines.values():
            await engine.close()
        lines = list(self._lines)
        for line in lines:
            line.close()
        with move_on_after(_LAST_WORDS):
            for line in lines:
                await line.close_within(_LAST_WORDS)
        for line in lines:
            line.abandon()
        self.leases.close()

    def abandon(self) -> None:
        """The loop is closed: kill the agents, and with them their nodes."""
        for place in list(self._by_key.values()):
            place.abandon()


class _PlaceSlot:
    """The place of some nodes, and what follows it when it is over."""

    def __init__(self, places: Places, spec: NodesSpec, want: Want) -> None:
        self._places = places
        self._spec = spec
        self._want = want
        self._place: Place | None = None
        self._backoff = BackoffState(spec.backoff)
        self._waiters: list[Waiter] = []
        self._starting: Task | None = None
        self._begun = False
        self._left = False
        """Whether the last place was ended in order."""
        self.doing = ""

    @property
    def follows_one_in_order(self) -> bool:
        """Whether the next place follows one that was ended in order, or is being."""
        return self._left if self._place is None else bool(self._place.leaving)

    async def get(self, *, patient: bool) -> Place:
        """Return the place, when there is one; see `Places.place_for`."""
        while True:
            if self._place is not None and self._place.usable:
                self._place.wanted = True
                return self._place
            waiter = self._places.loop.waiter()
            self._waiters.append(waiter)
            if self._starting is None:
                name = f"place {self._want.group}@{self._want.place}"
                self._starting = self._places.loop.start(self._start, name=name, fresh=True)
            try:
                await waiter
            except BootFailed:
                if not patient:
                    raise
            finally:
                if waiter in self._waiters:
                    self._waiters.remove(waiter)
                    if not self._waiters and self._places.is_patient(self._spec):
                        self.cancel()  # nobody waits for an agent any more: others may have it

    async def _start(self) -> None:
        places, loop = self._places, self._places.loop
        try:
            delay = self._backoff.next(loop.now(), random.random) if self._begun else 0.0
            self._begun = True
            if delay is None:
                raise BootFailed(f"place {self._want.group}@{self._want.place} was given up")  # noqa: TRY301
            self.doing = f"waiting {delay:.1f} s to ask for its place again" if delay else ""
            await sleep(delay)
            self.doing = f"waiting for engine {self._spec.engine_name} to give it a place"
            engine = await places.engine_of(self._spec)
            place = places.new_place(engine, self._want)
            place.replaces = self.follows_one_in_order
            await place.start()
            for router in places.routers:
                router.place_joined(place)
        except Exception as error:  # noqa: BLE001 - whoever waits is told
            self._starting = None
            failure = error if isinstance(error, BootFailed) else BootFailed(str(error))
            name = f"{self._want.group}@{self._want.place}"
            places.event("place_failed", {"place": name, "why": str(failure)})
            self._wake(failure, error)
            return
        self._starting = None
        self.doing = ""
        self._backoff.started(loop.now())
        self._place = place
        self._wake(None, None)

    def _wake(self, failure: BootFailed | None, cause: Exception | None) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if waiter.done():
                continue
            if failure is None:
                waiter.set_result(None)
            else:
                # Each gets its own error: raising one adds frames of the catcher to it.
                own = BootFailed(str(failure))
                own.__cause__ = None if cause is failure else cause
                waiter.set_exception(own)

    def place_over(self, place: Place) -> None:
        """Forget the place if it is this."""
        if self._place is place:
            self._left = bool(place.leaving)
            self._place = None

    def let_go(self) -> None:
        """Have no place; the next node gets another one."""
        self.cancel()
        self._begun = False
        if self._place is not None:
            self._place.let_go()

    def cancel(self) -> None:
        """Start no more."""
        if self._starting is not None:
            self._starting.cancel()
            self._starting = None


def place_number(spec: NodesSpec, slot: int) -> int:
    """Return the place of a node in its group: those of "hosts" and "join" share them."""
    if spec.engine == "hosts":
        return slot % host_count(spec.on)
    return slot // nodes_per_agent(spec.on) if spec.engine == "join" else slot


_ENGINES: Final[dict[str, Callable[[Places], Engine]]] = {
    "hosts": lambda places: HostsEngine(places.loop),
    "join": JoinEngine,
    "ray": lambda places: RayEngine(places.loop),
}
