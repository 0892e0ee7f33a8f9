"""Imports the modules of `nodes(preload=)`, and looks at what stands against forking the process that has them.

Rule 1: it runs in a process without an event loop, before anything else has run there.
Rule 2: threads are named, not ended; what cannot work in a fork at all is an error.
"""

from __future__ import annotations

import importlib
import os
import sys
import threading
import time
import traceback
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from actors._base.library_threads import THREAD_VARIABLES
from actors._base.process_stat import process_stat
from actors._base.slow_imports import SLOW, Stopwatch, advice_for
from actors._root_errors import StartFailed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["PreloadFailed", "Preloaded", "import_modules", "preload", "wait_for_sleep"]

_SETTLE: Final = 0.2
"""Seconds in which threads that an import has ended are gone."""
_POLL: Final = 0.005


class PreloadFailed(StartFailed):
    """A module of `nodes(preload=)` cannot be imported for forks.

    Attributes:
        why: which one, and the cause.
        stack: its own traceback, if there is one.
    """

    def __init__(self, why: str, stack: str = "") -> None:
        super().__init__(why, stack)
        self.why = why
        self.stack = stack

    def __str__(self) -> str:
        return self.why


@dataclass(slots=True)
class Preloaded:
    """What importing has left in the process.

    Attributes:
        threads: how many threads there are, the main thread included.
        thread_modules: the modules whose import has started one that is left.
        thread_names: the names of those that Python knows.
        descriptors: what the new descriptors are that forks would share: sockets, pipes and the like.
        descriptor_modules: the modules whose import has opened one.
        environment: the variables that the imports have set, None for one they have removed.
        slow: the facts of the modules whose import took long.
    """

    threads: int = 1
    thread_modules: list[str] = field(default_factory=list)
    thread_names: list[str] = field(default_factory=list)
    descriptors: list[str] = field(default_factory=list)
    descriptor_modules: list[str] = field(default_factory=list)
    environment: dict[str, str | None] = field(default_factory=dict)
    slow: list[dict[str, Any]] = field(default_factory=list)

    def refuse_threads_of(self, modules: Iterable[str]) -> None:
        """Refuse *modules* whose import has started a thread that is left, because forks are without it.

        Raises:
            PreloadFailed: naming the module, and the threads that have names.
        """
        for name in modules:
            if name in self.thread_modules:
                named = ", ".join(self.thread_names)
                raise PreloadFailed(
                    f"preload of {name!r} has left threads running{f' ({named})' if named else ''}, and "
                    "a forked process has none of them: start them in the lifespan of the application, "
                    "or serve it without preload"
                )


def import_modules(names: Iterable[str]) -> None:
    """Import what is not there yet.

    Raises:
        PreloadFailed: a module cannot be imported.
    """
    for name in names:
        if name not in sys.modules:
            _import(name)


def _import(name: str) -> None:
    try:
        importlib.import_module(name)
    except BaseException as error:  # SystemExit, too: the module cannot be used
        why = f"preload of {name!r} failed: {type(error).__name__}: {error}"
        raise PreloadFailed(why, traceback.format_exc()) from error


def preload(names: Iterable[str]) -> Preloaded:
    """Import *names* for forks of this process, with the libraries for computation kept to one thread.

    Raises:
        PreloadFailed: a module cannot be imported, or has initialised CUDA.
    """
    found = Preloaded()
    threads, descriptors = _threads(), _shared_descriptors()
    with _one_thread(found.environment):
        for name in names:
            watch = Stopwatch()
            _import(name)
            seconds = watch.read()
            if seconds >= SLOW:
                found.slow.append({"module": name, "seconds": seconds, "advice": advice_for(name)})
            if _has_initialised_cuda():
                raise PreloadFailed(
                    f"preload of {name!r} has initialised CUDA, which no forked process can use: "
                    "initialise it in the nodes, for example in on_start"
                )
            earlier, threads = threads, _left_of(threads)
            if threads - earlier:
                found.thread_modules.append(name)
            before, descriptors = descriptors, _shared_descriptors()
            opened = [descriptors[fd] for fd in sorted(descriptors.keys() - before.keys())]
            if opened:
                found.descriptor_modules.append(name)
                found.descriptors += opened
    found.threads = len(threads)
    main = threading.main_thread()
    found.thread_names = [thread.name for thread in threading.enumerate() if thread is not main]
    return found


@contextmanager
def _one_thread(changed: dict[str, str | None]) -> Iterator[None]:
    """Have libraries compute in one thread during the block; put into *changed* what it has set otherwise."""
    added = [name for name in THREAD_VARIABLES if name not in os.environ]
    os.environ.update(dict.fromkeys(added, "1"))
    before = dict(os.environ)
    yield
    for name in before.keys() | os.environ.keys():
        if os.environ.get(name) != before.get(name):
            changed[name] = os.environ.get(name)
    for name in added:
        if name not in changed:
            del os.environ[name]


def _has_initialised_cuda() -> bool:
    torch: Any = sys.modules.get("torch")
    with suppress(Exception):  # it is no torch that this knows
        return bool(torch.cuda.is_initialized())
    return False


def _threads() -> set[str]:
    return set(os.listdir("/proc/self/task"))  # noqa: PTH208 - names are wanted


def _left_of(before: set[str]) -> set[str]:
    """Return the threads there are now, once those are gone that are about to end."""
    until = time.monotonic() + _SETTLE
    while (threads := _threads()) - before and time.monotonic() < until:
        time.sleep(_POLL)
    return threads


def _shared_descriptors() -> dict[int, str]:
    """Return the descriptors of which a fork and this process would use one and the same: no files."""
    found: dict[int, str] = {}
    for entry in Path("/proc/self/fd").iterdir():
        with suppress(OSError):  # that of the folder itself
            target = str(entry.readlink())
            if target.startswith(("socket:", "pipe:", "anon_inode:")):
                found[int(entry.name)] = target
    return found


def wait_for_sleep(seconds: float) -> bool:
    """Wait until all other threads of this process sleep; return whether they do.

    A thread that runs may hold a lock of the memory allocator, which a fork would find locked for ever.
    """
    until = time.monotonic() + seconds
    while any(_runs(thread) for thread in _threads() - {str(os.getpid())}):
        if time.monotonic() >= until:
            return False
        time.sleep(_POLL)
    return True


def _runs(thread: str) -> bool:
    try:
        return process_stat(f"self/task/{thread}")[0] != "S"
    except OSError:
        return False  # it has ended
