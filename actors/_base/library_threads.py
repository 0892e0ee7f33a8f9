"""How many threads libraries for computation may start: OpenBLAS, OpenMP, MKL and the like.

Rule: what the user has set stays; if that is `OMP_NUM_THREADS`, which most of them read, nothing is added.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Container

__all__ = ["THREAD_VARIABLES", "thread_settings"]

THREAD_VARIABLES: Final = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
)
"""Variables by which such libraries choose how many threads they start, once they are imported or used."""


def thread_settings(cpus: int, processes: int, given: Container[str]) -> dict[str, str]:
    """Return the variables for a process that shares *cpus* with others, all of which may compute.

    Args:
        cpus: that may be used.
        processes: how many there are, this one included.
        given: the names of the variables that the user has set.
    """
    if "OMP_NUM_THREADS" in given:
        return {}  # the other libraries fall back to it
    share = str(max(1, cpus // max(1, processes)))
    return {name: share for name in THREAD_VARIABLES if name not in given}
