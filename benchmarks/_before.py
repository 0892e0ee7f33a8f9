"""Compares a benchmark with what it was: our program of this checkout beside the same one of another."""

import sys
from dataclasses import replace
from pathlib import Path
from typing import Final

from benchmarks._harness import Benchmark, BenchmarkError, Program, Target

__all__ = ["beside"]

_ALIKE: Final = 0.1
"""A ratio within this share of 1 is no difference on a machine that is shared."""


def beside(benchmark: Benchmark, folder: Path) -> Benchmark:
    """Return a benchmark whose peer is our program of the checkout in *folder*, run by its own environment.

    What has a target is to be no worse than there.

    Raises:
        BenchmarkError: the folder has no environment.
    """
    python = folder / ".venv" / "bin" / "python"
    if not python.exists():
        raise BenchmarkError(f"there is no environment in {folder}: {python} is missing")
    ours = benchmark.ours
    words = tuple(str(python) if word == sys.executable else word for word in ours.command)
    return Benchmark(
        name=benchmark.name,
        ours=replace(ours, name="now"),
        peer=Program(name="before", command=words, variables=ours.variables, folder=folder),
        targets=tuple(map(_no_worse, benchmark.targets)),
    )


def _no_worse(target: Target) -> Target:
    if target.at_least is not None:
        return replace(target, at_least=1 - _ALIKE)
    return replace(target, at_most=1 + _ALIKE)
