"""The CPU time of threads that may end at any moment."""

from __future__ import annotations

import threading
import time
from pathlib import Path

from actors._base.thread_clocks import cpu_of_thread
from tests.scripts import run

_PROFILED_AS_A_THREAD_ENDS = """
import sys, threading
from actors.nodes.health.profile import StackCounts

threading.stack_size(64 << 20)  # more than the C library keeps for the next thread: its memory is gone
thread = threading.Thread(target=int)
thread.start()
thread.join()
frame = sys._getframe()
sys._current_frames = lambda: {thread.ident: frame}  # looked at just before it ended
counts = StackCounts()
counts.sample()
print(counts.facts()["stacks"])
"""


def test_the_cpu_time_of_another_thread_is_what_it_measures_itself() -> None:
    used: list[float] = []
    measured, over = threading.Event(), threading.Event()

    def work() -> None:
        while time.thread_time() < 0.02:
            pass
        used.append(time.thread_time())
        measured.set()
        over.wait()

    thread = threading.Thread(target=work)
    thread.start()
    assert thread.ident is not None
    measured.wait()
    assert 0.02 <= used[0] <= cpu_of_thread(thread.ident) <= used[0] + 0.02
    over.set()
    thread.join()


def test_the_cpu_time_of_the_calling_thread_is_its_own() -> None:
    before = time.thread_time()
    assert before <= cpu_of_thread(threading.get_ident()) <= time.thread_time()


def test_a_thread_that_has_ended_or_never_was_has_used_nothing() -> None:
    thread = threading.Thread(target=int)
    thread.start()
    thread.join()
    assert thread.ident is not None
    assert (cpu_of_thread(thread.ident), cpu_of_thread(1)) == (0.0, 0.0)


def test_a_process_that_is_profiled_lives_on_when_one_of_its_threads_ends(tmp_path: Path) -> None:
    assert run(tmp_path / "profiled.py", _PROFILED_AS_A_THREAD_ENDS) == (0, "[]\n", "")
