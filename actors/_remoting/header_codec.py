"""Baggage on a link: the fields behind a message's own, on both ends. Most messages have none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from actors._messaging.headers import MessageHeaders

if TYPE_CHECKING:
    from collections.abc import Sequence

    from actors._messaging.context_propagation import Propagation
    from actors._messaging.mailbox import DeliveryHooks, Envelope
    from actors.transport import Encoder, InProcessEncoder

__all__ = ["packed", "unpacked"]


def packed(
    envelope: Envelope, encoder: Encoder | InProcessEncoder, packing: Encoder
) -> tuple[Any, Any, Sequence[Any]]:
    """Return args and kwargs of a message as *encoder* makes them, and what goes behind them.

    With context variables among that, all of it is made by *packing*, so that it can be packed.

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


def unpacked(
    inner: DeliveryHooks | None, more: Sequence[Any], propagation: Propagation | None
) -> Any:
    """Return the origin of a message that came over a link with *more* behind its own fields."""
    if not more:
        return inner
    chain = tuple([(uid, name) for uid, name in more[0] or ()])
    if propagation is None or len(more) == 1:
        return MessageHeaders(chain=chain, propagation=propagation, inner=inner)
    return MessageHeaders(
        chain=chain, values=propagation.unpacked(more[1]), propagation=propagation, inner=inner
    )
