"""C code and its twins in Python agree on a hundred thousand damaged messages, and on many more values."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from actors._extensions import not_loaded
from actors.transport import Decoder, register
from actors.transport.types import twins
from tests.transport.sample_values import Registered
from tests.transport.test_twins import damaged, in_python, read

MESSAGES = int(os.environ.get("FUZZ_MESSAGES", "1000000")) // 10
SEED = int(os.environ.get("FUZZ_SEED", "0")) or int.from_bytes(os.urandom(3))
EACH = 100

pytestmark = [
    pytest.mark.soak,
    pytest.mark.timeout(3600),
    pytest.mark.skipif(twins.COMPILED is None, reason=not_loaded()),
    pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),
]

register(Registered, lambda thing: thing.value, Registered)


def test_both_make_the_same_of_damaged_messages() -> None:
    print(f"\nFUZZ_SEED={SEED}", end="")  # noqa: T201 - a soak says what it has tried
    compared, seed = 0, SEED
    while compared < MESSAGES:
        for introductions, body, bad in damaged(seed, EACH):
            ours, theirs = Decoder(), in_python(Decoder)
            assert read(ours, introductions, body) == read(theirs, introductions, body), (
                seed,
                body,
            )
            assert read(ours, (), bad) == read(theirs, (), bad), (seed, bad)
            compared += 1
        seed += 1


def test_both_do_the_same_with_many_values() -> None:
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "tests/transport/test_twins.py",
        "-o",
        "timeout=3000",
    ]
    environment = os.environ | {"TWIN_EXAMPLES": "5000"}

    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout[-5000:]
