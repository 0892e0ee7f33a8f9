"""Baggage on a link: the fields behind a message's own, on both ends. Most messages have none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from actors._messaging.headers import MessageHeaders

if TYPE_CHECKING:
    from collections.abc import Sequence

    from actors._messaging.context_propagation import Propagation
    from actors._messaging.mailbox import Envelope, Origin
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
    baggage = envelope.origin
    assert isinstance(baggage, MessageHeaders)
    chain = baggage.chain or None
    if baggage.carrier is None:
        return *encoder.encode_args(envelope.args, envelope.kwargs), (chain,)
    # In one call with the arguments: a message is encoded whole or not at all.
    args, kwargs = packing.encode_args(envelope.args, {**envelope.kwargs, **baggage.values})
    kwargs = kwargs or {}
    values = {label: kwargs.pop(label) for label in baggage.values}
    return args, kwargs or None, (chain, baggage.carrier.packed(values))


def unpacked(inner: Origin | None, more: Sequence[Any], carrier: Propagation | None) -> Any:
    """Return the origin of a message that came over a link with *more* behind its own fields."""
    if not more:
        return inner
    chain = tuple([(uid, name) for uid, name in more[0] or ()])
    if carrier is None or len(more) == 1:
        return MessageHeaders(chain=chain, carrier=carrier, inner=inner)
    return MessageHeaders(
        chain=chain, values=carrier.unpacked(more[1]), carrier=carrier, inner=inner
    )
