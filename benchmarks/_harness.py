"""Runs two programs in turn, and computes the ratios between their figures.

Rule 1: a program measures itself and prints a JSON object per line: `metric`, `payload`, `value`.
Rule 2: nothing here knows what is measured; that, and the targets, is `_catalogue.py`.
Rule 3: a ratio is always ours / peer within one round; medians are taken of ratios, not of figures.
"""

import json
import os
import statistics
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

ROOT = Path(__file__).resolve().parent.parent

# Seconds; longer than any program here needs on a busy machine.
PROGRAM_TIMEOUT = 300.0

Key: TypeAlias = tuple[str, str]
"""Metric and payload, such as `("tell/s", "int")`."""

Figures: TypeAlias = dict[Key, float]


class BenchmarkError(Exception):
    """A benchmark could not be run; the message says what to do about it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """One side of a benchmark: a command that prints figures.

    Attributes:
        name: of its column.
        command: its words.
        variables: of its environment, beside those of this process.
        folder: where it runs.
    """

    name: str
    command: tuple[str, ...]
    variables: Mapping[str, str] = field(default_factory=dict)
    folder: Path = ROOT

    def run(self) -> Figures:
        """Run the program once and return what it measured.

        Raises:
            BenchmarkError: The program is missing, failed, hung, or printed something else.
        """
        try:
            done = subprocess.run(
                self.command,
                cwd=self.folder,
                env={**os.environ, **self.variables},
                capture_output=True,
                check=True,
                text=True,
                timeout=PROGRAM_TIMEOUT,
            )
        except FileNotFoundError as error:
            raise BenchmarkError(f"{self.name}: {self.command[0]} is not installed") from error
        except subprocess.TimeoutExpired as error:
            raise BenchmarkError(f"{self.name}: no end after {PROGRAM_TIMEOUT:.0f} s") from error
        except subprocess.CalledProcessError as error:
            last = "\n".join(error.stderr.strip().splitlines()[-15:])
            raise BenchmarkError(f"{self.name}: ended with {error.returncode}\n{last}") from error
        return parse(done.stdout, by=self.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """Fixed figures in place of a peer: limits that we promise to keep."""

    figures: Figures
    name: str = "promised"

    def run(self) -> Figures:
        """Return the figures."""
        return self.figures


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """The ratio ours / peer to reach: `at_least` where more is better, else `at_most`.

    It applies to every payload of the metric, or to one.
    """

    metric: str
    payload: str | None = None
    at_least: float | None = None
    at_most: float | None = None

    def __post_init__(self) -> None:
        if (self.at_least is None) is (self.at_most is None):
            raise ValueError(f"{self.metric}: give either at_least or at_most")

    def met_by(self, ratio: float) -> bool:
        """Return whether *ratio* reaches the target."""
        if self.at_least is not None:
            return ratio >= self.at_least
        return self.at_most is not None and ratio <= self.at_most

    def __str__(self) -> str:
        return f">= {self.at_least:g}" if self.at_least is not None else f"<= {self.at_most:g}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Benchmark:
    """Our program, the peer's, and the targets of their ratios."""

    name: str
    ours: Program
    peer: Program | Limit
    targets: tuple[Target, ...]


@dataclass(frozen=True, slots=True)
class Spread:
    """The median of some figures, with the lowest and the highest."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """Summarise *values*, at least one."""
        return cls(statistics.median(values), min(values), max(values))

    def __str__(self) -> str:
        return f"{_short(self.median)} ({_short(self.low)}..{_short(self.high)})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the table: one metric with one payload."""

    key: Key
    ours: Spread
    peer: Spread
    ratio: Spread
    target: Target | None

    @property
    def verdict(self) -> str:
        """`pass`, `miss`, or nothing where no target is set."""
        if self.target is None:
            return ""
        return "pass" if self.target.met_by(self.ratio.median) else "miss"


def parse(output: str, *, by: str) -> Figures:
    """Return the figures in what the program *by* printed."""
    try:
        lines: list[dict[str, Any]] = [json.loads(line) for line in output.splitlines()]
        figures = {(line["metric"], line["payload"]): float(line["value"]) for line in lines}
    except (ValueError, KeyError, TypeError) as error:
        raise BenchmarkError(f"{by}: not a figure: {output.strip()[:200]!r}") from error
    if not figures or min(figures.values()) <= 0:
        raise BenchmarkError(f"{by}: figures above 0 expected, got {output.strip()[:200]!r}")
    return figures


def compare(
    benchmark: Benchmark, *, rounds: int, progress: Callable[[str], None] = lambda _: None
) -> list[Row]:
    """Run both sides in turn, *rounds* times, and return one row per figure both have."""
    ours: list[Figures] = []
    peer: list[Figures] = []
    for number in range(1, rounds + 1):
        progress(f"{benchmark.name}: round {number} of {rounds}")
        ours.append(benchmark.ours.run())
        peer.append(benchmark.peer.run())
    return rows(ours, peer, benchmark.targets)


def rows(ours: list[Figures], peer: list[Figures], targets: Sequence[Target]) -> list[Row]:
    """Return one row per figure, from the figures of each round of both sides."""
    if {*ours[0]} != {*peer[0]}:
        raise BenchmarkError(f"the two sides measure differently: {[*ours[0]]}, {[*peer[0]]}")
    wanted = {(target.metric, target.payload): target for target in targets}
    return [
        Row(
            key=key,
            ours=Spread.of([figures[key] for figures in ours]),
            peer=Spread.of([figures[key] for figures in peer]),
            ratio=Spread.of([a[key] / b[key] for a, b in zip(ours, peer, strict=True)]),
            target=wanted.get(key) or wanted.get((key[0], None)),
        )
        for key in ours[0]
    ]


def table(benchmark: Benchmark, measured: Sequence[Row]) -> str:
    """Return the rows as aligned text."""
    header = ("metric", "payload", benchmark.ours.name, benchmark.peer.name, "ratio", "target", "")
    lines = [header] + [
        (
            *row.key,
            str(row.ours),
            str(row.peer),
            str(row.ratio),
            str(row.target or ""),
            row.verdict,
        )
        for row in measured
    ]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def _short(value: float) -> str:
    """Return *value* with three significant digits, and k or M for thousands or millions."""
    for unit, size in (("M", 1e6), ("k", 1e3)):
        if value >= size:
            return f"{value / size:.3g}{unit}"
    return f"{value:.3g}"
