"""The benchmarks: the programs of both sides, and the targets of their ratios.

A benchmark is one entry here, one program in `ours/` and one in `peers/`.
"""

import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from benchmarks._broadcast import BURST, LARGE, SINGLE
from benchmarks._harness import ROOT, Benchmark, BenchmarkError, Figures, Limit, Program, Target
from benchmarks._machines import MACHINES, WITHOUT_RING
from benchmarks._sides import PEER_PYTHON, erlang_peer, node_peer, ours, python_peer, stdlib
from benchmarks.ours import router

_APP: Final = "benchmarks.ours.asgi_app:app"
_IN_PYTHON: Final = {"ACTORS_SPEEDUPS": "0"}


def _tells(number: float, mapping: float, instance: float) -> tuple[Target, ...]:
    """Return the least rates of tells for the three payloads of `ours/_workload.py`."""
    rates = {"int": number, "dict": mapping, "object": instance}
    return tuple(
        Target(metric="tell/s", payload=name, at_least=rate) for name, rate in rates.items()
    )


def _local() -> Benchmark:
    return Benchmark(
        name="local",
        ours=ours("local"),
        peer=python_peer("Pykka", "pykka_local"),
        targets=(*_tells(8.0, 6.0, 6.0), Target(metric="ask us", at_most=0.05)),
    )


def _local_in_python() -> Benchmark:
    return Benchmark(
        name="local-in-python",
        ours=ours("local", called="ours, without C", variables=_IN_PYTHON),
        peer=python_peer("Pykka", "pykka_local"),
        targets=(Target(metric="tell/s", at_least=4.0),),
    )


def _erlang() -> Benchmark:
    return Benchmark(
        name="erlang",
        ours=ours("local"),
        peer=erlang_peer("erlang_local.escript"),
        targets=(Target(metric="ask us", at_most=1.5),),
    )


def _savina(peer: str) -> Benchmark:
    peers: dict[str, Callable[[], Program]] = {
        "pykka": lambda: python_peer("Pykka", "savina_pykka"),
        "xoscar": lambda: python_peer("xoscar", "savina_xoscar"),
        "erlang": lambda: erlang_peer("erlang_savina.escript"),
    }
    return Benchmark(name=f"savina-{peer}", ours=ours("savina"), peer=peers[peer](), targets=())


def _framework(name: str, module: str, *arguments: str) -> Benchmark:
    """Return a benchmark of another actor framework in Python and ours, both over processes."""
    return Benchmark(
        name=name.lower(),
        ours=ours("node", "process"),
        peer=python_peer(name, module, *arguments),
        targets=(Target(metric="tell/s", at_least=40.0), Target(metric="ask us", at_most=0.025)),
    )


def _process() -> Benchmark:
    return Benchmark(
        name="process",
        ours=ours("node", "process"),
        peer=node_peer("Node cluster IPC", "node_messages.js", "cluster"),
        targets=(*_tells(3.0, 2.5, 1.5), Target(metric="ask us", at_most=0.5)),
    )


def _process_in_python() -> Benchmark:
    return Benchmark(
        name="process-in-python",
        ours=ours("node", "process", called="ours, without C", variables=_IN_PYTHON),
        peer=node_peer("Node cluster IPC", "node_messages.js", "cluster"),
        targets=(Target(metric="tell/s", at_least=1.5),),
    )


def _process_without_ring() -> Benchmark:
    return Benchmark(
        name="process-without-ring",
        ours=ours("node", "process", called="ours, without rings", variables=WITHOUT_RING),
        peer=node_peer("Node cluster IPC", "node_messages.js", "cluster"),
        targets=(Target(metric="ask us", at_most=1.0),),
    )


def _ring() -> Benchmark:
    """Return what a ring changes: nothing for the worse, however busy the machine is."""
    return Benchmark(
        name="ring",
        ours=ours("node", "process"),
        peer=ours("node", "process", called="without rings", variables=WITHOUT_RING),
        targets=(Target(metric="tell/s", at_least=0.9), Target(metric="ask us", at_most=1.1)),
    )


def _thread() -> Benchmark:
    return Benchmark(
        name="thread",
        ours=ours("node", "thread"),
        peer=node_peer("Node worker_threads", "node_messages.js", "worker"),
        targets=(Target(metric="tell/s", at_least=2.0), Target(metric="ask us", at_most=1.2)),
    )


def _payloads() -> Benchmark:
    return Benchmark(
        name="payloads",
        ours=ours("payloads"),
        peer=node_peer("Node worker_threads", "node_payloads.js"),
        targets=(
            Target(metric="bytes ms", payload="100 MiB", at_most=0.6),
            Target(metric="array ms", payload="100 MiB", at_most=0.1),
            Target(metric="move ms", payload="100 MiB", at_most=1.0),
        ),
    )


def _supervised() -> Benchmark:
    return Benchmark(
        name="supervised",
        ours=ours("supervised", called="below 8 supervisors"),
        peer=ours("local", called="spawned"),
        targets=(Target(metric="tell/s", at_least=0.95), Target(metric="ask us", at_most=1.05)),
    )


def _keyed() -> Benchmark:
    return Benchmark(
        name="keyed",
        ours=ours("keyed", "key", called="by key"),
        peer=ours("keyed", "address", called="by address"),
        targets=(Target(metric="ask us", at_most=2.0), Target(metric="tell/s", at_least=0.25)),
    )


def _batches() -> Benchmark:
    return Benchmark(
        name="batches",
        ours=ours("batches", "together", called="by batches"),
        peer=ours("batches", "alone", called="one by one"),
        targets=(Target(metric="ask/s", at_least=8.0),),
    )


def _blocking(peer: str) -> Benchmark:
    return Benchmark(
        name="blocking",
        ours=ours("blocking", "ask", called="blocking actor"),
        peer=ours("blocking", peer, called=f"executor, {peer}"),
        targets=(Target(metric="round trip us", at_most=1.5),),
    )


def _big_tells() -> Benchmark:
    command = (sys.executable, "-m", "benchmarks.peers.stdlib_pipe")
    return Benchmark(
        name="big-tells",
        ours=ours("big_tells"),
        peer=Program(name="multiprocessing.Pipe", command=command),
        targets=(Target(metric="us", at_most=1.5),),
    )


def _pool() -> Benchmark:
    return Benchmark(
        name="pool",
        ours=ours("pool", "noops"),
        peer=stdlib("noops"),
        targets=(
            Target(metric="tasks/s", payload="500 under way", at_least=5.0),
            Target(metric="tasks/s", payload="chunks of 32", at_least=1.0),
        ),
    )


def _piscina() -> Benchmark:
    if not (ROOT / ".peers" / "node_modules" / "piscina").exists():
        raise BenchmarkError("piscina is not installed here: run benchmarks/peers/setup.sh")
    return Benchmark(
        name="piscina",
        ours=ours("pool", "singly"),
        peer=node_peer("piscina", "node_piscina.js"),
        targets=(Target(metric="tasks/s", at_least=1.0),),
    )


def _pool_computing() -> Benchmark:
    apart = stdlib("computing")
    return Benchmark(
        name="pool-computing",
        ours=ours("pool", "computing"),
        peer=Program(name="two processes apart", command=apart.command),
        targets=(
            Target(metric="scrypt/s", at_least=0.97),
            Target(metric="pictures/s", at_least=0.97),
        ),
    )


def _pool_arrays() -> Benchmark:
    return Benchmark(
        name="pool-arrays",
        ours=ours("pool", "arrays"),
        peer=stdlib("arrays"),
        targets=(
            Target(metric="100 MB ms", payload="the first time", at_most=0.5),
            Target(metric="100 MB ms", payload="the third time", at_most=0.15),
        ),
    )


def _pool_skewed() -> Benchmark:
    return Benchmark(
        name="pool-skewed",
        ours=ours("pool", "skewed"),
        peer=Limit(figures={("skewed s", "1 x 2 s, 10 x 0.1 s"): 2.0}),
        targets=(Target(metric="skewed s", at_most=1.05),),
    )


def _pool_cancelled() -> Benchmark:
    return Benchmark(
        name="pool-cancelled",
        ours=ours("pool", "cancelled"),
        peer=Limit(figures={("serves again ms", "after its grace"): 60.0}),
        targets=(Target(metric="serves again ms", at_most=1.0),),
    )


def _crash() -> Benchmark:
    metric = "crash to next message us"
    return Benchmark(
        name="crash",
        ours=ours("restart", "actor"),
        peer=Limit(figures={(metric, "actor"): 200.0}),
        targets=(Target(metric=metric, at_most=1.0),),
    )


def _node_restart() -> Benchmark:
    return Benchmark(
        name="node-restart",
        ours=ours("restart", "node"),
        peer=node_peer("Node cluster", "node_restart.js"),
        targets=(Target(metric="kill to serving ms", at_most=0.5),),
    )


def _programs() -> Benchmark:
    if not (ROOT / ".peers" / "node_modules" / "pm2").exists():
        raise BenchmarkError("PM2 is not installed here: run benchmarks/peers/setup.sh")
    return Benchmark(
        name="programs",
        ours=ours("programs"),
        peer=Program(name="PM2", command=(sys.executable, "-m", "benchmarks.peers.pm2_programs")),
        targets=(
            Target(metric="crash to TCP ready ms", at_most=0.3),
            Target(metric="start ms", at_most=0.5),
            Target(metric="manager MiB", at_most=0.5),
        ),
    )


def _log_lines() -> Benchmark:
    wanted = 100_000.0
    promised: Figures = {
        (metric, what): wanted
        for what in ("printed", "records")
        for metric in ("lines/s", "lines per CPU second")
    }
    return Benchmark(
        name="log-lines",
        ours=ours("log_lines"),
        peer=Limit(figures=promised | {("MiB", "memory"): 100.0}),
        targets=(Target(metric="lines/s", at_least=1.0),),
    )


def _app_restart() -> Benchmark:
    metric = "kill to serving ms"
    return Benchmark(
        name="app-restart",
        ours=ours("restart", "app"),
        peer=Limit(figures={(metric, "FastAPI, preloaded"): 60.0}),
        targets=(Target(metric=metric, at_most=1.0),),
    )


def _tree() -> Benchmark:
    promised: Figures = {
        ("start and stop us", "10000 children"): 30.0,
        ("cost at 10000 / cost at 1000", "children"): 1.5,
        ("stop ms", "depth 2048"): 2_000.0,
    }
    return Benchmark(
        name="tree",
        ours=ours("tree"),
        peer=Limit(figures=promised),
        targets=tuple(Target(metric=metric, at_most=1.0) for metric, _ in promised),
    )


def _spawns() -> Benchmark:
    promised: Figures = {
        ("unnamed spawns/s", "2 nodes"): 10_000.0,
        ("named spawns/s", "2 nodes"): 4_000.0,
        ("lookups/s", "2 nodes"): 20_000.0,
    }
    return Benchmark(
        name="spawns",
        ours=ours("spawns"),
        peer=Limit(figures=promised),
        targets=tuple(Target(metric=metric, at_least=1.0) for metric, _ in promised),
    )


def _growth() -> Benchmark:
    promised: Figures = {
        ("spawn at 100000 / at 10000", "actors"): 1.5,
        ("ask at 100000 / at 10000", "actors"): 1.5,
        ("spawn at 100000 / at 10000", "names"): 1.5,
        ("lookup at 100000 / at 10000", "names"): 1.5,
        ("fan-in of 1000 / of 10", "tell"): 1.3,
        ("choose of 256 / of 4", "node"): 1.5,
        ("publish to 10000 / to 1000", "subscriber"): 2.5,
        ("leave of 10000 / of 1000", "subscriber"): 3.0,
    }
    return Benchmark(
        name="growth",
        ours=ours("growth"),
        peer=Limit(figures=promised),
        targets=tuple(
            Target(metric=metric, payload=payload, at_most=1.0) for metric, payload in promised
        ),
    )


def _memory() -> Benchmark:
    promised: Figures = {
        ("CPU %", "4 idle nodes"): 0.5,
        ("node / (bare + 5 MiB)", "idle node"): 1.0,
        ("KiB", "idle actor"): 3.0,
        ("KiB", "idle actor, after a message"): 6.0,
    }
    return Benchmark(
        name="memory",
        ours=ours("memory"),
        peer=Limit(figures=promised),
        targets=tuple(
            Target(metric=metric, payload=payload, at_most=1.0) for metric, payload in promised
        ),
    )


def _preload() -> Benchmark:
    metric = "memory / array"
    return Benchmark(
        name="preload",
        ours=ours("preload"),
        peer=Limit(figures={(metric, "500 MiB, 4 nodes"): 1.1}),
        targets=(Target(metric=metric, at_most=1.0),),
    )


def _served(name: str, driver: str, command: Sequence[str]) -> Program:
    """Return a server and the load generator that measures it, the same for both sides."""
    return Program(name=name, command=(sys.executable, "-m", f"benchmarks.{driver}", *command))


def _peer_server(name: str, program: str, *arguments: str, driver: str = "_http") -> Program:
    found = PEER_PYTHON.parent / program
    if not found.exists():
        raise BenchmarkError(f"{name} is not installed here: run benchmarks/peers/setup.sh")
    return _served(name, driver, [str(found), *arguments])


def _router() -> Benchmark:
    node = node_peer("Node cluster", "node_http.js", "{port}", "2")
    return Benchmark(
        name="router",
        ours=_served("ours", "_http", router.command("handle", "least-connections", nodes=2)),
        peer=_served(node.name, "_http", node.command),
        targets=(
            Target(metric="requests/s", payload="keep-alive", at_least=1.1),
            Target(metric="requests/s", payload="closing", at_least=1.8),
        ),
    )


def _uvicorn(
    app: str = _APP, *, workers: int = 2, driver: str = "_http", path: str = "/"
) -> Program:
    options = (
        f"--workers {workers} --loop uvloop --http httptools --ws websockets-sansio --no-access-log"
    )
    options += " --log-level warning --port {port}"
    made = _peer_server("uvicorn", "uvicorn", app, *options.split(), driver=driver)
    if path == "/":
        return made
    at = made.command.index(f"benchmarks.{driver}") + 1
    command = (*made.command[:at], "--path", path, *made.command[at:])
    return Program(name=made.name, command=command)


def _asgi() -> Benchmark:
    return Benchmark(
        name="asgi",
        ours=_served("ours", "_http", router.command("asgi", "least-connections", nodes=2)),
        peer=_uvicorn(),
        targets=(
            Target(metric="requests/s", payload="keep-alive", at_least=1.3),
            Target(metric="CPU us", payload="keep-alive", at_most=0.6),
            Target(metric="requests/s", payload="closing", at_least=1.1),
            Target(metric="CPU us", payload="closing", at_most=0.85),
        ),
    )


def _asgi_files() -> Benchmark:
    command = router.command("asgi", "least-connections", nodes=2)
    return Benchmark(
        name="asgi-files",
        ours=_served("ours", "_http", ["--path", "/file", *command]),
        peer=_uvicorn(path="/file"),
        targets=(
            Target(metric="requests/s", payload="keep-alive", at_least=1.3),
            Target(metric="CPU us", payload="keep-alive", at_most=0.5),
        ),
    )


def _broadcast() -> Benchmark:
    app = "benchmarks.ours.broadcast_asgi_app:app"
    command = router.command("broadcast_asgi", "least-connections", nodes=1)
    return Benchmark(
        name="broadcast",
        ours=_served("ours", "_broadcast", command),
        peer=_uvicorn(app, workers=1, driver="_broadcast"),
        targets=(
            Target(metric="deliveries/s", payload=BURST, at_least=1.5),
            Target(metric="deliveries/s", payload=LARGE, at_least=1.5),
            # One system call for each delivery, on both sides, is most of the cost.
            Target(metric="deliveries/s", payload=SINGLE, at_least=1.5),
        ),
    )


def _asgi_reuse_port() -> Benchmark:
    return Benchmark(
        name="asgi-reuse-port",
        ours=_served("ours", "_http", router.command("asgi", "reuse-port", nodes=2)),
        peer=_uvicorn(),
        targets=(
            Target(metric="requests/s", payload="keep-alive", at_least=0.95),
            Target(metric="requests/s", payload="closing", at_least=1.0),
        ),
    )


def _granian() -> Benchmark:
    options = "--interface asgi --workers 2 --loop uvloop --log-level warning --port {port}"
    return Benchmark(
        name="granian",
        ours=_served("ours", "_http", router.command("asgi", "least-connections", nodes=2)),
        peer=_peer_server("granian", "granian", _APP, *options.split()),
        targets=(),
    )


def _handoff() -> Benchmark:
    metric, router_process = "CPU us a connection", "router process"
    promised = {(metric, router_process): 40.0, (metric, "all, beyond reuse-port"): 40.0}
    return Benchmark(
        name="handoff",
        ours=Program(name="ours", command=(sys.executable, "-m", "benchmarks._handoff")),
        peer=Limit(figures=promised),
        targets=(Target(metric=metric, payload=router_process, at_most=1.0),),
    )


def _sticky() -> Benchmark:
    metric, beyond_default = "CPU us a connection", "sticky, beyond least-connections"
    promised = {(metric, beyond_default): 60.0, (metric, "sticky, beyond a hand-over"): 60.0}
    return Benchmark(
        name="sticky",
        ours=Program(name="ours", command=(sys.executable, "-m", "benchmarks._sticky")),
        peer=Limit(figures=promised),
        targets=(Target(metric=metric, payload=beyond_default, at_most=1.0),),
    )


def _hot_node() -> Benchmark:
    return Benchmark(
        name="hot-node",
        ours=_served("ours", "_hot_node", router.command("hot_asgi", "least-connections", nodes=4)),
        peer=_uvicorn("benchmarks.ours.hot_asgi_app:app", workers=4, driver="_hot_node"),
        targets=(Target(metric="p99 ms", at_most=1.0),),
    )


CATALOGUE: Final[dict[str, Callable[[], Benchmark]]] = {
    "local": _local,
    "local-in-python": _local_in_python,
    "process": _process,
    "process-in-python": _process_in_python,
    "process-without-ring": _process_without_ring,
    "ring": _ring,
    **MACHINES,
    "thread": _thread,
    "payloads": _payloads,
    "big-tells": _big_tells,
    "supervised": _supervised,
    "batches": _batches,
    "keyed": _keyed,
    "blocking": partial(_blocking, "submit"),
    "blocking-in-loop": partial(_blocking, "await"),
    "pool": _pool,
    "piscina": _piscina,
    "pool-computing": _pool_computing,
    "pool-arrays": _pool_arrays,
    "pool-skewed": _pool_skewed,
    "pool-cancelled": _pool_cancelled,
    "crash": _crash,
    "node-restart": _node_restart,
    "app-restart": _app_restart,
    "programs": _programs,
    "log-lines": _log_lines,
    "tree": _tree,
    "spawns": _spawns,
    "growth": _growth,
    "router": _router,
    "asgi": _asgi,
    "asgi-files": _asgi_files,
    "broadcast": _broadcast,
    "asgi-reuse-port": _asgi_reuse_port,
    "granian": _granian,
    "handoff": _handoff,
    "sticky": _sticky,
    "hot-node": _hot_node,
    "memory": _memory,
    "preload": _preload,
    "erlang": _erlang,
    "xoscar": partial(_framework, "xoscar", "xoscar_process", "process"),
    "thespian": partial(_framework, "Thespian", "thespian_process"),
    "ray": partial(_framework, "Ray", "ray_process"),
    **{f"savina-{peer}": partial(_savina, peer) for peer in ("pykka", "xoscar", "erlang")},
}

GROUPS: Final[dict[str, list[str]]] = {
    "savina": [name for name in CATALOGUE if name.startswith("savina-")],
}
"""Names that stand for several."""
