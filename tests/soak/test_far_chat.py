"""The chat over two machines for long: nodes and agents are killed, and the network is cut, by chance."""

from __future__ import annotations

import os
import random
import sys
import time
from pathlib import Path
from typing import Final

import pytest

from tests.machines.far_chat import LEASE, far_chat
from tests.machines.virtual_network import VirtualNetwork, needs_namespaces

SECONDS: Final = float(os.environ.get("CHAT_SECONDS", "600"))

pytestmark = [pytest.mark.soak, pytest.mark.timeout(SECONDS + 600), needs_namespaces]


def test_nobody_misses_a_message_for_as_long_as_it_lasts(tmp_path: Path) -> None:
    chance, until = random.Random(1), time.monotonic() + SECONDS
    done = dict.fromkeys(("node", "room", "agent", "cut"), 0)
    with VirtualNetwork(3) as network, far_chat(network, tmp_path, people=6) as chat:
        while time.monotonic() < until:
            what = chance.choice(list(done))
            done[what] += 1
            if what == "node":
                chat.kill_node(chance.choice(["web/0", "web/1"]))
            elif what == "room":
                chat.kill_node("rooms/0")
            elif what == "agent":
                chat.kill_agent(chance.choice(["web@0", "web@1"]))
            else:
                chat.cut(chance.uniform(0.1, 2 * LEASE))
            chat.round()
    said = chat.crowd.heard()["said"]
    sys.stdout.write(f"the chat over two machines: {done}, messages of each room: {said}\n")
