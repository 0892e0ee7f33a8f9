"""Which programs run beside which, and what the ratio has to be.

A benchmark is one entry here, one program in `ours/` and one in `peers/`. A missed target is mended
in the design, not here.
"""

import shutil
import sys
from collections.abc import Callable
from typing import Final

from benchmarks._harness import (
    ROOT,
    Benchmark,
    BenchmarkError,
    Figures,
    Limit,
    Program,
    Target,
)

_PEERS: Final = ROOT / "benchmarks" / "peers"
_PEER_PYTHON: Final = ROOT / ".peers" / "venv" / "bin" / "python"


def _ours(name: str, *arguments: str, called: str = "ours") -> Program:
    return Program(
        name=called, command=(sys.executable, "-m", f"benchmarks.ours.{name}", *arguments)
    )


def _python_peer(name: str, script: str) -> Program:
    if not _PEER_PYTHON.exists():
        raise BenchmarkError(f"{name} is not installed here: run benchmarks/peers/setup.sh")
    return Program(name=name, command=(str(_PEER_PYTHON), str(_PEERS / script)))


def _node_peer(name: str, script: str, *arguments: str) -> Program:
    node = shutil.which("node")
    if node is None:
        raise BenchmarkError(f"{name} needs Node.js 18 or later on the PATH, and none is there")
    return Program(name=name, command=(node, str(_PEERS / script), *arguments))


def _local() -> Benchmark:
    return Benchmark(
        name="local",
        ours=_ours("local"),
        peer=_python_peer("Pykka", "pykka_local.py"),
        targets=(Target(metric="tell/s", at_least=6.0), Target(metric="ask us", at_most=0.125)),
    )


def _process() -> Benchmark:
    return Benchmark(
        name="process",
        ours=_ours("node", "process"),
        peer=_node_peer("Node cluster IPC", "node_messages.js", "cluster"),
        targets=(Target(metric="tell/s", at_least=5.0), Target(metric="ask us", at_most=0.5)),
    )


def _thread() -> Benchmark:
    return Benchmark(
        name="thread",
        ours=_ours("node", "thread"),
        peer=_node_peer("Node worker_threads", "node_messages.js", "worker"),
        targets=(Target(metric="tell/s", at_least=3.0), Target(metric="ask us", at_most=1.0)),
    )


def _payloads() -> Benchmark:
    return Benchmark(
        name="payloads",
        ours=_ours("payloads"),
        peer=_node_peer("Node worker_threads", "node_payloads.js"),
        targets=(
            Target(metric="bytes ms", payload="100 MiB", at_most=0.6),
            Target(metric="array ms", payload="100 MiB", at_most=0.1),
            Target(metric="move ms", payload="100 MiB", at_most=1.0),
        ),
    )


def _supervised() -> Benchmark:
    return Benchmark(
        name="supervised",
        ours=_ours("supervised", called="below 8 supervisors"),
        peer=_ours("local", called="merely spawned"),
        targets=(Target(metric="tell/s", at_least=0.95), Target(metric="ask us", at_most=1.05)),
    )


def _crash() -> Benchmark:
    metric = "crash to next message us"
    return Benchmark(
        name="crash",
        ours=_ours("restart", "actor"),
        peer=Limit(figures={(metric, "actor"): 200.0}),
        targets=(Target(metric=metric, at_most=1.0),),
    )


def _node_restart() -> Benchmark:
    return Benchmark(
        name="node-restart",
        ours=_ours("restart", "node"),
        peer=_node_peer("Node cluster", "node_restart.js"),
        targets=(Target(metric="kill to serving ms", at_most=0.5),),
    )


def _tree() -> Benchmark:
    promised: Figures = {
        ("start and stop us", "10000 children"): 30.0,
        ("cost at 10000 / cost at 1000", "children"): 1.5,
        ("stop ms", "depth 2048"): 2_000.0,
    }
    return Benchmark(
        name="tree",
        ours=_ours("tree"),
        peer=Limit(figures=promised),
        targets=tuple(Target(metric=metric, at_most=1.0) for metric, _ in promised),
    )


CATALOGUE: Final[dict[str, Callable[[], Benchmark]]] = {
    "local": _local,
    "process": _process,
    "thread": _thread,
    "payloads": _payloads,
    "supervised": _supervised,
    "crash": _crash,
    "node-restart": _node_restart,
    "tree": _tree,
}
