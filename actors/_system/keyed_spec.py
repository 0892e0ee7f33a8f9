"""An address book of keyed actors as data: of which class, where they run, and for how long they are kept."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Final, Generic, TypeVar, overload

from actors._actor.base import Actor
from actors._actor.constructor import unpack_constructor
from actors._base.errors import InvalidSpec
from actors._base.options import check_on
from actors._known_options import known_options
from actors._messaging.mailbox_options import MailboxOption, check_mailbox
from actors._system.tree_specs import Arguments, DynamicSpec, class_name, dynamic
from actors.nodes import check_actor_options, class_path
from actors.supervisors import Backoff, Restart

__all__ = ["KeyedSpec", "keyed", "sent_keyed"]

A = TypeVar("A", bound=Actor)
K = TypeVar("K")

_KEY: Final = object()
"""Stands for the key where the constructor is checked."""
_IDLE: Final = 300.0
_LIMIT: Final = 10_000
_SENT: Final = ("name", "on", "idle", "limit", "mailbox", "shutdown", "each", "backoff")


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyedSpec(DynamicSpec, Generic[K, A]):
    """An address book of keyed actors; see `keyed`."""

    cls: type[A] | None
    """None in a process that does not need the class: a node has described the book."""
    path: str
    arguments: Arguments
    """What the constructor gets behind the key; packed if a node has described the book."""
    on: str | None
    idle: float | None
    limit: int
    each: Restart
    backoff: Backoff
    mailbox: MailboxOption
    shutdown: float

    @property
    def sent(self) -> dict[str, Any]:
        """What a node sends of it to the parent, beside the class and the constructor's keywords."""
        return {name: getattr(self, name) for name in _SENT}


@overload
def keyed(
    cls: Callable[[K], A],
    /,
    *,
    name: str | None = None,
    on: str | None = None,
    idle: float | None = _IDLE,
    limit: int = _LIMIT,
    restart: Restart = Restart.TRANSIENT,
    backoff: Backoff | None = None,
    mailbox: MailboxOption = 1024,
    shutdown: float = 5.0,
) -> KeyedSpec[K, A]: ...
@overload
def keyed(
    cls: Callable[..., A],
    /,
    *,
    name: str | None = None,
    on: str | None = None,
    idle: float | None = _IDLE,
    limit: int = _LIMIT,
    restart: Restart = Restart.TRANSIENT,
    backoff: Backoff | None = None,
    mailbox: MailboxOption = 1024,
    shutdown: float = 5.0,
) -> KeyedSpec[Any, A]: ...
@known_options(InvalidSpec)
def keyed(
    cls: Callable[..., A],
    /,
    *,
    name: str | None = None,
    on: str | None = None,
    idle: float | None = _IDLE,
    limit: int = _LIMIT,
    restart: Restart = Restart.TRANSIENT,
    backoff: Backoff | None = None,
    mailbox: MailboxOption = 1024,
    shutdown: float = 5.0,
) -> KeyedSpec[Any, A]:
    """Describe an address book of actors: one for each key, started when it is first used.

    ``rooms = await system.start(keyed(Room, on="rooms"))`` returns its `Keyed`, and so does
    ``system.keyed("room")``, on every node; ``await rooms["kitchen"].ask(Room.say, "hello")`` starts
    ``Room("kitchen")`` if it does not live.

    Args:
        cls: the actor class; its constructor gets the key as the first argument, and further ones by name:
            ``functools.partial(Room, path="chat.db")``.
        name: the book's name; the class's in lower case unless given. Its actors are called ``name/key``.
        on: the group over whose nodes the keys are spread by their hash, or one node. None is the system's
            default, as in `child`.
        idle: seconds without a message, a stream or a task after which an actor is stopped; the next
            message starts another. None keeps them.
        limit: how many actors may live; a key beyond them raises `LimitReached`.
        restart: after which ends an actor is restarted at once; after any other, the next use starts another.
        backoff: waits between restarts in a row, and between starts that fail.
        mailbox: how many messages may wait for each actor, or a `Bounded` or `Priority`.
        shutdown: seconds an actor may take to stop before it is killed.

    Raises:
        InvalidSpec: a value that can never work, or a constructor that does not take the key.
    """
    made, args, keywords = unpack_constructor(cls, (_KEY,))
    check_actor_options(made, name, mailbox, restart=restart, backoff=backoff, shutdown=shutdown)
    _check_constructor(made, args, keywords)
    return _spec(
        made,
        class_path(made),
        (args[1:], keywords),
        {
            "name": name or class_name(made).lower(),
            "on": on,
            "idle": idle,
            "limit": limit,
            "mailbox": mailbox,
            "shutdown": shutdown,
            "each": restart,
            "backoff": backoff or Backoff(),
        },
    )


def sent_keyed(path: str, arguments: Arguments, options: Mapping[str, Any]) -> KeyedSpec[Any, Any]:
    """Return the book that a node, or an application file, has described; see `KeyedSpec.sent`.

    Raises:
        InvalidSpec: a value that can never work.
    """
    if set(options) != set(_SENT):
        raise InvalidSpec(f"a book is described by {', '.join(_SENT)}; got {', '.join(options)}")
    kinds = {"name": str, "each": Restart, "backoff": Backoff}
    for option, kind in kinds.items():
        if not isinstance(options[option], kind):
            raise InvalidSpec(f"keyed: {option} must be a {kind.__name__}, got {options[option]!r}")
    check_mailbox("keyed", options["mailbox"])
    return _spec(None, path, arguments, options)


def _spec(
    cls: type[A] | None,
    path: str,
    arguments: Arguments,
    options: Mapping[str, Any],
) -> KeyedSpec[Any, A]:
    where, idle, limit = f"keyed({options['name']!r})", options["idle"], options["limit"]
    check_on(f"{where}: ", options["on"])
    if idle is not None and (type(idle) not in {int, float} or not idle > 0):
        raise InvalidSpec(f"{where}: idle must be more than 0 seconds, or None, got {idle!r}")
    if type(limit) is not int or limit < 1:
        raise InvalidSpec(f"{where}: limit must be a whole number of 1 or more, got {limit!r}")
    base = dynamic(options["name"])
    inherited = {item.name: getattr(base, item.name) for item in fields(base)}
    own = {key: value for key, value in options.items() if key != "name"}
    return KeyedSpec(**inherited, **own, cls=cls, path=path, arguments=arguments)


def _check_constructor(cls: type, args: tuple[Any, ...], keywords: Mapping[str, Any]) -> None:
    if args[0] is not _KEY:
        raise InvalidSpec(
            f"keyed({class_name(cls)}): the key is the first argument of the constructor; "
            f"further ones go by name in the partial, got {args[0]!r} before it"
        )
    try:
        inspect.signature(cls).bind(*args, **keywords)
    except TypeError as error:
        raise InvalidSpec(
            f"keyed({cls.__name__}): the constructor gets the key first, then what is in the partial: {error}"
        ) from error
