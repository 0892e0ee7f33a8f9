"""Constructor arguments as bytes: made where the actor is asked for, opened where it runs.

Whoever keeps them in between (the parent, for every restart) needs none of the user's classes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from transport import Decoder, Encoder, Extra, Lane, Undecoded

from .._cell import as_not_sendable
from .._errors import NotSendable
from .._ref import Ref

if TYPE_CHECKING:
    from ._runtime import Runtime

__all__ = ["pack_arguments", "unpack_arguments"]

_ARGUMENTS: Final = 1


def pack_arguments(runtime: Runtime, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[bytes]:
    """Return the arguments as the bodies of frames.

    Raises:
        NotSendable: naming the path of what does not travel.
    """
    extra: Extra[Any] = Extra(Ref, runtime.ref_fields, runtime.make_ref)
    encoder = Encoder(extras=[extra], rename=runtime.wire_module)
    with as_not_sendable():
        packable = encoder.encode_args(args, kwargs)
        encoder.pack([_ARGUMENTS, *packable])
    return [*encoder.take(Lane.CONTROL), *encoder.take(Lane.DATA)]


def unpack_arguments(runtime: Runtime, frames: list[bytes]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return new arguments from what `pack_arguments` made.

    Raises:
        NotSendable: this node cannot read them; it says why.
    """
    extra: Extra[Any] = Extra(Ref, runtime.ref_fields, runtime.make_ref)
    decoder = Decoder(extras=[extra], resolve=runtime.resolve_class)
    messages = [message for frame in frames for message in decoder.feed(frame)]
    _, args, kwargs = messages[-1]
    for part in (args, kwargs):
        if type(part) is Undecoded:
            raise NotSendable("", f"{runtime.name} could not read a constructor argument: {part.error}")
    return tuple(args), kwargs or {}
