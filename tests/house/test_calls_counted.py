"""A message enters few of our functions; each costs as much as a part of the message itself."""

from __future__ import annotations

import json
import os
import subprocess
import sys

from tests.docs.pages import ROOT

MOST: dict[str, tuple[int, int]] = {
    "local tell int": (4, 0),
    "local tell dict": (9, 0),
    "local tell object": (9, 0),
    "local ask int": (7, 0),
    "local ask dict": (13, 0),
    "local ask object": (12, 0),
    "process tell int": (6, 6),
    "process tell dict": (10, 6),
    "process tell object": (12, 9),
    "process ask int": (17, 19),
    "process ask dict": (20, 19),
    "process ask object": (22, 22),
    "thread tell int": (8, 14),
    "thread tell dict": (16, 18),
    "thread tell object": (16, 18),
    "thread ask int": (25, 26),
    "thread ask dict": (29, 26),
    "thread ask object": (29, 26),
}
"""By node, verb and payload: the calls at the sender's node and at the receiver's.

Those of tells depend on how many come together, so they have some room.
"""


def test_messages_take_few_calls() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.house.calls_counted"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        # Who looks into a ring calls functions while others would sleep.
        env=os.environ | {"ACTORS_RING_AT": "0"},
    )

    found = json.loads(done.stdout)
    over = {
        way: calls
        for way, calls in found.items()
        if any(count > most for count, most in zip(calls, MOST[way], strict=True))
    }
    assert found.keys() == MOST.keys()
    assert over == {}
