"""A mutant: one small change to a source file that some test has to notice.

Rule: a change is named by its text, never by its line, so that the lists outlive edits elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

__all__ = ["ROOT", "Mutant"]

ROOT: Final = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Mutant:
    """One change.

    Attributes:
        name: what is wrong with the changed program, or where it was changed.
        file: the file, from the root of the repository.
        old: the text that is changed; it occurs once in the file, unless `at` says where it begins.
        new: what stands there instead.
        tests: what pytest runs; one of these tests must fail.
        at: the character in the file at which `old` begins.
    """

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]
    at: int | None = None

    def applied(self, source: str) -> str:
        """Return *source* with the change.

        Raises:
            ValueError: the text is not there, or more than once.
        """
        if self.at is None and source.count(self.old) != 1:
            raise ValueError(
                f"{self.file} has {self.old!r} {source.count(self.old)} times: {self.name}"
            )
        at = source.index(self.old) if self.at is None else self.at
        return source[:at] + self.new + source[at + len(self.old) :]

    @property
    def change(self) -> str:
        """The change in one line."""
        return f"{' '.join(self.old.split())}  ->  {' '.join(self.new.split())}"
