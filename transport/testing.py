"""What tests of channels need: a loop that runs only when told to, and damaged bytes."""

import random
import select
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

__all__ = ["ManualLoop", "mutations"]


class LaterCall(NamedTuple):
    """A call that is to be made in some seconds."""

    seconds: float
    fn: Callable[..., object]
    args: tuple[Any, ...]
    calls: "deque[LaterCall]"

    def cancel(self) -> None:
        """Do not make it."""
        if self in self.calls:
            self.calls.remove(self)


class ManualLoop:
    """The channel's loop as a test drives it: one turn at a time, in fixed order, no clock.

    Args:
        patience: seconds that a turn waits for an event if nothing was scheduled: bytes over TCP may take
            a moment, even within one machine.

    Attributes:
        later: what is to run when some time has passed, in the order of the calls.
    """

    def __init__(self, patience: float = 0.0) -> None:
        self._patience = patience * 1000
        self.later: deque[LaterCall] = deque()
        self._ready: deque[tuple[Callable[..., object], tuple[Any, ...]]] = deque()
        self._readers: dict[int, Callable[[], object]] = {}
        self._writers: dict[int, Callable[[], object]] = {}

    def call_soon(self, fn: Callable[..., object], *args: Any) -> None:
        """Run `fn` in the next turn."""
        self._ready.append((fn, args))

    def call_later(self, seconds: float, fn: Callable[..., object], *args: Any) -> "LaterCall":
        """Run `fn` when the test lets time pass."""
        call = LaterCall(seconds, fn, args, self.later)
        self.later.append(call)
        return call

    def let_time_pass(self) -> None:
        """Run in the next turn what was to run later."""
        self._ready.extend((call.fn, call.args) for call in self.later)
        self.later.clear()

    def watch_readable(self, fd: int, fn: Callable[[], object]) -> None:
        """Run `fn` in each turn in which `fd` can be read."""
        self._readers[fd] = fn

    def unwatch_readable(self, fd: int) -> None:
        """Stop that."""
        self._readers.pop(fd, None)

    def watch_writable(self, fd: int, fn: Callable[[], object]) -> None:
        """Run `fn` in each turn in which `fd` can be written."""
        self._writers[fd] = fn

    def unwatch_writable(self, fd: int) -> None:
        """Stop that."""
        self._writers.pop(fd, None)

    @property
    def watched(self) -> tuple[frozenset[int], frozenset[int]]:
        """The descriptors watched for reading and for writing."""
        return frozenset(self._readers), frozenset(self._writers)

    def turn(self) -> bool:
        """One turn: what was scheduled, then what is ready; returns whether anything ran."""
        scheduled = len(self._ready)
        for _ in range(scheduled):
            fn, args = self._ready.popleft()
            fn(*args)
        poll = select.poll()
        for fd in self._readers.keys() | self._writers.keys():
            poll.register(
                fd, select.POLLIN * (fd in self._readers) | select.POLLOUT * (fd in self._writers)
            )
        ran = scheduled > 0
        for fd, events in sorted(poll.poll(0 if scheduled else self._patience)):
            gone = select.POLLHUP | select.POLLERR
            if events & (select.POLLIN | gone) and fd in self._readers:
                self._readers[fd]()
                ran = True
            if events & (select.POLLOUT | gone) and fd in self._writers:
                self._writers[fd]()
                ran = True
        return ran

    def run_until(self, done: Callable[[], object], turns: int = 10_000) -> None:
        """Take turns until `done()` is true.

        Raises:
            AssertionError: it was not after `turns` turns.
        """
        for _ in range(turns):
            if done():
                return
            self.turn()
        raise AssertionError(f"still not done after {turns} turns")

    def settle(self, turns: int = 10_000) -> None:
        """Take turns until one does nothing.

        Raises:
            AssertionError: every one of `turns` turns did something.
        """
        for _ in range(turns):
            if not self.turn():
                return
        raise AssertionError(f"not settled after {turns} turns")


def mutations(data: bytes, seed: int, count: int) -> Iterator[bytes]:
    """Damaged copies of `data`: bits flipped, bytes replaced, cut, doubled or inserted.

    Args:
        data: what to damage.
        seed: the same seed damages in the same way.
        count: how many copies.
    """
    chance = random.Random(seed)  # noqa: S311 - damage, not secrets
    for _ in range(count):
        damaged = bytearray(data)
        for _ in range(chance.randint(1, 4)):
            _damage(damaged, chance)
        yield bytes(damaged)


def _damage(data: bytearray, chance: random.Random) -> None:
    at = chance.randrange(len(data) + 1)
    match chance.randrange(5):
        case 0 if at < len(data):
            data[at] ^= 1 << chance.randrange(8)
        case 1 if at < len(data):
            data[at] = chance.randrange(256)
        case 2:
            del data[at : at + chance.randint(1, 8)]
        case 3:
            data[at:at] = data[at : at + chance.randint(1, 8)]
        case _:
            data[at:at] = chance.randbytes(chance.randint(1, 4))
