"""Accounts that do more for every message, in systems that asked for it; see `actors._cells`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from actors._cells import load
from actors._envelope import Envelope
from actors._trace import facts_of, strongest
from transport import Mode

from ._account import Account

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors._envelope import Handler
    from actors._propagation import Propagation

    from ._link import Link

__all__ = ["account_class"]


class CarryingAccount(Account):
    """Every message carries context variables."""

    __slots__ = ()

    @property
    def _propagation(self) -> Propagation:
        propagation = self.peer.runtime.propagation
        assert propagation is not None
        return propagation

    def send(self, handler: Handler, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
        """As `Account.send`."""
        return self.offer(Envelope(handler, args, kwargs))

    def offer(self, envelope: Envelope) -> bool:
        """As `Account.offer`."""
        load(envelope, self._propagation)
        return super().offer(envelope)

    async def admit(self, envelope: Envelope) -> None:
        """As `Account.admit`."""
        load(envelope, self._propagation)
        await super().admit(envelope)

    def push(self, envelope: Envelope) -> None:
        """As `Account.push`."""
        load(envelope, self._propagation)
        super().push(envelope)


class TracedAccount(Account):
    """Every message to the actor is an event."""

    __slots__ = ()

    def send(self, handler: Handler, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
        """As `Account.send`."""
        return self.offer(Envelope(handler, args, kwargs))

    def _ask(self, link: Link, envelope: Envelope) -> None:
        self._send(link, envelope)

    def _send(self, link: Link, envelope: Envelope) -> int:
        cargo = link.cargo
        modes, lent = cargo.modes.copy(), cargo.lent
        size = super()._send(link, envelope)
        used = [mode for mode, count in cargo.modes.items() if count != modes[mode]]
        mode = strongest([*used, Mode.COPY])
        runtime = self.peer.runtime
        facts = facts_of(envelope, runtime.name, self.ref, mode, size + cargo.lent - lent)
        runtime.traced(facts)
        return size


class CarryingTracedAccount(TracedAccount, CarryingAccount):
    """Both."""

    __slots__ = ()


def account_class(*, carries: bool, traced: bool) -> Callable[..., Account]:
    """Return the class of the accounts of a node."""
    return _CLASSES[carries, traced]


_CLASSES: Final[dict[tuple[bool, bool], type[Account]]] = {
    (False, False): Account,
    (True, False): CarryingAccount,
    (False, True): TracedAccount,
    (True, True): CarryingTracedAccount,
}
