"""How many files this process may have open at a time, for errors that come of it."""

from __future__ import annotations

import errno
import resource

__all__ = ["most_open_files", "with_limit"]


def most_open_files() -> int | None:
    """Return how many files this process may have open (``RLIMIT_NOFILE``); None for any number."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return None if most == resource.RLIM_INFINITY else most


def with_limit(error: BaseException) -> str:
    """Return the text of *error*, with the limit of this process if it is one too many open files."""
    if isinstance(error, OSError) and error.errno == errno.EMFILE:
        return f"{error} (RLIMIT_NOFILE of this process is {most_open_files()}: see `ulimit -n`)"
    return str(error)
