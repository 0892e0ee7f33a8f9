"""What a link has in place of a channel until it has its socket: it takes messages, and keeps them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from actors.transport import TransportError

if TYPE_CHECKING:
    from actors.transport import Encoder

__all__ = ["NotYetAttached", "Unattached"]

_MOST: Final = 1024 * 1024
"""Bytes that are taken; then senders wait."""


class NotYetAttached(TransportError):
    """The message needs the link's socket, which is not there yet."""


class Unattached:
    """Says by `congested` whether senders have to wait; the messages are packed and wait in the encoder."""

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder

    @property
    def congested(self) -> bool:
        """Whether too many bytes wait."""
        return self._encoder.pending - self._encoder.batches.bulk.size > _MOST
