"""One log: whatever a node does to say something, it is one record of JSON with its node and level."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.scripts import ROOT

PATIENCE = 50.0
SYSTEM = """
import ctypes, logging, os, subprocess, sys, threading, warnings
import structlog
import actors
from actors.testing import eventually

log = logging.getLogger("shop")


class Clerk(actors.Actor):
    async def say(self) -> None:
        print("printed")
        print("to stderr", file=sys.stderr)
        log.debug("not wanted")
        log.info("low ink: %d", 3, extra={"job": 4})
        log.warning("no ink")
        log.error("wrong arguments: %d %d", 5)
        warnings.warn("old ink")
        structlog.get_logger().warning("by structlog", ink=1)
        self.context.log.info("by the actor", ink=2)
        try:
            {}["ink"]
        except KeyError:
            log.exception("caught")
        thread = threading.Thread(target=dict().pop, args=("ink",), name="loader")
        thread.start()
        thread.join()
        ctypes.CDLL(None).puts(b"from C")
        ctypes.CDLL(None).fflush(None)
        subprocess.run(["sh", "-c", "echo from a shell; echo [error] its error >&2"])
        if os.fork() == 0:
            log.warning("from a fork")
            os._exit(0)
        os.wait()
        print("x" * 100_000)
        print("no newline", end="", flush=True)

    async def fail(self) -> None:
        raise ValueError("two\\nlines")

    async def die(self) -> None:
        print(flush=True)
        os.abort()


async def main() -> None:
    topology = actors.Topology(nodes=[actors.nodes("web", count=3), actors.nodes("back")])
    async with actors.System(topology) as system:
        clerks = [
            await system.spawn(Clerk, on=on, name=f"clerk-{on}")
            for on in ("web/0", "web/1", "web/2", "back/0")
        ]
        for clerk in clerks:
            await clerk.ask(Clerk.say)
        await clerks[0].tell(Clerk.fail)
        try:
            await clerks[3].ask(Clerk.die)
        except actors.ActorsError:
            pass
        await eventually(lambda: system.nodes[-1].ready)


if __name__ == "__main__":
    actors.run(main)
"""


def records_of(source: str, folder: Path, **env: str) -> list[dict[str, Any]]:
    """Run a program; return its log, every line of which must be a record with node and level."""
    (folder / "program.py").write_text(source)
    done = subprocess.run(
        [sys.executable, "program.py"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "ACTORS_LOG_FORMAT": "json", **env},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    lines = done.stderr.splitlines()
    assert max(map(len, lines)) < 64 * 1024
    records = [json.loads(line) for line in lines]
    for record in records:
        assert record["node"], record
        assert record["level"] in {"debug", "info", "warning", "error", "critical"}, record
        assert record["timestamp"], record
    return records


@pytest.mark.within(60)
def test_every_line_of_a_crashing_printing_warning_logging_system_is_a_record(
    tmp_path: Path,
) -> None:
    records = records_of(SYSTEM, tmp_path, ACTORS_LOG="info")
    for node in ("web/0", "web/1", "web/2", "back/0"):
        said = [record for record in records if record["node"] == node]
        found = Counter((record["level"], record["event"].partition("\n")[0]) for record in said)
        for level, event in (
            ("info", "printed"),
            ("info", "to stderr"),
            ("info", "low ink: 3"),
            ("warning", "no ink"),
            ("error", "wrong arguments: %d %d (5,)"),
            ("warning", "by structlog"),
            ("info", "by the actor"),
            ("error", "caught"),
            ("error", "exception in loader"),
            ("info", "from C"),
            ("info", "from a shell"),
            ("error", "[error] its error"),
            ("warning", "from a fork"),
            ("info", "no newline"),
        ):
            assert found[level, event] == 1, (node, event, found)
        assert (
            sum(record["event"].count("x") for record in said if "xx" in record["event"]) == 100_000
        )
        events = {record["event"]: record for record in said}
        assert events["low ink: 3"]["job"] == 4
        assert events["low ink: 3"]["logger"] == "shop"
        assert events["caught"]["exception"].endswith("KeyError: 'ink'")
        assert [record for record in said if "UserWarning: old ink" in record["event"]]
    failed = next(record for record in records if record["event"] == "child ended")
    assert failed["traceback"].endswith("ValueError: two\nlines")
    crashed = next(record for record in records if record["level"] == "critical")
    assert (crashed["node"], crashed["event"]) == ("back/0", "Fatal Python error: Aborted")


HANDLERS = """
import logging, pathlib
import actors, actors.testing

class Keep(logging.Handler):
    def emit(self, record):
        with open("kept-" + record.threadName + ".txt", "a") as file:
            print(record.levelname, record.name, record.getMessage(), record.exc_text or "", file=file)
        if record.getMessage() == "again":
            logging.getLogger("keep").error("while keeping")
            raise ZeroDivisionError

if __name__ != "__main__":  # on a node
    logging.basicConfig(level="INFO", format="formatted %(message)s")
    logging.getLogger().addHandler(Keep())


class Clerk(actors.Actor):
    async def say(self) -> None:
        logging.getLogger("shop").info("by logging")
        self.context.log.warning("by the actor", ink=2)
        self.context.log.warning("again")

    async def fail(self) -> None:
        raise ValueError("boom")


async def main() -> None:
    async with actors.System(actors.Topology(nodes=[actors.nodes("web")])) as system:
        clerk = await system.spawn(Clerk, on="web")
        await clerk.ask(Clerk.say)
        kept = pathlib.Path("kept-MainThread.txt")
        await clerk.tell(Clerk.fail)
        await actors.testing.eventually(lambda: "ValueError: boom" in kept.read_text())


if __name__ == "__main__":
    actors.run(main)
"""


@pytest.mark.within(60)
def test_records_go_to_the_users_handlers_and_are_written_once(tmp_path: Path) -> None:
    records = records_of(HANDLERS, tmp_path, ACTORS_LOG="info")
    kept = (tmp_path / "kept-MainThread.txt").read_text()
    for line in (
        "INFO shop by logging",
        "WARNING actors by the actor",
        "WARNING actors again",
        "ERROR keep while keeping",
        "ERROR actors child ended Traceback",
    ):
        assert kept.count(line) == 1, (line, kept)
    assert "ValueError: boom" in kept
    found = Counter(record["event"] for record in records)
    # What a handler has printed is not written a second time, and what is written is not printed.
    for event in ("formatted by logging", "by the actor", "again", "child ended"):
        assert found[event] == 1, (event, found)
    assert found["formatted while keeping"] == 1
    assert found["handler of logging failed"] == 1
    assert not {"by logging", "formatted by the actor", "formatted child ended"} & found.keys()
