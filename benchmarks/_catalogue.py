"""Which programs run beside which, and what the ratio has to be.

A benchmark is one entry here, one program in `ours/` and one in `peers/`. A missed target is mended
in the design, not here.
"""

import shutil
import sys
from collections.abc import Callable
from typing import Final

from benchmarks._harness import ROOT, Benchmark, BenchmarkError, Program, Target

_PEERS: Final = ROOT / "benchmarks" / "peers"
_PEER_PYTHON: Final = ROOT / ".peers" / "venv" / "bin" / "python"


def _ours(name: str) -> Program:
    return Program(name="ours", command=(sys.executable, "-m", f"benchmarks.ours.{name}"))


def _python_peer(name: str, script: str) -> Program:
    if not _PEER_PYTHON.exists():
        raise BenchmarkError(f"{name} is not installed here: run benchmarks/peers/setup.sh")
    return Program(name=name, command=(str(_PEER_PYTHON), str(_PEERS / script)))


def _node_peer(name: str, script: str) -> Program:
    node = shutil.which("node")
    if node is None:
        raise BenchmarkError(f"{name} needs Node.js 18 or later on the PATH, and none is there")
    return Program(name=name, command=(node, str(_PEERS / script)))


def _local() -> Benchmark:
    return Benchmark(
        name="local",
        ours=_ours("local"),
        peer=_python_peer("Pykka", "pykka_local.py"),
        targets=(Target(metric="tell/s", at_least=4.0), Target(metric="ask us", at_most=0.2)),
    )


def _process() -> Benchmark:
    return Benchmark(
        name="process",
        ours=_ours("process"),
        peer=_node_peer("Node cluster IPC", "node_cluster.js"),
        targets=(Target(metric="tell/s", at_least=2.0), Target(metric="ask us", at_most=0.7)),
    )


CATALOGUE: Final[dict[str, Callable[[], Benchmark]]] = {"local": _local, "process": _process}
