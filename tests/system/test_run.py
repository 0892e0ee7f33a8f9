"""`actors.run`: results, errors, and signals that end a script cleanly."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import anyio
import pytest

import actors
from actors.errors import ActorsError, NoSystem
from tests.scripts import finish, interrupt, run, start, wait_for_line

BACKENDS = ["asyncio", "uvloop", "trio"]

SERVER = """
    import sys, anyio, actors

    class Idle(actors.Actor):
        async def on_stop(self, exit):
            print("actor stopped:", exit, flush=True)

        async def ping(self):
            return "pong"

    async def main(nodes):
        topology = actors.Topology(nodes=[actors.nodes("web")] if nodes else [])
        async with actors.System(topology) as system:
            idle = await system.spawn(Idle, on="web" if nodes else None)
            assert await idle.ask(Idle.ping) == "pong"
            print("up", flush=True)
            try:
                await anyio.sleep_forever()
            finally:
                print("cancelled", flush=True)

    if __name__ == "__main__":
        backend, nodes = sys.argv[1:]
        loop = {"asyncio": {"uvloop": False}, "uvloop": {}, "trio": {"backend": "trio"}}[backend]
        actors.run(main, nodes == "nodes", **loop)
"""


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    "number, code", [(signal.SIGTERM, 0), (signal.SIGINT, 130)], ids=["SIGTERM", "SIGINT"]
)
def test_a_signal_ends_a_script_cleanly(
    tmp_path: Path, backend: str, number: signal.Signals, code: int
) -> None:
    nodes = "nodes" if backend != "asyncio" else "none"
    script = start(tmp_path / "server.py", SERVER, backend, nodes)
    wait_for_line(script, "up")
    returncode, out, err = interrupt(script, number)
    # What a node prints is a record of the parent's log; a script without nodes prints by itself.
    printed = (out + err).splitlines()
    said = [json.loads(line)["event"] if line[0] == "{" else line for line in printed]
    assert (returncode, said) == (code, ["cancelled", "actor stopped: SHUTDOWN"])


STUBBORN = """
    import anyio, actors

    async def main():
        with anyio.CancelScope(shield=True):
            print("up", flush=True)
            await anyio.sleep_forever()

    actors.run(main, backend="{backend}", uvloop={uvloop})
"""


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_second_signal_ends_a_script_at_once(tmp_path: Path, backend: str) -> None:
    name = "trio" if backend == "trio" else "asyncio"
    source = STUBBORN.format(backend=name, uvloop=backend == "uvloop")
    script = start(tmp_path / "stubborn.py", source)
    wait_for_line(script, "up")
    script.send_signal(signal.SIGINT)
    # Two equal signals that are both pending are one: the other kind is surely a second one.
    returncode, _, _ = interrupt(script, signal.SIGTERM)
    assert returncode in {-signal.SIGTERM, -signal.SIGINT}


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_run_returns_the_result_and_raises_the_error(backend: Any) -> None:
    async def divide(a: int, b: int) -> float:
        await anyio.lowlevel.checkpoint()
        return a / b

    assert actors.run(divide, 6, 3, backend=backend) == 2
    with pytest.raises(ZeroDivisionError):
        actors.run(divide, 6, 0, backend=backend)


def test_an_unknown_backend_is_refused_by_name() -> None:
    async def main() -> None: ...

    with pytest.raises(ActorsError, match="backend must be one of asyncio, trio, got 'curio'"):
        actors.run(main, backend="curio")  # type: ignore[arg-type] # that is the test


def test_code_outside_any_system_is_told_so() -> None:
    with pytest.raises(NoSystem, match="no system runs here: use `async with actors"):
        actors.current()


def test_a_script_that_fails_shows_its_own_error(tmp_path: Path) -> None:
    code, _, err = run(
        tmp_path / "failing.py",
        """
        import actors

        async def main():
            async with actors.System():
                raise KeyError("what went wrong")

        actors.run(main)
        """,
    )
    assert code == 1
    assert err.splitlines()[-1] == "KeyError: 'what went wrong'"
    assert "ExceptionGroup" not in err


def test_importing_actors_starts_nothing_and_imports_no_loop(tmp_path: Path) -> None:
    code, out, err = finish(
        start(
            tmp_path / "importing.py",
            """
            import sys, threading
            import actors
            heavy = {"trio", "uvloop", "uvicorn", "starlette", "numpy", "structlog"}
            print(sorted(heavy & set(sys.modules)), threading.active_count())
            """,
        )
    )
    assert (code, out.strip(), err) == (0, "[] 1", "")


async def _main() -> None:
    """A main that is never run."""


def test_a_function_that_is_not_async_is_refused_by_name() -> None:
    def plain() -> int:
        return 5

    with pytest.raises(ActorsError, match=r"takes an async function; .*plain.* returned 5"):
        actors.run(plain)  # type: ignore[arg-type]


def test_the_result_of_main_instead_of_main_is_refused_with_the_right_call() -> None:
    with pytest.raises(ActorsError, match=r"not its result: run\(main\), not run\(main\(\)\)"):
        actors.run(_main())  # type: ignore[arg-type] # the mistake
