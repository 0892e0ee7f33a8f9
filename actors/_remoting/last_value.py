"""The last value of a topic, kept for those who subscribe later: as bytes, and only so many."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from actors._base.errors import MessageTooBig
from actors._remoting.constructor_args import pack_value

if TYPE_CHECKING:
    from actors._remoting.actor_host import ActorHost

__all__ = ["LastValues", "last_value"]

_ONE: Final = 256 * 1024
"""Bytes that a last value may have."""
_ALL: Final = 64 * 1024 * 1024
"""Bytes that the last values of all topics may have; then the oldest are forgotten."""


def last_value(host: ActorHost, topic: str, value: Any) -> list[bytes]:
    """Return *value* as it is kept.

    Raises:
        NotSendable: it cannot be sent, or holds a shared buffer.
        MessageTooBig: it has too many bytes.
    """
    packed = pack_value(host, value)
    size = sum(map(len, packed))
    if size > _ONE:
        why = f"a value that is kept may have {_ONE} bytes, and this one has {size}"
        raise MessageTooBig(f"topic {topic!r}", why)
    return packed


class LastValues:
    """The last value of each topic that keeps one."""

    def __init__(self) -> None:
        self._kept: dict[str, list[bytes]] = {}
        self._bytes = 0

    def keep(self, topic: str, packed: list[bytes]) -> None:
        """Keep the last value of *topic* in place of the one before."""
        self._forget(topic)
        self._kept[topic] = packed
        self._bytes += sum(map(len, packed))
        while self._bytes > _ALL:
            self._forget(next(iter(self._kept)))

    def last(self, topic: str) -> list[bytes]:
        """Return the last value of *topic*; nothing if it has none."""
        return self._kept.get(topic, [])

    def _forget(self, topic: str) -> None:
        self._bytes -= sum(map(len, self._kept.pop(topic, ())))
