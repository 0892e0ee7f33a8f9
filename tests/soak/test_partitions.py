"""Machines that lose each other 200 times: no two incarnations of an actor run at the same time, ever."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import pytest

from tests.machines.parted_system import cut_by_chance, parted_system
from tests.machines.virtual_network import VirtualNetwork, needs_namespaces

CUTS: Final = int(os.environ.get("CUTS", "200"))
LEASE: Final = 2.0

pytestmark = [pytest.mark.soak, pytest.mark.timeout(7200), needs_namespaces]


def test_200_cuts_never_let_two_incarnations_run_at_once(tmp_path: Path) -> None:
    with VirtualNetwork(3) as network, parted_system(network, tmp_path, LEASE) as system:
        cut_by_chance(network, system, times=CUTS, longest=2 * LEASE)
        assert system.overlaps() == []
        assert len(system.runs()) > CUTS / 10, "some of the cuts were longer than a lease"
