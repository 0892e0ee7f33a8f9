"""A profile: in which functions the threads of a node spend their CPU time, by samples of their stacks.

Rule 1: a node that nobody profiles pays nothing: it has no timer and no thread for it.
Rule 2: a process is interrupted by a timer of the CPU time that it uses, in its main thread between two
instructions. So a function that runs for microseconds is seen as often as it runs, an idle node is not woken,
and it works while the loop hangs in Python.
Rule 3: each sample counts the CPU time that a thread has used since the sample before, never the time it waits.
"""

from __future__ import annotations

import signal
import sys
import threading
import time
from typing import TYPE_CHECKING, Any, Final

from anyio import sleep

from actors._base.thread_clocks import cpu_of_thread

if TYPE_CHECKING:
    from types import CodeType, FrameType

__all__ = ["ProcessProfiler", "StackCounts", "profile_thread"]

_EVERY: Final = 0.01
"""Seconds of CPU time between two samples of a process, and of time between two of a thread."""
_MOST_SAMPLES: Final = 60_000
"""Samples after which nobody waits for the profile any more."""
_MOST_STACKS: Final = 4096
"""Different stacks that are kept; the time of others is counted together."""
_DEEPEST: Final = 200
"""Frames of a stack that are kept, the most recent ones."""


class StackCounts:
    """Adds up the CPU time of threads by what they were doing.

    Args:
        threads: the numbers of the threads that are looked at; all of this interpreter if None.
    """

    def __init__(self, threads: frozenset[int] | None = None) -> None:
        self.samples: int = 0
        self._threads = threads
        self._began = time.monotonic()
        self._cpu: dict[int, float] = {}
        self._seconds: dict[tuple[int, tuple[CodeType, ...]], float] = {}
        for ident in sys._current_frames():  # noqa: SLF001 - there is no other way
            self._used(ident)

    def sample(self, own: FrameType | None = None) -> None:
        """Count what the threads have used since the last sample as used by what they do now.

        Args:
            own: the frame to take for the thread that calls this.
        """
        self.samples += 1
        here = threading.get_ident()
        for ident, frame in sys._current_frames().items():  # noqa: SLF001 - as above
            if self._threads is not None and ident not in self._threads:
                continue
            if (used := self._used(ident)) > 0:
                self._add(ident, own if ident == here else frame, used)

    def _used(self, ident: int) -> float:
        """Return the CPU seconds that a thread has used since the last call."""
        now = cpu_of_thread(ident)
        before, self._cpu[ident] = self._cpu.get(ident, 0.0), now
        return now - before

    def _add(self, ident: int, frame: FrameType | None, used: float) -> None:
        codes: list[CodeType] = []
        while frame is not None and len(codes) < _DEEPEST:
            codes.append(frame.f_code)
            frame = frame.f_back
        key = (ident, tuple(codes))
        if key not in self._seconds and len(self._seconds) >= _MOST_STACKS:
            key = (ident, ())
        self._seconds[key] = self._seconds.get(key, 0.0) + used

    def facts(self) -> dict[str, Any]:
        """Return the profile as plain data.

        ``frames`` has a name, a file and a line each; ``stacks`` a thread, the numbers of its frames, the
        outermost first, and CPU seconds each.
        """
        # The lock of `threading.enumerate` may be held by what a signal interrupts.
        known = dict(threading._active)  # type: ignore[attr-defined] # noqa: SLF001
        numbers: dict[CodeType, int] = {}
        stacks = [
            [
                known[ident].name if ident in known else f"thread {ident:x}",
                [numbers.setdefault(code, len(numbers)) for code in reversed(codes)],
                round(seconds, 6),
            ]
            for (ident, codes), seconds in self._seconds.items()
        ]
        return {
            "seconds": round(time.monotonic() - self._began, 3),
            "samples": self.samples,
            "cpu": round(sum(self._seconds.values()), 6),
            "frames": [
                [code.co_qualname, code.co_filename, code.co_firstlineno] for code in numbers
            ],
            "stacks": stacks,
        }


class ProcessProfiler:
    """Profiles this process: begun and ended by signal handlers in its main thread."""

    def __init__(self) -> None:
        self._counts: StackCounts | None = None
        self._refused = ""

    def begin(self) -> None:
        """Take samples from now on; an earlier profile is forgotten."""
        self._refused = self._why_not()
        if self._refused:
            return
        self._counts = StackCounts()
        signal.signal(signal.SIGPROF, self._tick)
        # Calls of C libraries are begun again, not ended, as far as the kernel can.
        signal.siginterrupt(signal.SIGPROF, False)
        signal.setitimer(signal.ITIMER_PROF, _EVERY, _EVERY)

    def end(self) -> dict[str, Any]:
        """Take no more samples; return the profile, or the reason why there is none as ``error``."""
        counts, self._counts = self._counts, None
        if counts is None:
            return {"error": self._refused or "nobody has begun a profile"}
        signal.setitimer(signal.ITIMER_PROF, 0)
        return counts.facts()

    def _why_not(self) -> str:
        """Return why it cannot be profiled: its code uses the same timer."""
        mine = signal.getsignal(signal.SIGPROF) in {signal.SIG_DFL, signal.SIG_IGN, self._tick}
        running = self._counts is None and signal.getitimer(signal.ITIMER_PROF)[0] > 0
        return "" if mine and not running else "code of this node uses SIGPROF, as another profiler"

    def _tick(self, _number: int, frame: FrameType | None) -> None:
        """Take one sample. Its handler stays after the end: what is still pending must not end the process."""
        counts = self._counts
        if counts is None:
            return
        counts.sample(frame)
        if counts.samples >= _MOST_SAMPLES:
            self.end()


async def profile_thread(ident: int, seconds: float) -> dict[str, Any]:
    """Return the profile of one thread of this process; called in another one.

    Code that holds the interpreter's lock is seen where it gives it up, so that short functions appear less
    often than they run.

    Args:
        ident: the number of the thread.
        seconds: for how long.
    """
    counts = StackCounts(frozenset({ident}))
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        await sleep(min(_EVERY, left))
        counts.sample()
    return counts.facts()
