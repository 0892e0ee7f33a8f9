"""Agents of other hosts, in network namespaces: they dial the parent, and each other's nodes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.machines.joining import Cluster
from tests.machines.virtual_network import VirtualNetwork, needs_namespaces
from tests.scripts import ROOT

pytestmark = [needs_namespaces, pytest.mark.timeout(200)]


def test_agents_find_a_parent_that_listens_everywhere_and_their_nodes_find_each_other(
    tmp_path: Path,
) -> None:
    cluster = Cluster(tmp_path)
    with VirtualNetwork(3) as network:
        for host in (2, 3):
            cluster.agent(f"{network.address(1)}:7000", run=tuple(network.on(host)))
        try:
            parent = [sys.executable, "-m", "tests.machines.joined_parent", str(cluster.secret)]
            done = subprocess.run(
                [*network.on(1), *parent],
                cwd=ROOT,
                capture_output=True,
                text=True,
                timeout=120,
                check=False,
            )
            assert done.stdout == "7 6\n", done.stderr + cluster.agents[0].output
        finally:
            cluster.close()
