"""Which release of the user's code a place has, and whether the system takes it.

Rule: another one than the system has is taken only while it is being replaced: by a reload, or by an engine
that ends one agent after another in order. What was taken once is one of the system's from then on.
"""

from __future__ import annotations

import os
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["RELEASE", "Stamps", "version_of"]

RELEASE: Final = "ACTORS_RELEASE"
"""The variable with which an engine names the release of the code that it has shipped."""


def version_of(distribution: str) -> str:
    """Return the version of a distribution that is installed here, "" if it is not."""
    try:
        return version(distribution) if distribution else ""
    except PackageNotFoundError:
        return ""


class Stamps:
    """The releases that the places of a system may have.

    Args:
        distribution: the one that has the user's code, by whose version releases differ where `RELEASE` is not
            set; "" for none.
        reloading: returns whether a reload runs.

    Attributes:
        distribution: as the argument.
    """

    def __init__(self, distribution: str, reloading: Callable[[], bool]) -> None:
        self.distribution = distribution
        self._reloading = reloading
        self._release = os.environ.get(RELEASE, "")
        self._own = self._release or version_of(distribution)
        self._taken = {self._own}

    def problem_of(self, release: str, installed: str, *, replaces: bool) -> str:
        """Return why a place cannot be of the system, "" if it can; then its release is one of the system's.

        Args:
            release: what it has in `RELEASE`.
            installed: the version of the distribution there.
            replaces: whether it follows one that was ended in order.
        """
        problem = self._difference(release, installed)
        if problem and (replaces or self._reloading()):
            self._taken.add(release or installed)
            return ""
        return problem

    def problem_of_spare(self, release: str) -> str:
        """Return why no place can have an agent with this in `RELEASE` now, "" if one may."""
        return "" if self._reloading() else self._difference(release, "")

    def _difference(self, release: str, installed: str) -> str:
        if bool(release) != bool(self._release):
            return ""  # they say different things
        stamp = release or installed
        if not stamp or not self._own or stamp in self._taken:
            return ""
        if release:
            return f"its agent has {RELEASE}={release!r}, and this process has {self._own!r}"
        what = self.distribution
        return f"its agent has {what} {installed}, and this process has {what} {self._own}"
