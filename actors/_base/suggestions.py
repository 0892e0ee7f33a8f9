"""What a misspelt word was probably meant to be."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = ["did_you_mean"]


def did_you_mean(value: str, known: Iterable[str], prefix: str = "") -> str:
    """Return "; did you mean ...?" when one of *known* is close to *value*, else nothing."""
    close = difflib.get_close_matches(value, list(known), n=1)
    return f"; did you mean {prefix + close[0]!r}?" if close else ""
