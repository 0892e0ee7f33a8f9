"""Mutants that no test can notice, or that none should, each with the reason."""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import Mutant

__all__ = ["REASONS", "reason_of"]

REASONS: Final[dict[tuple[str, str], str]] = {}
"""By the name of the mutant and the change in one line."""


def reason_of(mutant: Mutant) -> str | None:
    """Return why *mutant* may survive, None if it may not."""
    return REASONS.get((mutant.name, mutant.change))
