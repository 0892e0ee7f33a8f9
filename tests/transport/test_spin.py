"""A reader looks on after traffic, and only while that pays."""

from __future__ import annotations

from typing import Any

import pytest

from actors.transport.channels.spin import TRIAL, WINDOW, Spin


class Cpu:
    """How often the thread has lost its CPU."""

    def __init__(self) -> None:
        self.lost = 0

    def __call__(self) -> int:
        return self.lost


@pytest.fixture
def cpu() -> Cpu:
    return Cpu()


def wakes_until_it_pays(spin: Spin) -> int:
    wakes = 0
    while not spin.pays:
        spin.woken()
        wakes += 1
        assert wakes < 100_000
    return wakes


def test_it_is_tried_and_goes_on_while_it_finds_something(cpu: Cpu) -> None:
    spin = Spin(cpu)
    for _ in range(1000):
        assert spin.pays
        spin.found()


def test_windows_that_find_nothing_end_it_and_the_next_try_comes_later_each_time(cpu: Cpu) -> None:
    spin = Spin(cpu)
    misses = 0
    while spin.pays:
        spin.missed()
        misses += 1
    assert misses == 4
    tries = []
    for _ in range(9):
        tries.append(wakes_until_it_pays(spin))
        spin.missed()
        assert not spin.pays
    assert tries == [64, 128, 256, 512, 1024, 2048, 4096, 4096, 4096]


def test_a_try_looks_on_for_long_enough_to_wake_who_sleeps_at_the_other_end(cpu: Cpu) -> None:
    spin = Spin(cpu)
    assert spin.window == TRIAL > WINDOW
    spin.missed()
    assert spin.window == TRIAL
    spin.found()
    assert spin.window == WINDOW
    while spin.pays:
        spin.missed()
    wakes_until_it_pays(spin)
    assert spin.window == TRIAL
    spin.found()
    assert spin.window == WINDOW


@pytest.mark.parametrize("hits, misses", [(0, 4), (1, 6), (2, 8), (100, 8)])
def test_each_hit_pays_for_two_misses_and_many_for_eight(cpu: Cpu, hits: int, misses: int) -> None:
    spin = Spin(cpu)
    for _ in range(hits):
        spin.found()
    for _ in range(misses):
        assert spin.pays
        spin.missed()
    assert not spin.pays


def test_of_many_hits_every_eighth_looks_at_the_preemptions() -> None:
    looks: list[int] = []

    def preemptions() -> int:
        looks.append(1)
        return 0

    spin = Spin(preemptions)
    for _ in range(2):
        spin.found()
    looks.clear()
    for _ in range(80):
        spin.found()
    assert len(looks) == 10


def test_more_hits_than_misses_keep_it(cpu: Cpu) -> None:
    spin = Spin(cpu)
    for _ in range(1000):
        spin.found()
        spin.missed()
        assert spin.pays


def test_hits_for_which_this_thread_lost_its_cpu_end_it(cpu: Cpu) -> None:
    spin = Spin(cpu)
    windows = 0
    while spin.pays:
        cpu.lost += 1
        spin.found()
        windows += 1
    assert windows == 1
    wakes_until_it_pays(spin)
    cpu.lost += 1
    spin.found()
    assert not spin.pays


def test_one_preemption_in_one_window_is_none_that_has_happened_by_chance_also_later(
    cpu: Cpu,
) -> None:
    spin = Spin(cpu)
    spin.found()
    cpu.lost += 1
    spin.found()
    assert not spin.pays


def test_one_preemption_in_two_windows_is_chance(cpu: Cpu) -> None:
    spin = Spin(cpu)
    for _ in range(3):
        spin.found()
    cpu.lost += 1
    spin.missed()
    spin.found()
    assert spin.pays


def test_one_preemption_in_many_windows_is_chance(cpu: Cpu) -> None:
    spin = Spin(cpu)
    for window in range(800):
        cpu.lost += window % 8 == 7
        spin.found()
        assert spin.pays
    while spin.pays:
        cpu.lost += 1
        spin.found()


def test_a_try_that_pays_again_is_no_longer_put_off(cpu: Cpu) -> None:
    spin = Spin(cpu)
    for _ in range(4):
        spin.missed()
    for _ in range(3):
        wakes_until_it_pays(spin)
        spin.missed()
    wakes_until_it_pays(spin)
    for _ in range(100):
        spin.found()
    while spin.pays:
        spin.missed()
    assert wakes_until_it_pays(spin) == 64


def test_wake_ups_while_it_is_tried_put_nothing_off(cpu: Cpu) -> None:
    spin = Spin(cpu)
    for _ in range(4):
        spin.missed()
    wakes_until_it_pays(spin)
    for _ in range(1000):
        spin.woken()
    spin.missed()
    assert wakes_until_it_pays(spin) == 128


def test_it_is_never_done_without_a_second_cpu(cpu: Cpu) -> None:
    spin: Any = Spin(cpu)
    spin.allowed = False
    for _ in range(200):
        spin.found()
        spin.woken()
        assert not spin.pays
