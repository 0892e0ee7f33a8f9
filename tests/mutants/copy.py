"""A copy of the checkout in which mutants are tried, one after another."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from enum import Enum, auto
from itertools import count
from pathlib import Path
from typing import Final

from tests.mutants.covering import SETTINGS, TIMES, Covering, measured
from tests.mutants.files import BESIDE_C
from tests.mutants.mutant import ROOT, Mutant

__all__ = ["APART", "Copy", "Verdict"]

_FOLDERS: Final = ("actors", "examples", "supervisors", "tests", "transport")
_PATIENCE: Final = 300.0
"""Seconds after which tests count as hung, which is a way to notice a mutant."""
_HANGS: Final = ("-o", "timeout=30", "-o", "faulthandler_timeout=0")
"""A test that hangs has noticed: it is not waited for as long as one that ought to pass."""
APART: Final = ("unshare", "--pid", "--fork", "--mount-proc", "--kill-child")
"""In process numbers of its own: a mutant of what sends signals may send them to all processes that it sees."""
_REAPER: Final = ("sh", "-c", '"$@"; exit $?', "sh")
"""The first process there, as pytest would not reap what tests leave behind."""
_PASSED: Final = 0
_FAILED: Final = 1
_INTERRUPTED: Final = 2  # pytest's code for an error while collecting, such as in an import


class Verdict(Enum):
    """What the tests said of a mutant."""

    KILLED = auto()
    SURVIVED = auto()
    BROKEN = auto()


class Copy:
    """The sources and the tests, in a folder of their own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._times = count(1_000_000_000)
        self._pytest: subprocess.Popen[bytes] | None = None
        unwanted = shutil.ignore_patterns("__pycache__")
        for name in _FOLDERS:
            shutil.copytree(ROOT / name, folder / name, symlinks=True, ignore=unwanted)
        for name in ("pyproject.toml", "README.md"):
            shutil.copy(ROOT / name, folder / name)

    def verdict(self, mutant: Mutant, covering: Covering) -> Verdict:
        """Try *mutant*, first by the tests that run it; the copy is afterwards as before."""
        path = self._folder / mutant.file
        source = path.read_text(encoding="utf-8")
        first = covering.tests_of(mutant, source)
        self._write(path, mutant.applied(source))
        try:
            verdict = self._run(first, beside_c=mutant.file in BESIDE_C)
            if verdict is Verdict.SURVIVED and first != mutant.tests:
                # Perhaps a node in a process of its own runs it too, and another test notices.
                verdict = self._run(mutant.tests, beside_c=mutant.file in BESIDE_C)
            return verdict
        finally:
            self._write(path, source)

    def measure(self, tests: Sequence[str], files: Sequence[str], covering: Covering) -> bool:
        """Run *tests* on what was not changed and add what they run of *files*; return whether all pass."""
        settings, data = self._folder / "coveragerc", self._folder / "coverage"
        settings.write_text(SETTINGS.format(data=data), encoding="utf-8")
        measuring = ["-m", "coverage", "run", f"--rcfile={settings}", "-m", "pytest"]
        plugin = ["-p", "tests.mutants.covering"]
        beside_c = not BESIDE_C.isdisjoint(files)
        if self._run([*plugin, *tests], measuring, beside_c=beside_c) is not Verdict.SURVIVED:
            return False
        seconds = json.loads((self._folder / "times").read_text(encoding="utf-8"))
        covering.add(measured(data, self._folder, files), seconds)
        return True

    def _write(self, path: Path, source: str) -> None:
        """Write a source in such a way that no bytecode of another one is taken for its own."""
        path.write_text(source, encoding="utf-8")
        moment = next(self._times)
        os.utime(path, (moment, moment))

    def _run(
        self, tests: Sequence[str], program: Sequence[str] = ("-m", "pytest"), *, beside_c: bool
    ) -> Verdict:
        """Run *tests* up to the first that fails."""
        options = ["-q", "-x", "--no-header", "-p", "no:cacheprovider", *_HANGS]
        # Programs that the tests start must not import the checkout that is installed.
        environment = {
            **os.environ,
            "PYTHONPATH": str(self._folder),
            "FIRE_SECONDS": "15",
            # The mistakes are in Python code, of which some does not run beside its twin in C.
            "ACTORS_SPEEDUPS": "1" if beside_c else "0",
            TIMES: str(self._folder / "times"),
        }
        with subprocess.Popen(
            [*APART, *_REAPER, sys.executable, *program, *options, *tests],
            cwd=self._folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        ) as self._pytest:
            try:
                code = self._pytest.wait(_PATIENCE)
            except subprocess.TimeoutExpired:
                return Verdict.KILLED
            finally:
                self.stop()
        if code == _PASSED:
            return Verdict.SURVIVED
        known = code in {_FAILED, _INTERRUPTED} or code < 0
        return Verdict.KILLED if known else Verdict.BROKEN

    def stop(self) -> None:
        """Kill the tests that run here, with what they have started."""
        if self._pytest is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._pytest.pid, signal.SIGKILL)
