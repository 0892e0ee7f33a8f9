"""Headers of a message on a link: the fields behind its own. Most messages have none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from actors._messaging.headers import MessageHeaders
from actors._messaging.mailbox import Envelope, envelope_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from actors._messaging.context_propagation import Propagation
    from actors._messaging.delivery_hooks import DeliveryHooks
    from actors.transport import Encoder, InProcessEncoder

__all__ = ["decode_headers", "encode_with_headers", "envelope_with"]

_PRIORITY: Final = 3
"""Which of the headers is the priority."""


def encode_with_headers(
    envelope: Envelope, encoder: Encoder | InProcessEncoder, packing: Encoder
) -> tuple[Any, Any, Sequence[Any]]:
    """Return args and kwargs of a message as *encoder* makes them, and the fields of its headers.

    With context variables among the headers all of it is encoded by *packing*: such a message is packed
    even between threads.

    Raises:
        Unsendable: naming the argument, or the context variable.
    """
    headers = envelope.hooks
    assert isinstance(headers, MessageHeaders)
    chain = headers.chain or None
    if headers.propagation is None:
        return *encoder.encode_args(envelope.args, envelope.kwargs), (chain,)
    # In one call with the arguments: a message is encoded whole or not at all.
    args, kwargs = packing.encode_args(envelope.args, {**envelope.kwargs, **headers.values})
    kwargs = kwargs or {}
    values = {label: kwargs.pop(label) for label in headers.values}
    return args, kwargs or None, (chain, headers.propagation.packed(values))


def decode_headers(
    inner: DeliveryHooks | None, fields: Sequence[Any], propagation: Propagation | None
) -> DeliveryHooks | None:
    """Return the hooks of a message that came over a link with the header *fields*."""
    if not fields:
        return inner
    chain = tuple([(uid, name) for uid, name in fields[0] or ()])
    if propagation is None or len(fields) == 1 or fields[1] is None:
        return MessageHeaders(chain=chain, propagation=propagation, inner=inner)
    values = propagation.unpacked(fields[1])
    return MessageHeaders(chain=chain, values=values, propagation=propagation, inner=inner)


def envelope_with(headers: Sequence[Any], *message: Any) -> Envelope:
    """Return a message that came over a link with the header fields *headers*, by its priority.

    Raises:
        TypeError: what should be one is no number.
    """
    priority = headers[_PRIORITY] if len(headers) > _PRIORITY else 0
    if type(priority) is not int:
        raise TypeError(f"a priority is a number, got {priority!r}")
    return envelope_of(priority, *message)
