"""The chat over two machines: nobody misses a message, whatever dies, and however the network is cut."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.machines.far_chat import LEASE, far_chat
from tests.machines.virtual_network import VirtualNetwork, needs_namespaces

pytestmark = [needs_namespaces, pytest.mark.timeout(300)]


@pytest.fixture
def network() -> Iterator[VirtualNetwork]:
    with VirtualNetwork(3) as network:
        yield network


def test_nobody_misses_a_message_when_nodes_and_agents_are_killed_and_machines_parted(
    network: VirtualNetwork, tmp_path: Path
) -> None:
    with far_chat(network, tmp_path) as chat:
        chat.round()
        chat.kill_node("web/1")
        chat.kill_node("rooms/0")
        chat.round()
        chat.kill_agent("web@1")
        chat.round()
        chat.cut(LEASE / 4)
        chat.cut(1.5 * LEASE)
        chat.round()
    [said] = [facts for facts in chat.crowd.said if "said" in facts] or [chat.crowd.heard()]
    assert min(said["said"]) > 0
    assert said["nodes"] == ["web/0", "web/1"]
