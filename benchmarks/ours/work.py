"""The functions that both pools run, and how many tasks are measured."""

import hashlib
import io
from typing import Any, Final

import numpy as np
from PIL import Image

__all__ = [
    "BIG",
    "CHUNK",
    "HASHES",
    "IMAGES",
    "NOOPS",
    "UNDER_WAY",
    "WORKERS",
    "big_array",
    "noop",
    "resize",
    "scrypt",
    "total",
]

WORKERS: Final = 2
NOOPS: Final = 10_000
UNDER_WAY: Final = 500
CHUNK: Final = 32
HASHES: Final = 60
IMAGES: Final = 60
BIG: Final = 100_000_000
"""Bytes of the big array."""


def noop(number: int) -> int:
    """Return what it is given: what is measured is the way to the worker and back."""
    return number


def scrypt(number: int) -> int:
    """Hash one password."""
    salt = b"salt%d" % number
    key = hashlib.scrypt(b"password", salt=salt, n=16384, r=8, p=1, maxmem=64 << 20, dklen=64)
    return len(key)


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
