"""`python -m benchmarks [name ...]`: runs benchmarks, prints the ratios and the missed targets.

`python -m benchmarks modes` has no peer: it shows what each way to send a payload costs on this machine.
`--busy 3` has three processes compute beside both sides; `--before FOLDER` compares with the programs of
another checkout in place of the peers.

Exit codes: 0 all targets reached, 1 some missed, 2 something could not be run.
"""

import argparse
import os
import platform
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from benchmarks._before import beside
from benchmarks._catalogue import CATALOGUE, GROUPS
from benchmarks._harness import Benchmark, BenchmarkError, Row, compare, table
from benchmarks._loops import awake, busy
from benchmarks._modes import show

MISSED: Final = 1
BROKEN: Final = 2
MODES: Final = "modes"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmarks named, or all of them, and return an exit code."""
    options = _options(arguments)
    print(_machine())
    if options.names == [MODES]:
        with awake():
            show()
        return 0
    try:
        # Look for every peer first: a missing one is reported now, not after minutes of other benchmarks.
        chosen = [_chosen(name, options.before) for name in options.names or CATALOGUE]
        with awake() as kept, busy(options.busy):
            print("processors kept awake" if kept else "processors may sleep")
            if options.busy:
                print(f"{options.busy} processes compute beside both sides")
            measured = [row for benchmark in chosen for row in _show(benchmark, options.rounds)]
    except BenchmarkError as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return BROKEN
    missed = sum(row.verdict == "miss" for row in measured)
    print(f"\n{len(measured)} ratios, {missed} below target" if missed else "\nall targets reached")
    return MISSED if missed else 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    known = {*CATALOGUE, *GROUPS}
    parser.add_argument(
        "names",
        nargs="*",
        metavar="name",
        help=", ".join([*CATALOGUE, *GROUPS]) + f", or {MODES} alone",
    )
    parser.add_argument("--rounds", type=int, default=5, help="runs of each side (default 5)")
    parser.add_argument(
        "--busy", type=int, default=0, metavar="N", help="processes that compute beside (default 0)"
    )
    parser.add_argument(
        "--before", type=Path, metavar="FOLDER", help="a checkout to compare with, not the peers"
    )
    options = parser.parse_args(arguments)
    if options.names == [MODES]:
        return options
    if unknown := [name for name in options.names if name not in known]:
        parser.error(f"no benchmark {unknown[0]!r}: there are {', '.join([*CATALOGUE, *GROUPS])}")
    if options.rounds < 1:
        parser.error(f"--rounds must be 1 or more, got {options.rounds}")
    if options.busy < 0:
        parser.error(f"--busy must be 0 or more, got {options.busy}")
    options.names = [one for name in options.names for one in GROUPS.get(name, [name])]
    return options


def _chosen(name: str, before: Path | None) -> Benchmark:
    benchmark = CATALOGUE[name]()
    return benchmark if before is None else beside(benchmark, before.absolute())


def _show(benchmark: Benchmark, rounds: int) -> list[Row]:
    def progress(line: str) -> None:
        if sys.stderr.isatty():
            print(f"\r{line}\033[K", end="", file=sys.stderr, flush=True)

    measured = compare(benchmark, rounds=rounds, progress=progress)
    progress("")
    print(f"\n{benchmark.name}: medians of {rounds} rounds (lowest..highest), ratio ours / peer")
    print(table(benchmark, measured), flush=True)
    return measured


def _machine() -> str:
    load = os.getloadavg()[0]
    python = f"{platform.python_implementation()} {platform.python_version()}"
    return f"{python}, {os.cpu_count()} CPUs, load {load:.1f}"


if __name__ == "__main__":
    sys.exit(main())
