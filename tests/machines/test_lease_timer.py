"""A process whose lease is over is ended by the kernel, whatever it does; one whose lease goes on is not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from actors._extensions import not_loaded
from actors.machines.lease_page import LeasePage, boot_time
from actors.machines.lease_timer import hold_lease

LATE = 10.0
"""Seconds after which a process that should have been ended was not."""
BUSY = {
    "sleeps": "time.sleep(60)",
    "spins": "while True: pass",
    "holds the interpreter's lock": "ctypes.PyDLL(None).sleep(60)",
    "has all its signals blocked": "signal.pthread_sigmask(signal.SIG_SETMASK, range(1, 65)); time.sleep(60)",
}
HOLD = """
import time
from actors.machines.lease_timer import hold_lease
hold_lease({!r}, 9.0)
time.sleep(60)
"""
TWINS = ["0", pytest.param("1", marks=pytest.mark.skipif(bool(not_loaded()), reason=not_loaded()))]


@pytest.fixture
def page() -> Iterator[LeasePage]:
    page = LeasePage()
    yield page
    page.close()


def start(page: LeasePage, twin: str, doing: str, every: float = 0.05) -> subprocess.Popen[str]:
    """Start a process that holds the lease, and then is busy."""
    program = f"""
import ctypes, os, signal, subprocess, sys, time
from actors.machines.lease_timer import hold_lease
hold_lease({page.path!r}, {every})
print("holds", flush=True)
{doing}
"""
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "ACTORS_SPEEDUPS": twin},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "holds\n"
    return process


def ended(process: subprocess.Popen[str]) -> int:
    """Wait for its end; return how it ended."""
    try:
        code = process.wait(LATE)
    finally:
        process.kill()
        process.communicate()
    return code


@pytest.mark.parametrize("twin", TWINS)
@pytest.mark.parametrize("doing", BUSY.values(), ids=BUSY)
def test_a_lease_that_is_not_renewed_ends_the_process(
    page: LeasePage, twin: str, doing: str
) -> None:
    page.move(boot_time() + 3.0)
    process = start(page, twin, doing)
    assert ended(process) == -signal.SIGKILL
    assert boot_time() >= page.until


@pytest.mark.parametrize("twin", TWINS)
def test_a_stopped_process_is_ended_too(page: LeasePage, twin: str) -> None:
    page.move(boot_time() + 3.0)
    process = start(page, twin, "os.kill(os.getpid(), signal.SIGSTOP)")
    assert ended(process) == -signal.SIGKILL


def outlives(page: LeasePage, process: subprocess.Popen[str], seconds: float) -> bool:
    """Renew the lease for so long, and return whether the process lives."""
    until = time.monotonic() + seconds
    while time.monotonic() < until and process.poll() is None:
        page.move(boot_time() + 2.0)
        time.sleep(0.02)
    return process.poll() is None


@pytest.mark.parametrize("twin", TWINS)
def test_a_lease_that_is_renewed_lets_it_live(page: LeasePage, twin: str) -> None:
    page.move(boot_time() + 5.0)
    process = start(page, twin, BUSY["spins"])
    try:
        assert outlives(page, process, 5.5)
    finally:
        code = ended(process)
    assert code == -signal.SIGKILL


@pytest.mark.skipif(bool(not_loaded()), reason=not_loaded())
def test_c_code_that_holds_the_lock_does_not_end_a_process_with_a_lease(page: LeasePage) -> None:
    page.move(boot_time() + 5.0)
    process = start(page, "1", BUSY["holds the interpreter's lock"])
    try:
        assert outlives(page, process, 5.5)
    finally:
        ended(process)


@pytest.mark.parametrize("twin", TWINS)
def test_a_page_without_a_lease_ends_the_process_at_once(page: LeasePage, twin: str) -> None:
    process = subprocess.run(
        [
            sys.executable,
            "-c",
            HOLD.format(page.path),
        ],
        env={**os.environ, "ACTORS_SPEEDUPS": twin},
        timeout=LATE,
        check=False,
    )
    assert process.returncode == -signal.SIGKILL


@pytest.mark.parametrize("twin", TWINS)
def test_a_process_whose_work_is_over_does_not_wait_for_the_end_of_its_lease(
    page: LeasePage, twin: str
) -> None:
    page.move(boot_time() + 60.0)
    assert ended(start(page, twin, "")) == 0


@pytest.mark.parametrize("twin", TWINS)
def test_a_program_that_it_started_has_no_timer(page: LeasePage, twin: str) -> None:
    page.move(boot_time() + 3.0)
    doing = (
        "child = subprocess.Popen(['sleep', '60']); print(child.pid, flush=True); time.sleep(60)"
    )
    process = start(page, twin, doing)
    assert process.stdout is not None
    child = int(process.stdout.readline())
    assert process.wait(LATE) == -signal.SIGKILL
    os.kill(child, signal.SIGKILL)  # it would raise if the timer had ended it, too
    process.stdout.close()


def test_an_agent_that_has_ended_gives_no_lease() -> None:
    page = LeasePage()
    path = page.path
    page.close()
    with pytest.raises(OSError, match="No such file"):
        hold_lease(path, 1.0)


def test_a_page_is_never_moved_back(page: LeasePage) -> None:
    page.move(50.0)
    page.move(40.0)
    page.move(float("-inf"))
    assert page.until == 50.0
