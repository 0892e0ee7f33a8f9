"""How many files a reader has to know to follow a message, and a crash."""

from __future__ import annotations

import json
import subprocess
import sys

from tests.docs.pages import ROOT

MOST_FOR_AN_ASK = 12
MOST_FOR_A_CRASH = 27


def test_an_ask_over_a_process_node_and_a_crash_enter_few_files() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.house.files_entered"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )

    ways = json.loads(done.stdout)
    assert len(ways["ask_over_a_process_node"]) <= MOST_FOR_AN_ASK, done.stdout
    assert len(ways["crash_to_next_message"]) <= MOST_FOR_A_CRASH, done.stdout
