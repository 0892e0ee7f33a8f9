"""Pictures and big arrays that both pools work on."""

import io
from typing import Any, Final

import numpy as np
from PIL import Image

__all__ = ["big_array", "resize", "total"]

BIG: Final = 100_000_000
"""Bytes of the big array."""


def resize(number: int) -> int:
    """Make a picture, scale it down and write it as WebP."""
    picture = Image.new("RGB", (1600, 1200), (number % 256, 90, 120))
    target = io.BytesIO()
    picture.resize((400, 300), Image.Resampling.LANCZOS).save(target, "WEBP", quality=80)
    return target.tell()


def total(values: Any) -> float:
    """Add an array up."""
    return float(values.sum())


def big_array() -> Any:
    """Make an array of 100 MB."""
    return np.ones(BIG // 8)
