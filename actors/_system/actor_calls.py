"""What commands ask of the actors of this node: calls with arguments as JSON, and what an actor says of itself.

Rule 1: the node that has the actor binds the arguments and renders the reply; nobody else needs the class.
Rule 2: whatever goes wrong is an answer, in one sentence; the actor is asked as any other asker would.
"""

from __future__ import annotations

import enum
import itertools
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import anyio

from actors._actor.base import Actor
from actors._actor.message_watch import MessageWatch
from actors._base.errors import ActorsError, DeadlineExceeded, InvalidSpec
from actors._base.suggestions import did_you_mean
from actors._messaging.ask import ask_in_turn
from actors._messaging.deadlock import pending_waits
from actors._messaging.mailbox import Envelope
from actors._messaging.message_table import (
    HOOKS,
    Handler,
    MessageKind,
    handlers_by_name,
    inspection_of,
)
from actors._remoting import command_operations as ops
from actors._system.json_values import BadArgument, bind_json, json_of
from actors._system.sent_specs import Sent, sent_item
from actors._system.tree_specs import ActorSpec, DynamicSpec, SupervisorSpec, TreeSpec, child
from actors.supervisors import shown

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

    from actors._actor.cell import Cell
    from actors._base.loop import Task
    from actors._pools import Pool
    from actors.nodes import ActorHost

__all__ = ["ActorCalls", "Answer", "Said"]

Answer = list[str]
"""A `Said`, and the JSON or the text of it."""
_LONGEST: Final = 1024 * 1024
"""Characters of one reply as JSON."""
_MOST_STREAMS: Final = 64
_AHEAD: Final = 16
"""Items of a stream that are made before they are read."""


class Said(enum.StrEnum):
    """What kind of answer it is."""

    VALUE = "value"
    STREAM = "stream"
    WRONG = "wrong"
    FAILED = "failed"


class ActorCalls:
    """Answers the commands that are about actors of this node.

    Args:
        host: its actors.
        pool: returns the pool of a name, as on this node.
    """

    def __init__(self, host: ActorHost, pool: Callable[[str], Awaitable[Pool[Any] | None]]) -> None:
        self._host = host
        self._pool = pool
        self._streams: dict[int, _Items] = {}
        self._watches: dict[int, MessageWatch] = {}
        self._numbers = itertools.count(1)

    def register(self) -> None:
        """Serve the parent."""
        handlers = self._host.handlers
        handlers.on_call(ops.ask_actor, lambda _, *call: self.ask(*call))
        handlers.on_call(ops.next_items, lambda _, *which: self.next_items(*which))
        handlers.on_note(ops.close_items, lambda _, number: self.close_items(number))
        handlers.on_call(ops.describe, lambda _, *what: self.describe(*what))
        handlers.on_call(ops.watch_actor, lambda _, *actor: self.watch(*actor))
        handlers.on_call(ops.next_watched, lambda _, number: self.next_watched(number))
        handlers.on_note(ops.close_watch, lambda _, number: self.close_watch(number))
        handlers.on_call(ops.actor_state, lambda _, *actor: self.state(*actor))

    async def ask(
        self,
        uid: int,
        pool: str,
        method: str,
        args: list[str],
        kwargs: dict[str, str],
        timeout: float,  # noqa: ASYNC109 - it travels with the message
    ) -> Answer:
        """Ask an actor of this node, or the pool of a name; see `operations.ask_actor`."""
        try:
            whom, cls = await self._find(uid, pool)
            handler = _handler(cls, method)
            bound, named = bind_json(handler.method, args, kwargs)
            if handler.kind is MessageKind.STREAM:
                return self._open(whom, handler, bound, named)
            reply = await whom.within(timeout).ask(handler.method, *bound, **named)
            return [Said.VALUE, json_of(reply, _LONGEST)]
        except BadArgument as error:
            return [Said.WRONG, str(error)]
        except Exception as error:  # noqa: BLE001 - the command says it
            return [Said.FAILED, _told(error)]

    async def _find(self, uid: int, pool: str) -> tuple[Any, type]:
        if pool:
            found = await self._pool(pool)
            if found is None or not found.facts.cls_path:
                raise ActorsError(f"pool {pool!r} runs functions: it has no messages")
            return found, self._host.resolve_class(*found.facts.cls_path.split(":"))
        cell = self._cell(uid)
        return cell.ref, cell.cls

    def _cell(self, uid: int) -> Cell:
        cell = self._host.cells.get(uid)
        if cell is None:
            raise ActorsError(f"the actor is not on {self._host.name} any more: ask again")
        return cell

    async def describe(
        self, target: str, args: list[str], kwargs: dict[str, str], options: dict[str, Any]
    ) -> Sent:
        """Return the part of a tree that `actors start` names; see `operations.describe`.

        Raises:
            InvalidSpec: there is none of that name, or its constructor does not take the arguments.
        """
        return sent_item(self._host, self.named_spec(target, args, kwargs, options))

    def named_spec(
        self, target: str, args: list[str], kwargs: dict[str, str], options: dict[str, Any]
    ) -> TreeSpec:
        """Import a spec or an actor class, and return the spec that it is or makes.

        Raises:
            InvalidSpec: as `describe`.
        """
        module, colon, name = target.partition(":")
        if not colon or not name:
            raise InvalidSpec(f"what to start is named by 'pkg.mod:Class', got {target!r}")
        try:
            found = self._host.find_named(module, name)
        except (ImportError, AttributeError, KeyError) as error:
            raise InvalidSpec(f"{target} cannot be imported: {shown(error)}") from error
        given = {key: value for key, value in options.items() if value is not None}
        if isinstance(found, type) and issubclass(found, Actor):
            init: Any = found.__init__
            if init is object.__init__ and (args or kwargs):
                raise BadArgument(f"{found.__name__} takes no arguments")
            bound, named = ([], {}) if init is object.__init__ else bind_json(init, args, kwargs)
            return child(partial(found, **named), *bound, **given)
        if not isinstance(found, ActorSpec | SupervisorSpec | DynamicSpec):
            raise InvalidSpec(
                f"{target} must be an actor class or made by child(), supervisor(), dynamic() or pool(), got "
                f"{found!r}"
            )
        if args or kwargs or given:
            raise InvalidSpec(f"{target} is a whole description: it takes no arguments")
        return found

    # -- streams ------------------------------------------------------------------------------------

    def _open(self, whom: Any, handler: Handler, args: list[Any], kwargs: dict[str, Any]) -> Answer:
        if len(self._streams) >= _MOST_STREAMS:
            raise ActorsError(f"commands read {_MOST_STREAMS} streams of this node already")
        number = next(self._numbers)
        self._streams[number] = _Items(self._host, whom, handler, args, kwargs)
        return [Said.STREAM, str(number)]

    async def next_items(self, number: int, timeout: float) -> list[Answer]:  # noqa: ASYNC109 - as above
        """Return the next items of a stream; see `operations.next_items`."""
        items = self._streams.get(number)
        if items is None:
            return []
        found = await items.next(timeout)
        if not found or found[-1][0] != Said.VALUE:
            self.close_items(number)
        return found

    def close_items(self, number: int) -> None:
        """Close a stream."""
        items = self._streams.pop(number, None)
        if items is not None:
            items.task.cancel()

    # -- messages -----------------------------------------------------------------------------------

    async def watch(self, uid: int, rate: int) -> int:
        """Watch the messages of an actor; see `operations.watch_actor`."""
        if len(self._watches) >= _MOST_STREAMS:
            raise ActorsError(f"commands watch {_MOST_STREAMS} actors of this node already")
        number = next(self._numbers)
        self._watches[number] = MessageWatch(self._cell(uid), self._host.loop, rate)
        return number

    async def next_watched(self, number: int) -> list[Any]:
        """Return what came since the last call; see `operations.next_watched`."""
        watch = self._watches.get(number)
        if watch is None:
            raise ActorsError("nobody watches that actor any more")
        found, dropped = await watch.next()
        return [[list(message) for message in found], dropped]

    def close_watch(self, number: int) -> None:
        """Stop watching."""
        watch = self._watches.pop(number, None)
        if watch is not None:
            watch.close()

    # -- state --------------------------------------------------------------------------------------

    async def state(self, uid: int, timeout: float) -> Answer:  # noqa: ASYNC109 - as above
        """Return what an actor says of itself; see `operations.actor_state`."""
        host = self._host
        try:
            cell = self._cell(uid)
            envelope = Envelope(
                inspection_of(cell.cls), (), {}, host.loop.waiter(), host.loop.now() + timeout
            )
            try:
                found = await ask_in_turn(cell.ref, host.loop, cell, envelope, None)
            except DeadlineExceeded:
                return [Said.FAILED, f"it did not answer within {timeout:g} s: {_busy_with(cell)}"]
            return [Said.VALUE, json_of(found, _LONGEST)]
        except Exception as error:  # noqa: BLE001 - the command says it
            return [Said.FAILED, _told(error)]


class _Items:
    """The items of one stream, made a few ahead of who reads them."""

    def __init__(
        self, host: ActorHost, whom: Any, handler: Handler, args: list[Any], kwargs: dict[str, Any]
    ) -> None:
        ends = anyio.create_memory_object_stream[Answer](_AHEAD)
        self._send: MemoryObjectSendStream[Answer] = ends[0]
        self._receive: MemoryObjectReceiveStream[Answer] = ends[1]
        self._opened = (whom, handler, args, kwargs)
        self.task: Task = host.loop.start(
            self._read, name=f"stream {handler.name} for a command", fresh=True
        )

    async def _read(self) -> None:
        whom, handler, args, kwargs = self._opened
        async with self._send:
            try:
                async with whom.stream(handler.method, *args, **kwargs) as items:
                    async for item in items:
                        await self._send.send([Said.VALUE, json_of(item, _LONGEST)])
            except Exception as error:  # noqa: BLE001 - the command says it
                await self._send.send([Said.FAILED, _told(error)])

    async def next(self, seconds: float) -> list[Answer]:
        """Return the items that are there, waiting for the first; none at the end."""
        try:
            with anyio.fail_after(seconds):
                found = [await self._receive.receive()]
            while self._receive.statistics().current_buffer_used:
                found.append(self._receive.receive_nowait())
        except anyio.EndOfStream:
            return []
        except TimeoutError:
            return [[Said.FAILED, f"no item within {seconds:g} s"]]
        return found


def _handler(cls: type, method: str) -> Handler:
    """Return the message of a class by its name.

    Raises:
        BadArgument: there is none; it suggests one.
    """
    table = handlers_by_name(cls)
    if method in table:
        return table[method]
    known = ", ".join(table) or "none"
    if method in HOOKS or method.startswith("_"):
        what = "a hook of Actor" if method in HOOKS else "private"
        raise BadArgument(f"{cls.__name__}.{method} is {what}; the messages are {known}")
    if hasattr(cls, method):
        raise BadArgument(f"{cls.__name__}.{method} is no message; the messages are {known}")
    raise BadArgument(
        f"{cls.__name__} has no message {method!r}{did_you_mean(method, table)}; the messages are {known}"
    )


def _told(error: BaseException) -> str:
    if isinstance(error, ActorsError):
        return shown(error)
    return f"{type(error).__name__}: {shown(error)}"


def _busy_with(cell: Cell) -> str:
    """Say what keeps an actor from taking a message."""
    incarnation = cell.incarnation
    handling = None if incarnation is None else incarnation.message_loop.handling
    waits = ", ".join(target.ref.name for _, target in pending_waits(cell))
    if handling is None:
        text = f"it is {cell.state.value}"
    else:
        text = f"it has been handling {handling[0]} for {handling[1]:.1f} s"
    return f"{text}{', waiting for ' * bool(waits)}{waits}; {len(cell.mailbox)} messages wait"
