"""Packed messages that wait to become frames, per lane; a message that cannot be packed changes nothing.

Big messages, and what is sent behind them, have lanes of their own (`Bulk`) and are not put into batches.
"""

from collections.abc import Callable, Hashable
from typing import Any, Final

from actors.transport.errors import TooBig, Unsendable
from actors.transport.types.refusals import why_not
from actors.transport.types.tags import Tag
from actors.transport.types.twins import message_packer, packed_bytes
from actors.transport.wire.bulk import Bulk
from actors.transport.wire.frames import PIECE, Lane
from actors.transport.wire.msgpack import ext, new_packer, unpack_one

__all__ = ["BATCH_LIMIT", "Batches"]

BATCH_LIMIT: Final = 64 * 1024
_RENEW: Final = 4 * 1024 * 1024


class Batches:
    """The packing half of an encoder.

    Args:
        limit: largest message in bytes.
        envelope: bytes of a message that the limit does not count, as they are not the user's.
        refusable: the kinds of messages that are refused while too many big ones wait.
    """

    def __init__(
        self, limit: int, refusable: frozenset[int] = frozenset(), envelope: int = 0
    ) -> None:
        self.bulk: Bulk = Bulk(refusable)
        self.behind: dict[Hashable, list[int]] = self.bulk.behind
        """As `Bulk.behind`."""
        self._big: list[tuple[int, bytes]] = []
        """The lane and body of each big message, in order."""
        self._limit = limit
        self._most = limit + envelope
        self._room = min(limit, BATCH_LIMIT)
        self._pack: Callable[[Any], bytes] = _new_packer()
        self._lenient = new_packer(_big_int, lenient=True)
        self._open: tuple[list[bytes], list[bytes]] = ([], [])
        self.open_size: int = 0
        """Bytes of the open batches, both lanes together."""
        self._sealed: tuple[list[bytes], list[bytes]] = ([], [])
        self.sealed_size: int = 0
        """Bytes of full batches and big messages that wait to be taken, all lanes together."""
        self.taken: int = 0
        """Messages packed that are no longer in an open batch."""

    @property
    def pending(self) -> int:
        """Bytes packed and not taken yet, both lanes together."""
        return self.open_size + self.sealed_size

    @property
    def packed(self) -> int:
        """Messages packed so far, introductions included."""
        return self.taken + sum(map(len, self._open))

    def pack(self, message: list[Any], lane: Lane = Lane.DATA) -> int:
        """Add one message to the batch of its lane.

        Args:
            message: a number from 1 and plain fields; user values as the encoder returned them.
            lane: its lane; of the DATA lane, it may be moved to one for big messages.

        Returns:
            its size in bytes.

        Raises:
            TooBig: over the limit; the batch is as before.
            NoRoom: too much waits ahead of it; the batch is as before.
            Unsendable: a field is not plain; the batch is as before.
        """
        try:
            packed = self._pack(message)
        except Exception as error:  # noqa: BLE001 - `_pack_again` handles it
            packed = self._pack_again(message, error)
        size = len(packed)
        total = self.open_size + size
        if total > self._room or self.behind:
            return self.add(message, packed, lane)
        self._open[lane].append(packed)
        self.open_size = total
        return size

    def add(self, message: list[Any], packed: bytes, lane: Lane) -> int:
        """As `pack`, for a message that `pack_one` has packed."""
        size = len(packed)
        if lane and (self.behind or size > PIECE) and self._put_aside(message, packed):
            return size
        if self.open_size + size > self._room:
            self._make_room(size)
            if size > self._room:  # a frame of its own
                self._sealed[lane].append(packed)
                self.sealed_size += size
                self.taken += 1
                return size
        self._open[lane].append(packed)
        self.open_size += size
        return size

    def _put_aside(self, message: list[Any], packed: bytes) -> bool:
        """Add a message of the DATA lane to a lane for big ones, if it belongs there."""
        size = len(self.check(packed))
        lane = self.bulk.lane(message, size)
        if lane == Lane.DATA:
            return False
        self.bulk.add(message, size, lane)
        self._big.append((lane, packed))
        self._renew_if_big(size)
        self.sealed_size += size
        self.taken += 1
        return True

    def pack_one(self, value: Any) -> bytes:
        """Pack one plain value or message by itself, past every batch.

        Raises:
            Unsendable: a part of it is not plain.
        """
        try:
            return self._pack(value)
        except Exception as error:  # noqa: BLE001 - `_pack_again` handles it
            return self._pack_again(value, error)

    def take(self, lane: Lane) -> list[bytes]:
        """The frame bodies packed for `lane` since the last call, in order.

        Returns:
            bodies of 64 KiB at most, or of one message.
        """
        if self.open_size:
            self.seal()
        bodies = self._sealed[lane]
        if not bodies:
            return []
        taken = bodies.copy()
        bodies.clear()
        self.sealed_size -= sum(map(len, taken))
        return taken

    def take_big(self) -> list[tuple[int, bytes]]:
        """The lanes and bodies of the big messages packed since the last call, in order."""
        if not self._big:
            return self._big
        taken, self._big = self._big, []
        self.sealed_size -= sum([len(body) for _, body in taken])
        return taken

    def take_single(self) -> tuple[Lane, list[bytes]] | None:
        """The parts of the open batch, if only one lane has one: the common case of a loop turn."""
        control, data = self._open
        if self.sealed_size or self.open_size > BATCH_LIMIT or (control and data):
            return None
        parts = data or control
        if not parts:
            return None
        taken = parts.copy()
        parts.clear()
        self.taken += len(taken)
        self.open_size = 0
        return (Lane.DATA if parts is data else Lane.CONTROL), taken

    def check(self, body: bytes) -> bytes:
        """The body, if a message may be so big.

        Raises:
            TooBig: it may not.
        """
        self.check_size(len(body))
        return body

    def check_size(self, size: int) -> None:
        """Check the size of a message, the payloads that it lends included.

        Raises:
            TooBig: no message may be so big.
        """
        if size > self._most:
            raise TooBig(size, self._limit)

    def _make_room(self, size: int) -> None:
        """Seal the open batches for a message that does not fit into them, or refuse it."""
        self._renew_if_big(size)
        self.check_size(size)
        self.seal()

    def _renew_if_big(self, size: int) -> None:
        """Drop a packer that has grown."""
        if size > _RENEW:
            self._pack = _new_packer()

    def seal(self) -> None:
        """Close the open batches: what is packed next goes into frames of its own."""
        for parts, bodies in zip(self._open, self._sealed, strict=True):
            if parts:
                bodies.append(b"".join(parts))
                self.taken += len(parts)
                parts.clear()
        self.sealed_size += self.open_size
        self.open_size = 0

    def _pack_again(self, message: Any, error: Exception) -> bytes:
        """Pack what the fast packer refused, if only for lone surrogates; else raise `Unsendable`."""
        if isinstance(error, UnicodeEncodeError):
            try:
                return self._lenient(message)
            except Exception as again:  # noqa: BLE001 - reported below
                error = again
        self._pack = _new_packer()
        if isinstance(error, Unsendable):
            raise error
        raise Unsendable("message", message, f"it is not plain: {error}") from error


def _new_packer() -> Callable[[Any], bytes]:
    return message_packer(new_packer(_big_int))


def _big_int(value: Any) -> Any:
    """The packer's hook for values it does not know: integers beyond 64 bits, and what is packed already."""
    packed = packed_bytes(value)
    if packed is not None:
        return unpack_one(packed, len(packed), lambda tag, data: ext((tag, data)))
    if type(value) is int:
        size = value.bit_length() // 8 + 1
        return ext((Tag.BIG_INT, value.to_bytes(size, "little", signed=True)))
    raise Unsendable("message", value, why_not(value))
