"""Runs mutants: the named ones, and those that are made of the files in `FILES`.

    python -m tests.mutants [--minutes M] [--jobs N] [--seed S] [--named] [WORD ...]

Each is applied in a copy of the checkout, and the tests that should notice it run there, first those that run
the changed line, in a PID namespace: a mutant of what sends signals may send them to all processes. A mutant
that no test notices survives; one that is neither killed nor listed with a reason is a failure.

Mutmut (3.8) tries only what the process of pytest itself runs: of the first 305 mutants that it made of
`_remoting/receiver.py`, which nodes run, it left out 301.
"""

from __future__ import annotations

import argparse
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import Final

from tests.mutants.copy import APART, Copy, Verdict
from tests.mutants.covering import Covering
from tests.mutants.files import FILES
from tests.mutants.generated import mutants_of
from tests.mutants.mutant import Mutant
from tests.mutants.named import NAMED
from tests.mutants.survivors import reason_of
from tests.namespaces import why_no_namespaces

_SHOWN: Final = {Verdict.SURVIVED: "SURVIVED", Verdict.BROKEN: "tests did not run"}


def _arguments(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0, help="how long generated ones run")
    parser.add_argument("--jobs", type=int, default=2, help="mutants at a time")
    parser.add_argument("--seed", type=int, default=None, help="the order of generated ones")
    parser.add_argument("--named", action="store_true", help="the named ones only")
    parser.add_argument("words", nargs="*", help="only those with one of these in their names")
    return parser.parse_args(argv)


def _chosen(arguments: argparse.Namespace) -> tuple[list[Mutant], list[Mutant]]:
    """Return the named mutants, and the generated ones in random order."""
    words = arguments.words

    def wanted(mutant: Mutant) -> bool:
        return not words or any(word in mutant.name for word in words)

    made = (
        [] if arguments.named else [m for f, tests in FILES.items() for m in mutants_of(f, tests)]
    )
    seed = arguments.seed if arguments.seed is not None else random.randrange(1 << 16)
    print(f"seed {seed}", flush=True)
    random.Random(seed).shuffle(made)
    return [m for m in NAMED if wanted(m)], [m for m in made if wanted(m)]


class Run:
    """Mutants, some at a time, each in one of the copies, and what became of them."""

    def __init__(self, folder: Path, jobs: int) -> None:
        self.counts: Counter[str] = Counter()
        self.failed: list[str] = []
        self._covering = Covering()
        self._jobs = jobs
        self._stopped = False
        self._copies = [Copy(folder / str(number)) for number in range(jobs)]
        self._free: SimpleQueue[Copy] = SimpleQueue()
        for copy in self._copies:
            self._free.put(copy)

    def stop(self, *_: object) -> None:
        """End at once (a handler of signals): nothing is left running."""
        self._stopped = True
        for copy in self._copies:
            copy.stop()
        raise SystemExit("stopped")

    def check_tests(self, mutants: list[Mutant]) -> None:
        """Run every test that is to notice something, without mutants: all pass, and what they run is seen."""
        files: dict[tuple[str, ...], set[str]] = {}
        for mutant in mutants:
            files.setdefault(mutant.tests, set()).add(mutant.file)
        with ThreadPoolExecutor(self._jobs) as pool:
            failed = [tests for tests in pool.map(self._fails, files, files.values()) if tests]
        if failed:
            sys.exit(f"these tests fail without any mutant: {failed}")

    def _fails(self, tests: tuple[str, ...], files: set[str]) -> tuple[str, ...]:
        if self._stopped:
            return ()
        copy = self._free.get()
        try:
            return () if copy.measure(tests, sorted(files), self._covering) else tests
        finally:
            self._free.put(copy)

    def run(self, mutants: list[Mutant], until: float = float("inf")) -> None:
        """Run *mutants*, of which none begins after *until* in monotonic seconds."""
        with ThreadPoolExecutor(self._jobs) as pool:
            for _ in pool.map(lambda mutant: self._one(mutant, until), mutants):
                pass

    def _one(self, mutant: Mutant, until: float) -> None:
        if self._stopped or time.monotonic() > until:
            self.counts["not run"] += 1
            return
        copy = self._free.get()
        try:
            verdict = copy.verdict(mutant, self._covering)
        finally:
            self._free.put(copy)
        why = reason_of(mutant)
        if verdict is Verdict.KILLED:
            self.counts["killed"] += 1
            if mutant in NAMED:
                print(f"killed: {mutant.name}", flush=True)
        elif verdict is Verdict.SURVIVED and why:
            self.counts["survived, with a reason"] += 1
        else:
            self.counts[_SHOWN[verdict]] += 1
            self.failed.append(mutant.name)
            print(f"{_SHOWN[verdict]}: {mutant.name}: {mutant.change}", flush=True)


def main(argv: Sequence[str]) -> int:
    """Run what was asked for; return 1 if some mutant survives that is not listed."""
    arguments = _arguments(argv)
    if why := why_no_namespaces(*APART[1:]):
        sys.exit(f"a mutant may kill whatever this user may, and there is no PID namespace: {why}")
    named, made = _chosen(arguments)
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        run = Run(Path(folder), arguments.jobs)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, run.stop)
        run.check_tests(named + made)
        run.run(named)
        run.run(made, time.monotonic() + arguments.minutes * 60)
    print(f"{len(named)} named, {len(made)} generated: {dict(run.counts)}")
    return 1 if run.failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
