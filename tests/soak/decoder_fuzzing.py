"""What `decoder_fuzzer.c` asks of Python: to read an input by both twins, and to change one.

An input is one byte, whose lowest bit says whether the classes of the samples have been introduced, and the
body of a frame. `python -m tests.soak.decoder_fuzzing FOLDER` writes the inputs to begin with;
`python -m tests.soak.decoder_fuzzing FILE ...` reads some again, as what was found has to be.
"""

from __future__ import annotations

import gc
import random
import sys
import warnings
from pathlib import Path
from typing import Final

from actors.transport import Decoder, register
from actors.transport.types import twins
from actors.transport.wire.msgpack import UNPACK_ERRORS, new_packer
from tests.transport.fuzz import rebuilt, unpacked
from tests.transport.sample_values import Registered
from tests.transport.test_twins import damaged, in_python, read

__all__ = ["judge", "mutate"]

_EACH: Final = 4
"""Damaged copies of each sample among the inputs to begin with."""
_COLLECTED: Final = 5_000
"""After so many inputs garbage is collected: decoders are cycles."""


def _other(value: object) -> object:
    raise ValueError(f"{value!r:.80} cannot be packed")


_PACK: Final = new_packer(_other, lenient=True)

warnings.simplefilter("ignore", ResourceWarning)
register(Registered, lambda thing: thing.value, Registered)
assert twins.COMPILED is not None, "the decoder in C is what is to be tried"
_TALKS: Final = list(damaged(1, 1))
_INTRODUCTIONS: Final = _TALKS[0][0]
_PARTS: Final = [message for _, body, _ in _TALKS for message in unpacked(body)]
_count = 0


def judge(data: bytes) -> None:
    """Read an input by both twins.

    Raises:
        AssertionError: they have not made the same of it.
    """
    global _count  # noqa: PLW0603 - of a program of its own
    if not data:
        return
    introductions = _INTRODUCTIONS if data[0] & 1 else ()
    ours, theirs = Decoder(), in_python(Decoder)
    one, other = read(ours, introductions, data[1:]), read(theirs, introductions, data[1:])
    assert repr(one) == repr(other), (one, other)
    _count += 1
    if not _count % _COLLECTED:
        gc.collect()


def mutate(data: bytes, seed: int) -> bytes:
    """Return the input with a value in one of its messages replaced, or nothing if there is none."""
    chance = random.Random(seed)
    try:
        messages = unpacked(data[1:])
        changed = [rebuilt(message, chance, _PARTS) for message in messages]
        return data[:1] + b"".join(map(_PACK, changed)) if changed else b""
    except (*UNPACK_ERRORS, ValueError, OverflowError, RecursionError):
        return b""


def main(paths: list[Path]) -> None:
    """Write inputs to begin with into a folder, or read some again."""
    for path in paths:
        if not path.is_dir():
            judge(path.read_bytes())
            continue
        for number, (_, body, bad) in enumerate(damaged(2, _EACH)):
            for name, bytes_of in (("sound", body), ("damaged", bad)):
                for first in (0, 1):
                    (path / f"{number}-{name}-{first}").write_bytes(bytes([first]) + bytes_of)


if __name__ == "__main__":
    main([Path(word) for word in sys.argv[1:]])
