"""Mutants that no test can notice, or that none should, each with the reason."""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import Mutant

__all__ = ["REASONS", "reason_of"]

_SPEED: Final = "how much is written at a time: a little more or less is a little faster or slower"

REASONS: Final[dict[tuple[str, str], str]] = {
    ("transport/wire/outbox.py, module", "32  ->  (32 + 1)"): _SPEED,
    ("transport/wire/outbox.py, module", "1024  ->  (1024 + 1)"): _SPEED,
}
"""By the name of the mutant and the change in one line."""


def reason_of(mutant: Mutant) -> str | None:
    """Return why *mutant* may survive, None if it may not."""
    return REASONS.get((mutant.name, mutant.change))
