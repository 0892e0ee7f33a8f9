"""The functions that both pools run, and how many tasks are measured."""

import hashlib
from typing import Final

__all__ = ["CHUNK", "HASHES", "IMAGES", "NOOPS", "UNDER_WAY", "WORKERS", "noop", "scrypt"]

WORKERS: Final = 2
NOOPS: Final = 10_000
UNDER_WAY: Final = 500
CHUNK: Final = 32
HASHES: Final = 60
IMAGES: Final = 60


def noop(number: int) -> int:
    """Return what it is given: what is measured is the way to the worker and back."""
    return number


def scrypt(number: int) -> int:
    """Hash one password."""
    salt = b"salt%d" % number
    key = hashlib.scrypt(b"password", salt=salt, n=16384, r=8, p=1, maxmem=64 << 20, dklen=64)
    return len(key)
