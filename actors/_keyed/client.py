"""One process's way to the actors of an address book.

Rule 1: the address of a key is asked for once, from the parent, and kept until the parent recalls it or says
that the actor has ended. Messages go directly to the actor.
Rule 2: an address is given back only when all that was sent to it from here has been handled, so that an
actor stops for idleness, or moves, without losing a message.
Rule 3: a message that an actor refused before it had it in its mailbox goes to the next actor of its key. One
that may have been handled is never sent again.
"""

from __future__ import annotations

from collections import deque
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from anyio import move_on_after

from actors._base.errors import (
    ActorsError,
    ActorStopped,
    DeadlineExceeded,
    MailboxFull,
    NodeDown,
    SendError,
    StartFailed,
    not_sendable,
)
from actors._base.user_traceback import only_user_frames
from actors._keyed.key import key_text
from actors._messaging.deadlock import waiting_chain, waiting_for_start
from actors._messaging.mailbox_options import bounds_of, unpacked
from actors._messaging.message_table import ask_timeout_of
from actors._messaging.turn import TURN, refuse_fenced
from actors.transport import LEAVES, Local, Move, Unsendable, snapshot_args

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from actors._base.loop import Waiter
    from actors._keyed.facts import KeyedFacts
    from actors._keyed.key import Key
    from actors._messaging.mailbox_options import Bounded
    from actors._messaging.ref import Ref
    from actors._messaging.turn import Target
    from actors._remoting.actor_host import ActorHost
    from actors._remoting.operations import Chain

__all__ = ["PLAIN", "Holder", "KeyedClient", "KeyedOffice", "Place", "SendOptions"]

_MOST_TRIES: Final = 8
"""Actors of a key that may refuse a message, one after the other, before the sender gets the error."""


class Holder(Protocol):
    """A process that has addresses of a book, as the parent sees it."""

    async def recall(self, book: int, key: Key, uid: int, *, idle: bool) -> bool:
        """Have it give an address back; return whether nothing is on its way to that actor any more."""

    def gone(self, book: int, key: Key, uid: int) -> None:
        """Tell it that an actor has ended."""

    def book_ended(self, book: int, why: str) -> None:
        """Tell it that the book is over."""


class KeyedOffice(Protocol):
    """The parent, as a client sees it."""

    def starting(self, name: str) -> Target | None: ...
    async def find(self, book: int, key: Key, ended: int, chain: Chain) -> Ref[Any]: ...
    async def stop(self, book: int, key: Key, grace: float | None, chain: Chain) -> bool: ...
    async def keys(self, book: int) -> list[Key]: ...
    async def has(self, book: int, key: Key) -> bool: ...
    async def count(self, book: int) -> int: ...


class SendOptions(NamedTuple):
    """How a message is sent: the seconds of its deadline, if it has one, and its priority."""

    seconds: float | None = None
    priority: int = 0


PLAIN: Final = SendOptions()


class Place:
    """The address of a key's living actor, and what is on its way there from this process.

    Attributes:
        ref: the address.
        asks: asks that are not answered, and open streams.
        sends: tells that are not in the mailbox, or on the link, yet.
        settled: resolved when there are no such tells any more; None while nobody waits for that.
    """

    __slots__ = ("asks", "ref", "sends", "settled")

    def __init__(self, ref: Ref[Any]) -> None:
        self.ref: Ref[Any] = ref
        self.asks: int = 0
        self.sends: int = 0
        self.settled: Waiter | None = None

    def sent(self) -> None:
        """A tell has gone, or failed."""
        self.sends -= 1
        if not self.sends and self.settled is not None and not self.settled.done():
            self.settled.set_result(None)


class _Find:
    """A request for an address that is not answered yet, and what was recalled meanwhile."""

    __slots__ = ("recalled",)

    def __init__(self) -> None:
        self.recalled: set[int] = set()


class _Later:
    """Tells that did not wait, and whose actor is not known yet; in their order.

    Until they are gone, the address that they go to is here and not in `places`: nothing overtakes them.
    """

    __slots__ = ("messages", "place", "waiters")

    def __init__(self) -> None:
        self.messages: deque[tuple[Any, tuple[Any, ...], dict[str, Any]]] = deque()
        self.place: Place | None = None
        self.waiters: list[Waiter] = []


class KeyedClient:
    """What this process knows of one book.

    Attributes:
        facts: of the book.
        bounds: of the mailbox of each actor.
        places: where the living actors are that were used from here.
        ended: why the book is over; "" while it is not.
    """

    def __init__(self, host: ActorHost, facts: KeyedFacts, office: KeyedOffice) -> None:
        self.facts = facts
        self.bounds: Bounded = bounds_of(unpacked(facts.mailbox))
        self.office = office
        self.places: dict[Key, Place] = {}
        self.ended: str = ""
        self._host = host
        self._finds: dict[Key, list[_Find]] = {}
        self._later: dict[Key, _Later] = {}

    def check_open(self) -> None:
        """Refuse to go on when the book is over.

        Raises:
            ActorsError: saying why it is.
        """
        if self.ended:
            raise ActorsError(f"keyed {self.facts.name!r}: {self.ended}")

    def cls(self) -> type | None:
        """Return the class of the actors, if this process has it."""
        return self._host.class_of(self.facts.cls_path)

    # -- addresses ------------------------------------------------------------------------------

    async def place(self, key: Key, until: float | None = None, ended: int = 0) -> Place:
        """Return where the actor of *key* is, which is started if there is none.

        Args:
            key: whose.
            until: when to give up, on the loop's clock.
            ended: the number of an actor that refuses messages: not that one, but the next.

        Raises:
            StartFailed, LimitReached, NodeDown, CallCycle: there is none, and cannot be one now.
            DeadlineExceeded: there was none in time.
        """
        refuse_fenced()
        try:
            if until is None:
                return await self._place(key, ended)
            with move_on_after(until - self._host.loop.now()):
                return await self._place(key, ended)
        except StartFailed as error:
            raise only_user_frames(error) from error.__cause__
        raise self._too_late(key)

    async def _place(self, key: Key, ended: int) -> Place:
        while True:
            await self._sent_later(key)
            ref = await self._find(key, ended)
            # What was told without waiting while the parent was asked goes first.
            if ref is not None and key not in self._later:
                place = self.places.get(key)
                if place is None or place.ref.uid != ref.uid:
                    place = self.places[key] = Place(ref)
                return place

    async def _find(self, key: Key, ended: int = 0) -> Ref[Any] | None:
        """Ask the parent; return None if it has recalled the address before this task could take it."""
        self.check_open()
        find, name = _Find(), f"{self.facts.name}/{key_text(key)}"
        finds = self._finds.setdefault(key, [])
        finds.append(find)
        try:
            with waiting_for_start(name, partial(self.office.starting, name)):
                ref = await self.office.find(self.facts.number, key, ended, waiting_chain())
        finally:
            finds.remove(find)
            if not finds:
                self._finds.pop(key, None)
        return None if ref.uid in find.recalled else ref

    def _known(self, key: Key, uid: int) -> Place | None:
        """Return the address of the actor *uid*, if it is known here."""
        later = self._later.get(key)
        place = self.places.get(key) if later is None else later.place
        return None if place is None or place.ref.uid != uid else place

    def _forget(self, key: Key) -> None:
        later = self._later.get(key)
        if later is not None:
            later.place = None
        self.places.pop(key, None)

    async def recall(self, key: Key, uid: int, *, idle: bool) -> bool:
        """Give the address of *key* back; return whether nothing is on its way to the actor any more.

        Args:
            key: whose.
            uid: the number of the actor.
            idle: keep the address if it is in use, and return False.
        """
        finds, place = self._finds.get(key, ()), self._known(key, uid)
        used = place is not None and (place.asks or place.sends)
        if idle and (finds or key in self._later or used):
            return False
        for find in finds:
            find.recalled.add(uid)
        if place is None:
            return True
        self._forget(key)
        while place.sends:
            place.settled = self._host.loop.waiter()
            await place.settled
        with suppress(SendError):  # it has ended, or its node has
            await place.ref.wait_ready()  # behind all that was sent to it from here
        return True

    def gone(self, key: Key, uid: int) -> None:
        """Forget an actor that has ended."""
        for find in self._finds.get(key, ()):
            find.recalled.add(uid)
        if self._known(key, uid) is not None:
            self._forget(key)

    def end(self, why: str) -> None:
        """The book is over."""
        self.ended = why
        self.places.clear()

    def _shown(self, key: Key) -> str:
        return f"{self.facts.name}[{key!r}]"

    # -- messages -------------------------------------------------------------------------------

    async def ask(
        self,
        key: Key,
        method: Any,
        args: Any,
        kwargs: Any,
        how: SendOptions = PLAIN,
        refused: SendError | None = None,
    ) -> Any:
        """As `Ref.ask`, sent as *how* says; perhaps an actor has *refused* it."""
        args, kwargs = self._kept(key, args, kwargs)
        return await self._send("ask", key, (method, args, kwargs), how, refused)

    async def tell(
        self,
        key: Key,
        method: Any,
        args: Any,
        kwargs: Any,
        how: SendOptions = PLAIN,
        refused: SendError | None = None,
    ) -> None:
        """As `Ref.tell`, sent as *how* says; perhaps an actor has *refused* it."""
        args, kwargs = self._kept(key, args, kwargs)
        await self._send("tell", key, (method, args, kwargs), how, refused)

    async def _send(
        self,
        verb: str,
        key: Key,
        message: tuple[Any, Any, Any],
        how: SendOptions,
        refused: SendError | None,
    ) -> Any:
        """Send a message to the actor of *key*; again to the next one if that one refuses it unseen."""
        method, args, kwargs = message
        asks = verb == "ask"
        until = self._until(how.seconds or (self._ask_timeout() if asks else None))
        for tried in range(1, _MOST_TRIES + 1):
            place = self.places.get(key)
            if place is None or refused is not None:
                place = await self.place(key, until, _ended(refused))
            if refused is not None and refused.ref == place.ref:
                raise refused  # nothing has changed that would help
            place.asks += asks
            place.sends += not asks
            try:
                ref = self._sending(key, place, how, until)
                return await getattr(ref, verb)(method, *args, **kwargs)
            except (ActorStopped, NodeDown) as error:
                if tried == _MOST_TRIES or not self.unseen(key, place, error):
                    raise
                refused = error
            finally:
                place.asks -= asks
                if not asks:
                    place.sent()
        raise AssertionError("the last try has returned or raised")

    @asynccontextmanager
    async def stream(
        self, key: Key, method: Any, args: Any, kwargs: Any, how: SendOptions = PLAIN
    ) -> AsyncIterator[AsyncIterator[Any]]:
        """As `Ref.stream`, sent as *how* says."""
        args, kwargs = self._kept(key, args, kwargs)
        until = self._until(how.seconds)
        place = self.places.get(key) or await self.place(key, until)
        place.asks += 1
        try:
            ref = self._sending(key, place, how, until)
            async with ref.stream(method, *args, **kwargs) as items:
                yield items
        finally:
            place.asks -= 1

    def _until(self, seconds: float | None) -> float | None:
        """Return when a message has to be answered, by its own deadline or that of the one being handled."""
        turn = TURN.get()
        mine = None if seconds is None else self._host.loop.now() + seconds
        inherited = None if turn is None else turn.deadline
        return min((at for at in (mine, inherited) if at is not None), default=None)

    def _ask_timeout(self) -> float | None:
        """Return the deadline of an ask that has none: the search for the actor may take so long, too."""
        cls = self.cls()
        return None if cls is None else ask_timeout_of(cls, self._host.ask_timeout)

    def _sending(self, key: Key, place: Place, how: SendOptions, until: float | None) -> Any:
        """Return the address with the priority of a message, and what is left of its deadline if it has one."""
        ref: Any = place.ref.priority(how.priority) if how.priority else place.ref
        if how.seconds is None or until is None:
            return ref
        left = until - self._host.loop.now()
        if left <= 0:
            raise self._too_late(key)
        return ref.within(left)

    def _too_late(self, key: Key) -> DeadlineExceeded:
        return DeadlineExceeded(self._shown(key), "the deadline passed before its actor was found")

    def unseen(self, key: Key, place: Place, error: SendError) -> bool:
        """Return whether *error* says that a message was not handled, so that another actor may get it."""
        if error.ref != place.ref or error.message is None:
            return False
        if isinstance(error, NodeDown):
            return not error.may_have_run
        self.gone(key, place.ref.uid)
        return True

    def _kept(self, key: Key, args: Any, kwargs: Any) -> tuple[Any, Any]:
        """Return the arguments of a message as they are now, if it may have to wait for its actor."""
        values = (*args, *kwargs.values())
        marked = any(type(value) in {Local, Move} for value in values)
        if marked or key in self.places or all(type(value) in LEAVES for value in values):
            return args, kwargs
        try:
            return snapshot_args(args, kwargs)
        except Unsendable as error:
            raise not_sendable(error) from error

    # -- tells that do not wait -----------------------------------------------------------------

    def tell_nowait(self, key: Key, method: Any, args: Any, kwargs: Any) -> None:
        """As `Ref.tell_nowait`; while the actor of *key* is not known the message is kept for it.

        Raises:
            MailboxFull: as many messages are kept as its mailbox holds.
        """
        self.check_open()
        place = self.places.get(key)
        if place is not None:
            try:
                place.ref.tell_nowait(method, *args, **kwargs)
            except ActorStopped as error:
                if not self.unseen(key, place, error):
                    raise
            else:
                return
        later = self._later.get(key)
        if later is not None and len(later.messages) >= self.bounds.messages:
            message = (getattr(method, "__name__", str(method)), args, kwargs)
            full = f"{len(later.messages)} messages wait for its actor to start"
            raise MailboxFull(self._shown(key), full, message)
        kept = (method, *self._kept(key, args, kwargs))
        if later is None:
            later = self._later[key] = _Later()
            name = f"{self.facts.name}: messages for {key_text(key)}"
            self._host.loop.start(self._send_later, key, later, name=name, fresh=True)
        later.messages.append(kept)

    async def _send_later(self, key: Key, later: _Later) -> None:
        """Send what was kept for an actor that was not known; what cannot be sent is a dead letter."""
        try:
            while later.messages:
                method, args, kwargs = later.messages[0]
                try:
                    await self._tell_later(key, later, method, args, kwargs)
                except Exception as error:  # noqa: BLE001 - its sender did not wait: the event is what tells
                    self._dead_letter(key, method, error)
                later.messages.popleft()
        finally:
            del self._later[key]
            if later.place is not None:
                self.places[key] = later.place
            for waiter in later.waiters:
                if not waiter.done():
                    waiter.set_result(None)

    async def _tell_later(
        self, key: Key, later: _Later, method: Any, args: Any, kwargs: Any
    ) -> None:
        ended = 0
        for _ in range(_MOST_TRIES):
            while later.place is None:
                ref = await self._find(key, ended)
                later.place = None if ref is None else Place(ref)
            place = later.place
            place.sends += 1
            try:
                await place.ref.tell(method, *args, **kwargs)
            except ActorStopped as error:
                if not self.unseen(key, place, error):
                    raise
                ended = place.ref.uid
            else:
                return
            finally:
                place.sent()
        raise ActorsError(f"{_MOST_TRIES} actors of its key have refused it")

    def _dead_letter(self, key: Key, method: Any, error: Exception) -> None:
        facts = {
            "actor": f"{self.facts.name}/{key_text(key)}",
            "message": getattr(method, "__name__", str(method)),
            "reason": str(error),
            "node": self._host.name,
        }
        self._host.services.event("dead_letter", facts)

    async def _sent_later(self, key: Key) -> None:
        while (later := self._later.get(key)) is not None:
            waiter = self._host.loop.waiter()
            later.waiters.append(waiter)
            await waiter


def _ended(refused: SendError | None) -> int:
    """Return the number of the actor that has refused a message because it ends."""
    return refused.ref.uid if isinstance(refused, ActorStopped) else 0  # type: ignore[attr-defined] # a ref
