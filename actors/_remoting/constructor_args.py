"""Constructor arguments as bytes: packed where the actor is spawned, unpacked where it runs.

The parent keeps them in between, for every restart, and needs none of the user's classes for that. Shared
buffers among them go and are kept as themselves, behind the bytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from actors._actor.cell import as_not_sendable
from actors._base.errors import NotSendable
from actors._messaging.message_table import takes_state
from actors.transport import Lane, Local, SharedBuffer, Undecoded, snapshot_to_keep

if TYPE_CHECKING:
    from collections.abc import Sequence

    from actors._remoting.actor_host import ActorHost

__all__ = [
    "keep_arguments",
    "pack_arguments",
    "pack_value",
    "unpack_arguments",
    "unpack_state",
    "unpack_value",
]

_ARGUMENTS: Final = 1
_NOTHING: Final = b"\x93\x01\x90\xc0"
"""No arguments, packed: `[_ARGUMENTS, [], None]`."""


def keep_arguments(
    args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return a snapshot of the arguments, for every start of an actor on this node.

    What is marked ``local(...)`` stays marked: the snapshot that each start makes removes the mark.

    Raises:
        NotSendable: naming the path of what does not travel.
    """
    with as_not_sendable():
        kept = tuple([_kept(value, f"args[{index}]") for index, value in enumerate(args)])
        return kept, {name: _kept(value, name) for name, value in kwargs.items()}


def _kept(value: Any, where: str) -> Any:
    return value if type(value) is Local else snapshot_to_keep(value, where)


def pack_arguments(
    host: ActorHost, args: tuple[Any, ...], kwargs: dict[str, Any], *, leave_machine: bool = False
) -> list[bytes | SharedBuffer]:
    """Return the arguments as the bodies of frames, and behind them the shared buffers in them.

    Args:
        host: of this process.
        args: the arguments.
        kwargs: those that are given by name.
        leave_machine: whether they go to another machine, where nothing can be shared.

    Raises:
        NotSendable: naming the path of what does not travel.
    """
    if not args and not kwargs:
        return [_NOTHING]
    if leave_machine:
        encoder, shared = host.new_encoder(), []
        encoder.attachments.refuse_descriptors()
    else:
        # What the encoder introduces is in these bytes alone: it serves again if that was nothing.
        encoder, host.argument_encoder = host.argument_encoder or host.new_encoder(), None
        shared = encoder.attachments.kept = []
    with as_not_sendable():
        try:
            encoder.pack([_ARGUMENTS, *encoder.encode_args(args, kwargs)])
        except BaseException:
            encoder.attachments.transaction.undo()
            raise
    encoder.attachments.transaction.commit()
    introductions, *bodies = [encoder.take(lane) for lane in Lane]
    if not (introductions or shared or leave_machine):
        host.argument_encoder = encoder
    return [*introductions, *(body for some in bodies for body in some), *shared]


def pack_value(host: ActorHost, value: Any) -> list[bytes]:
    """Return a value as bytes, for `unpack_value` on any node.

    Raises:
        NotSendable: naming the path of what does not travel, or that it holds a shared buffer.
    """
    packed = pack_arguments(host, (value,), {})
    kept = [part for part in packed if not isinstance(part, SharedBuffer)]
    if len(kept) < len(packed):
        raise NotSendable("", "a value that is kept may hold no SharedBuffer")
    return kept


def unpack_value(host: ActorHost, packed: list[bytes]) -> tuple[Any, ...]:
    """Return the value that `pack_value` made bytes of, or nothing for no bytes.

    Raises:
        NotSendable: this node cannot decode it.
    """
    return unpack_arguments(host, packed)[0] if packed else ()


def unpack_state(
    host: ActorHost, cls: type, packed: Sequence[bytes | SharedBuffer]
) -> tuple[Any, ...]:
    """Return the arguments of `on_start`: what the last incarnation handed over, if it did.

    Raises:
        NotSendable: this node cannot decode it.
        TypeError: `on_start` does not take it.
    """
    if not packed:
        return ()
    if not takes_state(cls):
        raise TypeError(f"{cls.__name__}.on_start takes no state")
    return unpack_arguments(host, packed)[0]


def unpack_arguments(
    host: ActorHost, packed: Sequence[bytes | SharedBuffer]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return new arguments from what `pack_arguments` made, or from several of these one behind the other.

    Raises:
        NotSendable: this node cannot decode them; it says why.
    """
    if len(packed) == 1 and packed[0] == _NOTHING:
        return (), {}
    decoder = host.argument_decoder
    decoder.restart([part for part in packed if isinstance(part, SharedBuffer)])
    frames = [part for part in packed if not isinstance(part, SharedBuffer)]
    messages = [message for frame in frames for message in decoder.feed(frame)]
    decoder.restart()
    args: list[Any] = []
    kwargs: dict[str, Any] = {}
    for _, some, named in messages:
        for part in (some, named):
            if type(part) is Undecoded:
                raise NotSendable(
                    "", f"{host.name} could not read a constructor argument: {part.error}"
                )
        args += some
        kwargs |= named or {}
    return tuple(args), kwargs
