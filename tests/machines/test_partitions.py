"""Machines that cannot reach each other: nothing runs twice or hangs, and what was cut goes on, or ends."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.machines.parted_system import WAYS, PartedSystem, cut_by_chance, parted_system
from tests.machines.virtual_network import VirtualNetwork, needs_namespaces

pytestmark = [needs_namespaces, pytest.mark.timeout(300)]

LEASE = 3.0


@pytest.fixture
def network() -> Iterator[VirtualNetwork]:
    with VirtualNetwork(3) as network:
        yield network


@pytest.fixture
def system(network: VirtualNetwork, tmp_path: Path) -> Iterator[PartedSystem]:
    with parted_system(network, tmp_path, LEASE) as system:
        yield system


@pytest.mark.parametrize("ways", WAYS.values(), ids=WAYS)
def test_a_cut_of_more_than_a_lease_ends_the_old_run_before_a_new_one_begins(
    network: VirtualNetwork, system: PartedSystem, ways: list[tuple[int, int]]
) -> None:
    system.do("ask", "before")
    first = system.heard(name="before")["answer"]
    network.cut(*ways)
    time.sleep(0.1)
    system.do("ask", "meanwhile")
    lost = system.heard(event="place_lost")
    assert lost["by"] == "its lease"
    failed = system.heard(name="meanwhile")
    assert failed["error"] == "NodeDown"
    assert failed["at"] - lost["at"] < 1.0
    network.heal()
    system.do("ask", "after")
    assert system.heard(name="after")["answer"] != first
    assert system.overlaps() == []
    (_, _, ended), *_ = system.runs()
    assert ended < lost["at"]


def test_a_cut_of_less_than_a_lease_costs_nothing_but_time(
    network: VirtualNetwork, system: PartedSystem
) -> None:
    system.do("ask", "before")
    first = system.heard(name="before")["answer"]
    network.part(1, 2)
    system.do("ask", "meanwhile")
    system.heard(event="place_silent")
    network.heal()
    assert system.heard(name="meanwhile")["answer"] == first
    assert system.told("node_died") == []
    assert len(system.runs()) == 1


def test_nodes_that_cannot_reach_each_other_live_on(
    network: VirtualNetwork, system: PartedSystem
) -> None:
    system.do("across", "before")
    first = system.heard(name="before")["answer"]
    network.part(2, 3)
    system.do("across", "meanwhile")
    failed = system.heard(name="meanwhile")
    assert failed["error"] == "NodeDown"
    assert "cannot be reached from far/1" in failed["text"]
    parted = (system.told("link_parted") or [system.heard(event="link_parted")])[0]
    assert {name.partition("~")[0] for name in parted["nodes"]} == {"far/0", "far/1"}
    system.do("ask", "by the parent")
    assert system.heard(name="by the parent")["answer"] == first
    network.heal()
    system.do("across", "after")
    assert system.heard(name="after")["answer"] == first
    assert system.told("node_died") == []
    assert len(system.told("link_parted")) == 1


def test_cuts_by_chance_never_let_two_incarnations_run_at_once(
    network: VirtualNetwork, system: PartedSystem
) -> None:
    cut_by_chance(network, system, times=3, longest=2 * LEASE)
    assert system.overlaps() == []
