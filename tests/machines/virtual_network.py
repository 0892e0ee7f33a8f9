"""Hosts in network namespaces around a switch of ours, for tests in which machines cannot reach each other."""

from __future__ import annotations

import ctypes
import fcntl
import os
import shutil
import socket
import struct
import subprocess
import sys
from contextlib import ExitStack
from types import TracebackType
from typing import Final, Self

import pytest

from tests.namespaces import why_no_namespaces
from tests.scripts import ROOT

__all__ = ["VirtualNetwork", "needs_namespaces"]

_IP: Final = shutil.which("ip")
_SIOCETHTOOL: Final = 0x8946
_OFFLOADS: Final = (0x17, 0x15, 0x1F, 0x24, 0x2C)
"""ETHTOOL_STXCSUM, SRXCSUM, STSO, SGSO, SGRO: what a real card would do, and the switch does not."""


def _problem() -> str:
    if os.geteuid():
        return "network namespaces need root"
    return "there is no ip (iproute2)" if _IP is None else why_no_namespaces("--net")


needs_namespaces = pytest.mark.skipif(bool(_problem()), reason=_problem())


def _ip(*words: str) -> None:
    subprocess.run([_IP or "", *words], check=True, capture_output=True)


def turn_offloads_off(device: str) -> None:
    """Have the kernel itself make whole packets with checksums on *device*."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for command in _OFFLOADS:
            value = ctypes.create_string_buffer(struct.pack("II", command, 0))
            request = struct.pack("16sP", device.encode(), ctypes.addressof(value))
            try:
                fcntl.ioctl(sock, _SIOCETHTOOL, request)
            except OSError:
                continue  # a kernel without this offload


class VirtualNetwork:
    """So many hosts, the first with the number 1; a context manager.

    Args:
        hosts: how many.
    """

    def __init__(self, hosts: int) -> None:
        self.hosts = range(1, hosts + 1)
        self._mark = os.getpid() % 100_000
        self._undo = ExitStack()

    def _space(self, host: int) -> str:
        return f"actors-{self._mark}-{host}"

    def _device(self, host: int) -> str:
        return f"act{self._mark}x{host}"

    def address(self, host: int) -> str:
        """Return the address of a host."""
        return f"10.97.7.{host}"

    def on(self, host: int) -> list[str]:
        """Return what a command begins with that is to run on a host."""
        return ["ip", "netns", "exec", self._space(host)]

    def __enter__(self) -> Self:
        with ExitStack() as undo:
            for host in self.hosts:
                self._make(host, undo)
            self._switch = subprocess.Popen(
                [sys.executable, "-m", "tests.machines.hub", *map(self._device, self.hosts)],
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            undo.callback(self._end_switch)
            self._answered()
            self._undo = undo.pop_all()
        return self

    def _make(self, host: int, undo: ExitStack) -> None:
        space, device = self._space(host), self._device(host)
        _ip("netns", "add", space)
        undo.callback(_ip, "netns", "del", space)
        _ip("link", "add", device, "type", "veth", "peer", "name", "eth0", "netns", space)
        # Its name is free at once then; a namespace goes away some time later.
        undo.callback(_ip, "link", "del", device)
        _ip("-n", space, "addr", "add", f"{self.address(host)}/24", "dev", "eth0")
        _ip("-n", space, "link", "set", "lo", "up")
        _ip("-n", space, "link", "set", "eth0", "up")
        _ip("link", "set", device, "up", "promisc", "on")
        turn_offloads_off(device)
        code = "from tests.machines.virtual_network import turn_offloads_off as off; off('eth0')"
        subprocess.run([*self.on(host), sys.executable, "-c", code], cwd=ROOT, check=True)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._undo.close()

    def _end_switch(self) -> None:
        self._switch.communicate(timeout=10)

    def _say(self, command: str) -> None:
        assert self._switch.stdin is not None
        self._switch.stdin.write(command + "\n")
        self._switch.stdin.flush()
        self._answered()

    def _answered(self) -> None:
        assert self._switch.stdout is not None
        assert self._switch.stdout.readline() == "ok\n"

    def cut(self, *ways: tuple[int, int]) -> None:
        """Lose what goes these ways, such as ``(1, 2)`` from host 1 to host 2, and nothing else."""
        self._say("cut " + " ".join(f"{a}>{b}" for a, b in ways))

    def part(self, one: int, other: int) -> None:
        """Lose all between two hosts, and nothing else."""
        self.cut((one, other), (other, one))

    def heal(self) -> None:
        """Lose nothing any more."""
        self.cut()

    def delay(self, seconds: float) -> None:
        """Take so long for each packet from now on."""
        self._say(f"delay {seconds}")
