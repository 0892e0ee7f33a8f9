"""The programs of both sides, and where they are: what is missing is said before anything runs."""

import shutil
import sys
from collections.abc import Mapping
from typing import Final

from benchmarks._harness import ROOT, BenchmarkError, Program

__all__ = ["PEER_PYTHON", "erlang_peer", "node_peer", "ours", "python_peer", "stdlib"]

_PEERS: Final = ROOT / "benchmarks" / "peers"
PEER_PYTHON: Final = ROOT / ".peers" / "venv" / "bin" / "python"


def ours(
    name: str, *arguments: str, called: str = "ours", variables: Mapping[str, str] | None = None
) -> Program:
    """Return one of our programs."""
    command = (sys.executable, "-m", f"benchmarks.ours.{name}", *arguments)
    return Program(name=called, command=command, variables=variables or {})


def python_peer(name: str, module: str, *arguments: str) -> Program:
    """Return a program of `peers/` that the environment of the peers runs."""
    if not PEER_PYTHON.exists():
        raise BenchmarkError(f"{name} is not installed here: run benchmarks/peers/setup.sh")
    command = (str(PEER_PYTHON), "-m", f"benchmarks.peers.{module}", *arguments)
    return Program(name=name, command=command)


def node_peer(name: str, script: str, *arguments: str) -> Program:
    """Return a script for Node.js."""
    node = shutil.which("node")
    if node is None:
        raise BenchmarkError(f"{name} needs Node.js 18 or later on the PATH, and none is there")
    return Program(name=name, command=(node, str(_PEERS / script), *arguments))


def erlang_peer(script: str) -> Program:
    """Return a script for Erlang."""
    escript = shutil.which("escript")
    if escript is None:
        raise BenchmarkError("Erlang is not installed here: run benchmarks/peers/setup.sh")
    return Program(name="Erlang", command=(escript, str(_PEERS / script)))


def stdlib(what: str) -> Program:
    """Return a part of what the standard library does."""
    command = (sys.executable, "-m", "benchmarks.peers.stdlib_pool", what)
    return Program(name="ProcessPoolExecutor", command=command)
