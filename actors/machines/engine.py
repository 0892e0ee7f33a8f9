"""What an engine has to do: place agents on machines, and say for certain when one is gone.

Everything else is ours: agents start nodes, leases say who has ended, supervisors restart.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Protocol, runtime_checkable

from actors._base.errors import InvalidSpec

__all__ = ["Engine", "Gone", "Join", "Placed", "Reach", "Want"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """Where agents find the process that made the system.

    Attributes:
        host: its address.
        port: its port.
    """

    host: str
    port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Want:
    """One place that is wanted.

    Attributes:
        group: of the nodes that are to run there.
        place: its number in the group, from 0; the same for each agent that follows one that is gone.
        on: the engine's own words about where, from ``nodes(on=)``.
        spread: whether it is to be on another machine than the group's other places.
    """

    group: str
    place: int
    on: Mapping[str, Any] = field(default_factory=dict)
    spread: bool = False

    def require(self, engine: str, condition: object, rule: str) -> None:
        """Refuse the words of an engine where *condition* is not met: for `Engine.check`.

        Args:
            engine: its name.
            condition: what has to be true.
            rule: says what has to be, and what is.

        Raises:
            InvalidSpec: it is not.
        """
        if not condition:
            raise InvalidSpec(f"nodes({self.group!r}, engine={engine!r}): {rule}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Join:
    """What one agent needs to join; whoever has it can take that agent's place, once.

    Attributes:
        host: where it connects to.
        port: the same.
        ticket: which lets it in, once.
        material: what it shows, as `Material.to_plain`; None for plain TCP on this machine.
        lease: seconds of the system's lease.
        place: what the place is called.
    """

    host: str
    port: int
    ticket: str = field(repr=False)
    material: Mapping[str, Any] | None = field(repr=False)
    lease: float
    place: str

    def to_text(self) -> str:
        """Return it as one line of JSON, which ``python -m actors.machines.agent`` reads from stdin."""
        return json.dumps(asdict(self))

    @classmethod
    def from_text(cls, text: str) -> Join:
        """Return what `to_text` made a line of.

        Raises:
            ValueError: it is no such line.
        """
        return cls.from_plain(json.loads(text))

    @classmethod
    def from_plain(cls, plain: Any) -> Join:
        """Return what `dataclasses.asdict` made a dictionary of.

        Raises:
            ValueError: it is no such dictionary.
        """
        try:
            join = cls(**plain)
            texts = (join.host, join.ticket, join.place, *(join.material or {}).values())
            if not all(isinstance(text, str | None) for text in texts):
                raise TypeError("its host, ticket, place and material are texts")  # noqa: TRY301 - as above
            return replace(join, port=int(join.port), lease=float(join.lease))
        except (TypeError, AttributeError) as error:
            raise ValueError(f"this is nothing that an agent can join by: {error}") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Gone:
    """The end of an agent, as its engine knows it.

    Attributes:
        certain: whether no process of that place runs any more.
        why: in words.
    """

    certain: bool
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """An agent that an engine has started.

    Attributes:
        name: what the engine calls it.
        handle: what the engine finds it by.
    """

    name: str
    handle: Any = None


@runtime_checkable
class Engine(Protocol):
    """Places agents on machines.

    Attributes:
        name: as it is called in errors and in `actors ps`.
    """

    name: str

    async def open(self, reach: Reach) -> None:
        """Connect, before anything is started; agents find the system at *reach*."""

    def check(self, want: Want) -> None:
        """Refuse what it cannot place, before anything starts.

        Raises:
            InvalidSpec: in the engine's own words.
        """

    async def start(self, want: Want, join: Join, gone: Callable[[Gone], None]) -> Placed:
        """Start one agent with *join*; call *gone* once when it has ended, in any thread, or never."""

    async def stop(self, placed: Placed, grace: float) -> None:
        """End an agent in order, within *grace* seconds; return when it has ended, as far as that is known."""

    def kill(self, placed: Placed) -> None:
        """End an agent now; from any thread, without waiting."""

    def facts(self, placed: Placed) -> Mapping[str, str]:
        """Return what people want to know: the machine, the zone, the engine's own number."""

    async def close(self) -> None:
        """Let go of everything; all agents have been stopped."""
