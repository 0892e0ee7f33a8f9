"""The address book of keyed actors, as users hold it: `Keyed`, and the address of one key, `KeyedRef`."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import astuple
from typing import (
    TYPE_CHECKING,
    Any,
    Concatenate,
    Generic,
    NoReturn,
    ParamSpec,
    Self,
    TypeVar,
    overload,
)

from actors._base.errors import ActorStopped, NodeDown
from actors._base.options import check_within
from actors._keyed.client import PLAIN, SendOptions
from actors._keyed.key import check_key, key_fields, key_text
from actors._messaging.deadlock import waiting_chain
from actors._messaging.mailbox_options import check_priority
from actors._messaging.turn import in_own_thread, refuse_fenced
from actors.transport import register_immutable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterator

    from actors._keyed.client import KeyedClient
    from actors._keyed.key import Key
    from actors._messaging.ref import Ref

__all__ = ["Keyed", "KeyedRef", "KeyedRefWith", "keyed_fields", "keyed_ref_fields"]

A = TypeVar("A")
K = TypeVar("K")
P = ParamSpec("P")
R = TypeVar("R")


class Keyed(Generic[K, A]):
    """An address book of actors: one for each key, started when it is first used.

    Made by ``system.start(keyed(Room, name="rooms"))``, and found everywhere by ``system.keyed("rooms")``.
    It is small and can be sent in messages::

        await rooms["kitchen"].tell(Room.say, "hello")

    At any time there is at most one actor of a key, whoever uses it first and from wherever. It gets the key
    as the first argument of its constructor, runs on the node that the key hashes to, and is stopped when it
    has been idle; the next message starts another. What it has to remember longer it keeps in a file or a
    database. The model is Orleans' virtual actors and Akka's cluster sharding.

    Attributes:
        name: its name.
    """

    __slots__ = ("client",)

    def __init__(self, client: KeyedClient) -> None:
        self.client: KeyedClient = client

    @property
    def name(self) -> str:
        """Its name."""
        return self.client.facts.name

    def __getitem__(self, key: K) -> KeyedRef[A]:
        """Return the address of *key*; nothing is started by that.

        Raises:
            InvalidSpec: that cannot be a key: no str, int, bytes, or tuple or frozenset of them, or too long.
        """
        if type(key) is not str or key not in self.client.places:  # one that is known was checked
            check_key(self.name, key)
        return KeyedRef(self.client, key)

    async def keys(self) -> list[K]:
        """Return the keys of the actors that live now, in the order of their start."""
        self.client.check_open()
        return await self.client.office.keys(self.client.facts.number)

    async def count(self) -> int:
        """Return how many actors live now."""
        self.client.check_open()
        return await self.client.office.count(self.client.facts.number)

    async def has(self, key: K) -> bool:
        """Return whether the actor of *key* lives now; it is not started."""
        check_key(self.name, key)
        self.client.check_open()
        return await self.client.office.has(self.client.facts.number, key)

    async def stop(self, key: K, *, grace: float | None = None) -> bool:
        """Stop the actor of *key* when it has handled what was sent to it; the next message starts another.

        Args:
            key: whose.
            grace: seconds until it is killed instead; None lets it take its time.

        Returns:
            whether there was one; it has ended.

        Raises:
            CallCycle: that actor itself waits for this, or for the one who does.
            InvalidSpec: that cannot be a key.
        """
        check_key(self.name, key)
        if grace is not None and not grace >= 0:
            raise ValueError(f"grace must be 0 or more seconds, got {grace!r}")
        refuse_fenced()
        self.client.check_open()
        number = self.client.facts.number
        return await self.client.office.stop(number, key, grace, waiting_chain())

    # The parent knows the answers, and a node would have to wait for it, which these cannot.

    def __contains__(self, key: object) -> NoReturn:
        raise TypeError(f"`in` cannot wait for the answer: await {self.name}.has({key!r})")

    def __iter__(self) -> Iterator[NoReturn]:
        raise TypeError(f"a loop over a book cannot wait for the answer: await {self.name}.keys()")

    def __len__(self) -> NoReturn:
        raise TypeError(f"len() cannot wait for the answer: await {self.name}.count()")

    def __bool__(self) -> bool:
        return True

    def __repr__(self) -> str:
        return f"<Keyed {self.name} of {self.client.facts.cls_path.rpartition(':')[2]}>"

    def __format__(self, spec: str) -> str:
        return format(repr(self), spec)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Keyed) and other.client is self.client

    def __hash__(self) -> int:
        return hash(self.client.facts.number)

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, _memo: object) -> Self:
        return self

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            f"{self!r} cannot be pickled: an address is valid in its system; send it in a message"
        )


class KeyedRef(Generic[A]):
    """The address of one key of a book: its actor is started by the first message.

    The verbs are those of a `Ref`. What they raise beside the errors of a `Ref`: `StartFailed` if the actor
    cannot start (the next use tries again, after the book's backoff), `LimitReached` if as many actors live
    as the book may have.

    Attributes:
        key: of the book.
    """

    __slots__ = ("_client", "key")

    def __init__(self, client: KeyedClient, key: Key) -> None:
        self._client = client
        self.key: Key = key

    @property
    def name(self) -> str:
        """The name of the actor, for `System.lookup`."""
        return f"{self._client.facts.name}/{key_text(self.key)}"

    @property
    def client(self) -> KeyedClient:
        """This process's way to the actors of the book."""
        return self._client

    async def ref(self) -> Ref[A]:
        """Return the address of the actor that lives now, started if there is none: to watch it, for example.

        It is an address as any other: when that actor ends, it does not lead to the next one of the key.
        """
        place = self._client.places.get(self.key) or await self._client.place(self.key)
        return place.ref

    async def wait_ready(self) -> None:
        """Wait until the actor has handled what was sent to it from this process; none is started for that.

        Raises:
            ActorStopped, NodeDown: it has ended meanwhile, or its node is away.
        """
        place = self._client.places.get(self.key)
        if place is not None:
            await place.ref.wait_ready()

    async def tell(
        self,
        method: Callable[Concatenate[A, P], object],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> None:
        """Send a message and wait only until it has a place in the mailbox; see `Ref.tell`."""
        client = self._client
        place = client.places.get(self.key)
        if place is None:
            await client.tell(self.key, method, args, kwargs)
            return
        place.sends += 1
        try:
            await place.ref.tell(method, *args, **kwargs)
        except (ActorStopped, NodeDown) as error:
            if not client.unseen(self.key, place, error):
                raise
            refused = error
        else:
            return
        finally:
            place.sent()
        await client.tell(self.key, method, args, kwargs, PLAIN, refused)

    def tell_nowait(
        self,
        method: Callable[Concatenate[A, P], object],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> None:
        """Send a message without waiting, or raise; see `Ref.tell_nowait`.

        While the actor starts, messages are kept, as many as its mailbox holds; if it does not start they
        are dead letters.
        """
        refuse_fenced()
        actor = in_own_thread()
        if actor is None:
            self._client.tell_nowait(self.key, method, args, kwargs)
        else:
            actor.in_loop(self._client.tell_nowait, self.key, method, args, kwargs)

    @overload
    async def ask(
        self,
        method: Callable[Concatenate[A, P], Coroutine[Any, Any, R]],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> R: ...
    @overload
    async def ask(
        self, method: Callable[Concatenate[A, P], R], /, *args: P.args, **kwargs: P.kwargs
    ) -> R: ...
    async def ask(self, method: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Send a message and return the handler's result; see `Ref.ask`."""
        client = self._client
        place = client.places.get(self.key)
        if place is None:
            return await client.ask(self.key, method, args, kwargs)
        place.asks += 1
        try:
            return await place.ref.ask(method, *args, **kwargs)
        except (ActorStopped, NodeDown) as error:
            if not client.unseen(self.key, place, error):
                raise
            refused = error
        finally:
            place.asks -= 1
        return await client.ask(self.key, method, args, kwargs, PLAIN, refused)

    @asynccontextmanager
    async def stream(
        self,
        method: Callable[Concatenate[A, P], AsyncIterator[R] | Iterator[R]],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> AsyncIterator[AsyncIterator[R]]:
        """Open a stream; see `Ref.stream`. Its actor is not idle while it is open."""
        async with self._client.stream(self.key, method, args, kwargs) as items:
            yield items

    def within(self, seconds: float) -> KeyedRefWith[A]:
        """Return this address with a deadline, which the start of the actor counts for; see `Ref.within`.

        Raises:
            ValueError: *seconds* is not more than 0.
        """
        check_within(seconds)
        return KeyedRefWith(self, SendOptions(seconds))

    def priority(self, priority: int) -> KeyedRefWith[A]:
        """Return this address with a priority, for a book with ``mailbox=Priority()``; see `Ref.priority`.

        Raises:
            InvalidSpec: *priority* is not a whole number, of 64 bits at most.
            ActorsError: the mailboxes of the book have no priorities.
        """
        check_priority(self, self._client.bounds, priority)
        return KeyedRefWith(self, SendOptions(None, priority))

    def __repr__(self) -> str:
        return f"<KeyedRef {self._client.facts.name}[{self.key!r}]>"

    def __format__(self, spec: str) -> str:
        return format(repr(self), spec)

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, KeyedRef) and other._client is self._client and other.key == self.key
        )

    def __hash__(self) -> int:
        return hash(self.key)

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, _memo: object) -> Self:
        return self

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            f"{self!r} cannot be pickled: an address is valid in its system; send it in a message"
        )

    if not TYPE_CHECKING:  # a checker says by itself that there is no such attribute

        def __getattr__(self, name: str) -> NoReturn:
            # Called only for missing attributes: most often a message that is called like a method.
            cls = self._client.facts.cls_path.rpartition(":")[2].rpartition(".")[2]
            asks = f"; to send a message: await ref.ask({cls}.{name}, ...)"
            raise AttributeError(f"a KeyedRef has no {name!r}{asks if name[:1] != '_' else ''}")


class KeyedRefWith(Generic[A]):
    """The address of a key with a deadline, a priority, or both; see `KeyedRef.within`, `KeyedRef.priority`."""

    __slots__ = ("_how", "_ref")

    def __init__(self, ref: KeyedRef[A], how: SendOptions) -> None:
        self._ref = ref
        self._how = how

    def within(self, seconds: float) -> KeyedRefWith[A]:
        """As `KeyedRef.within`; the priority stays."""
        check_within(seconds)
        return KeyedRefWith(self._ref, self._how._replace(seconds=seconds))

    def priority(self, priority: int) -> KeyedRefWith[A]:
        """As `KeyedRef.priority`; the deadline stays."""
        check_priority(self._ref, self._ref.client.bounds, priority)
        return KeyedRefWith(self._ref, self._how._replace(priority=priority))

    @overload
    async def ask(
        self,
        method: Callable[Concatenate[A, P], Coroutine[Any, Any, R]],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> R: ...
    @overload
    async def ask(
        self, method: Callable[Concatenate[A, P], R], /, *args: P.args, **kwargs: P.kwargs
    ) -> R: ...
    async def ask(self, method: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """As `KeyedRef.ask`; raises `DeadlineExceeded` (a TimeoutError) when the time is up."""
        ref = self._ref
        return await ref.client.ask(ref.key, method, args, kwargs, self._how)

    async def tell(
        self,
        method: Callable[Concatenate[A, P], object],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> None:
        """As `KeyedRef.tell`; the waits end, and the message expires, when the time is up."""
        ref = self._ref
        await ref.client.tell(ref.key, method, args, kwargs, self._how)

    @asynccontextmanager
    async def stream(
        self,
        method: Callable[Concatenate[A, P], AsyncIterator[R] | Iterator[R]],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> AsyncIterator[AsyncIterator[R]]:
        """As `KeyedRef.stream`; the whole stream ends when the time is up."""
        ref = self._ref
        async with ref.client.stream(ref.key, method, args, kwargs, self._how) as items:
            yield items


def keyed_fields(book: Keyed[Any, Any]) -> list[Any]:
    """Return what of a book's address travels."""
    return list(astuple(book.client.facts))


def keyed_ref_fields(ref: KeyedRef[Any]) -> list[Any]:
    """Return what of a key's address travels."""
    return [list(astuple(ref.client.facts)), key_fields(ref.key)]


# As a ref: its snapshot on the same node is the address itself.
register_immutable(Keyed)
register_immutable(KeyedRef)
