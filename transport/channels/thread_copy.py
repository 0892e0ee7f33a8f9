"""What a thread passes to another by reference: copies of values that belong to no link and no memory.

Immutable leaves go by reference; containers and data objects are copied. What belongs to a link or to
memory (refs, arrays, buffers, marks, exceptions, registered types) goes through the link's codec.
"""

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any, Final

from actors.transport.attachments.mode import Mode
from actors.transport.attachments.move import current_phase
from actors.transport.codec.encoder import Encoder
from actors.transport.codec.snapshot import snapshot_for_thread
from actors.transport.errors import TooBig, Unsendable
from actors.transport.types.tags import LEAVES

__all__ = ["ByReference", "InProcessEncoder"]

_plain: Final = LEAVES.issuperset
"""Whether all of some types are leaves, at the speed of C."""


class ByReference(tuple[Any]):
    """Marks a field of a message that is passed by reference: a tuple of it alone."""

    __slots__ = ()


class InProcessEncoder:
    """The encoder of a link between threads: it copies what it can, and packs the rest.

    A tuple of leaves among the fields of a message, and a `ByReference`, is passed by reference; a message
    with any other container in it is packed whole. It is made and used in the thread of its loop.
    """

    def __init__(self, encoder: Encoder) -> None:
        self.codec = encoder
        self._phase = current_phase()
        self._attachments = encoder.attachments
        self.lane_for: Callable[[list[Any]], int] = encoder.lane_for
        self.encode_error: Callable[[BaseException], Any] = encoder.encode_error

    def encode_args(
        self, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[Sequence[Any] | ByReference, dict[str, Any] | ByReference | None]:
        """As `Encoder.encode_args`."""
        if kwargs:
            return self._with_keywords(args, kwargs)
        if _plain(map(type, args)):
            if bytes in map(type, args):
                self._count_shared(args)
            return args, None
        try:
            copied = ByReference((tuple(self._copy(args)),))
        except (Unsendable, RecursionError):
            pass
        else:
            if bytes in map(type, args):
                self._count_shared(args)
            return copied, None
        # Outside the handler, so that an error of the codec has no other error as its context.
        return self.codec.encode_args(args, kwargs)

    def _with_keywords(
        self, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[Sequence[Any] | ByReference, dict[str, Any] | ByReference | None]:
        try:
            copies = self._copy((*args, *kwargs.values()))
        except (Unsendable, RecursionError):
            pass
        else:
            self._count_shared((*args, *kwargs.values()))
            keywords = dict(zip(kwargs, copies[len(args) :], strict=True))
            copied = args if _plain(map(type, args)) else ByReference((tuple(copies[: len(args)]),))
            return copied, ByReference((keywords,))
        return self.codec.encode_args(args, kwargs)  # outside the handler, as above

    def encode_value(self, value: Any, root: str = "value") -> Any:
        """As `Encoder.encode_value`."""
        if type(value) in LEAVES:
            if type(value) is bytes:
                self._count_shared((value,))
            return value
        with suppress(Unsendable, RecursionError):
            return ByReference(snapshot_for_thread((value,), self._phase))
        return self.codec.encode_value(value, root)

    def _copy(self, values: tuple[Any, ...]) -> list[Any]:
        """As `snapshot_for_thread`; a bytearray among the values is copied once, and not by the codec.

        Raises:
            TooBig: the bytearrays have more bytes than a message may have.
        """
        if bytearray not in map(type, values):
            return snapshot_for_thread(values, self._phase)
        total = sum(len(value) for value in values if type(value) is bytearray)
        if total > self._attachments.largest:
            raise TooBig(total, self._attachments.largest)
        others = [None if type(value) is bytearray else value for value in values]
        copies = snapshot_for_thread(others, self._phase)
        for index, value in enumerate(values):
            if type(value) is bytearray:
                copies[index] = bytearray(value)
                self._attachments.modes[Mode.COPY] += (
                    len(value) >= self._attachments.thresholds.share
                )
        return copies

    def _count_shared(self, values: Iterable[Any]) -> None:
        """Count bytes so big that over a socket they would go by shared memory."""
        for value in values:
            if type(value) is bytes and len(value) >= self._attachments.thresholds.share:
                self._attachments.modes[Mode.REFERENCE] += 1
                self._attachments.bytes_lent += len(value)
