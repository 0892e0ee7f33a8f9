"""What a node notices of the program that it runs, and that makes it slow: reported as events, each once.

Rule: what is looked at costs a comparison or an addition; whatever costs more is done once for each place.
"""

from __future__ import annotations

from time import thread_time
from typing import TYPE_CHECKING, Any, Final

from actors._base.often import Often
from actors._messaging.byte_bound import counted_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from actors._remoting.link import Link

__all__ = ["BIG", "ProgramAdvice"]

BIG: Final = 1 << 20
"""Bytes of a message without its payloads in shared memory, from which it is looked at."""
_COSTLY: Final = 0.005
"""Seconds of CPU time for packing a message, from which it is worth a line."""
_MANY: Final = 1000
_WITHIN: Final = 10.0
"""An actor class that is started so many times in so many seconds is looked at."""
_ENDED: Final = 0.9
"""The part of them that has ended, from which each was for one piece of work."""
_PLACES: Final = 256
"""Places whose messages were measured; one more, and none is any more."""


class ProgramAdvice:
    """Reports classes whose actors are started for one piece of work each, and messages that are large graphs.

    Args:
        node: the name of this node.
        now: returns seconds.
        report: takes an event.
    """

    def __init__(
        self, node: str, now: Callable[[], float], report: Callable[[str, dict[str, Any]], None]
    ) -> None:
        self._node = node
        self._report = report
        self._spawns = Often(_MANY, _WITHIN, now)
        self._measured: set[str] = set()

    def spawned(self, what: str, alive: Callable[[], Iterable[str]]) -> None:
        """Count the start of an actor of the class *what*; *alive* gives the classes of those there are."""
        often = self._spawns.count(what)
        if often is None:
            return
        count, seconds = often
        living = sum(1 for cls in alive() if cls == what)
        if living > (1 - _ENDED) * count:
            return
        self._spawns.told(what)
        self._report(
            "spawned_often",
            {
                "node": self._node,
                "what": what.replace(":", "."),
                "count": count,
                "seconds": round(seconds, 3),
                "alive": living,
                "advice": "each did one piece of work: a pool, or one actor, does it without the starts",
            },
        )

    def sent(self, link: Link, of: str, size: int, values: tuple[Any, ...]) -> None:
        """Report what packing a message of *size* bytes costs, which is measured by doing it once more.

        Args:
            link: over which it was sent.
            of: what it is: a method and its part.
            size: its bytes.
            values: what was sent.
        """
        if 2 * counted_bytes(values, {}) > size:
            return  # it is text or bytes, which are copied as they are
        if of in self._measured or len(self._measured) >= _PLACES:
            return
        self._measured.add(of)
        began = thread_time()
        if not link.pack_again(values):
            return
        seconds = thread_time() - began
        if seconds >= _COSTLY:
            self._report(
                "big_message",
                {
                    "node": self._node,
                    "of": of,
                    "bytes": size,
                    "milliseconds": round(seconds * 1000, 1),
                    "advice": "the sender's loop stood still as long, and the receiver's will: send a part, or "
                    "bytes and arrays, which go by shared memory",
                },
            )
