"""A day of a system in some minutes: reloads, restarts, scaling, crashes, connections, open dashboards.

What the parent has at its end is what it had after the first quarter: memory and descriptors. Every request was
answered, and every program that died runs again.
"""

from __future__ import annotations

import http.client
import json
import os
import random
import shutil
import signal
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import psutil
import pytest

from tests.cli.running_command import Running, run_here, running
from tests.soak.load import HARMLESS, Load, Request

MINUTES: Final = float(os.environ.get("DAY_MINUTES", "20"))
SEED: Final = int(os.environ.get("DAY_SEED", "0")) or random.randrange(1, 2**31)
HERE: Final = Path(__file__).parent
GROWS: Final = 2 << 20
"""Bytes that the parent may have more in the last quarter than in the second.

It keeps the last MiB of its log for `actors logs`, which takes twice that, and is full from the beginning.
"""
DRAINED: Final = 30.0

APPLICATION: Final = """
[nodes.web]
count = 2
[nodes.jobs]
backoff = {{ first = 0.1, cap = 1.0 }}
[children.tally]
class = "tests.soak.day_app:Tally"
on = "jobs"
[listeners.http]
app = "tests.soak.day_app:app"
address = "127.0.0.1:0"
nodes = "web"
[system]
budget = {{ restarts = 1000000, within = 1 }}
[admin]
address = "127.0.0.1:0"
[programs.steady]
command = ["/bin/sleep", "86400"]
instances = 3
budget = {{ restarts = 1000000, within = 1 }}
[programs.talks]
command = ["/bin/sh", "-c", \"\"\"
[ -e {filled} ] || seq -f 'line %g of what fills the log' 10000
touch {filled}
while :; do echo a line; echo a warning >&2; sleep 0.2; done
\"\"\"]
budget = {{ restarts = 1000000, within = 1 }}
[programs.dies]
command = ["/bin/sh", "-c", "echo about to die; sleep 3; exit 7"]
budget = {{ restarts = 1000000, within = 1 }}
[programs.server]
command = ["{python}", "-S", "-E", "-m", "http.server", "{{port}}", "--bind", "127.0.0.1"]
port = {port}
health = "tcp://127.0.0.1:{{port}}"
budget = {{ restarts = 1000000, within = 1 }}
"""

pytestmark = [pytest.mark.soak, pytest.mark.timeout(300 + 70 * MINUTES)]


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """A folder whose path is short enough for sockets."""
    folder = Path(tempfile.mkdtemp(prefix="actors-day-"))
    yield folder
    shutil.rmtree(folder)


class Day:
    """Who does all that, and what it saw."""

    def __init__(self, system: Running, runtime: Path, web: str, admin: str, token: str) -> None:
        self.process = psutil.Process(system.pid)
        self.done: Counter[str] = Counter()
        self.took: dict[str, float] = defaultdict(float)
        self.failed: list[str] = []
        self._runtime = runtime
        self._web = web
        self._admin = admin
        self._token = token
        self._random = random.Random(SEED)

    def command(self, *arguments: str, may_fail: bool = False) -> str:
        """Ask the system by a command; one that fails is noted."""
        code, out, err = run_here(self._runtime, *arguments)
        if code and not may_fail:
            self.failed.append(f"{' '.join(arguments)}: {code} {err.strip()[-300:]}")
        return out

    def programs(self) -> list[dict[str, Any]]:
        """Return what the system knows of its programs."""
        found: list[dict[str, Any]] = json.loads(self.command("ps", "--json"))["programs"]
        return found

    def reload(self) -> None:
        """Replace the nodes that serve."""
        self.command("reload", "web")

    def reload_programs(self) -> None:
        """Replace the processes of programs."""
        # One of its instances may have been killed a moment ago, which is said.
        self.command("reload", self._random.choice(["steady", "talks"]), may_fail=True)

    def scale(self) -> None:
        """Have more or fewer nodes, and instances of a program."""
        self.command("scale", f"web={self._random.randint(1, 3)}")
        self.command("scale", f"steady={self._random.randint(1, 12)}")

    def restart(self) -> None:
        """Restart an actor, and kill the node that it is on."""
        self.command("restart", "tally")
        self.command("kill", "jobs/0", may_fail=True)  # it may be on its way back already

    def crash(self) -> None:
        """Kill programs."""
        for one in self.programs():
            if one["pid"] and self._random.random() < 0.4:
                try:
                    os.kill(one["pid"], signal.SIGKILL)
                except ProcessLookupError:
                    continue

    def connect(self) -> None:
        """Open many connections at once, ask over each, and leave half of them without a word."""
        made = []
        for number in range(60):
            connection = http.client.HTTPConnection(self._web, timeout=20)
            connection.connect()
            made.append(connection)
            if number % 2:
                connection.request("GET", "/")
        for connection in made:
            connection.close()

    def look(self) -> None:
        """Have dashboards open for a while, and read the metrics."""
        headers = {"Authorization": f"Bearer {self._token}"}
        pages = []
        for _ in range(5):
            page = http.client.HTTPConnection(self._admin, timeout=20)
            page.request("GET", "/api/live", headers=headers)
            answer = page.getresponse()
            if answer.status != 200 or not answer.read(1):
                self.failed.append(f"/api/live: {answer.status}")
            pages.append(page)
        metrics = http.client.HTTPConnection(self._admin, timeout=20)
        metrics.request("GET", "/metrics")
        if (status := metrics.getresponse().status) != 200:
            self.failed.append(f"/metrics: {status}")
        for page in [*pages, metrics]:
            page.close()

    def tally(self) -> None:
        """Look at everything as a person does."""
        self.command("ps")
        self.command("tree")
        self.command("top", "--once", "--interval", "0.2", may_fail=True)

    def act(self) -> None:
        """Do one of these."""
        every: list[Callable[[], None]] = [
            *(self.reload, self.reload_programs, self.scale, self.restart),
            *(self.crash, self.connect, self.look, self.tally),
        ]
        chosen = self._random.choice(every)
        began = time.monotonic()
        chosen()
        self.done[chosen.__name__] += 1
        self.took[chosen.__name__] += time.monotonic() - began


def _drain(system: Running, events: Counter[str], last: list[str]) -> None:
    """Read the log to its end, and keep what is counted of it."""
    assert system.process.stderr is not None
    for raw in system.process.stderr:
        record = json.loads(raw)
        events[record["event"]] += 1
        if record["level"] in {"error", "critical"}:
            last.append(raw.decode())
            del last[:-50]


def _figures(process: psutil.Process) -> tuple[int, int]:
    return process.memory_full_info().uss, process.num_fds()


def _settle(day: Day) -> None:
    """Have as many of everything as at the beginning, and wait until all of it runs."""
    day.command("scale", "web=2")
    day.command("scale", "steady=3")
    until = time.monotonic() + DRAINED
    while any(one["state"] != "READY" for one in day.programs() if one["name"] != "dies/0"):
        assert time.monotonic() < until, day.programs()
        time.sleep(0.1)


def _lived(day: Day) -> list[tuple[int, int]]:
    """Live through the day; return what the parent had after each part of it."""
    samples = []
    began = time.monotonic()
    parts = 40
    for part in range(1, parts + 1):
        while time.monotonic() < began + 60 * MINUTES * part / parts:
            day.act()
        _settle(day)
        time.sleep(0.5)
        samples.append(_figures(day.process))
        memory, descriptors = samples[-1]
        print(f"{part}/{parts}: {memory / 2**20:.1f} MiB, {descriptors} descriptors", flush=True)  # noqa: T201 - run with -s
    return samples


def test_after_a_day_the_parent_has_what_it_had_and_nothing_was_lost(
    tmp_path: Path, short_folder: Path, free_tcp_port: int
) -> None:
    file = tmp_path / "actors.toml"
    file.write_text(
        APPLICATION.format(python=sys.executable, port=free_tcp_port, filled=tmp_path / "filled")
    )
    print(f"DAY_SEED={SEED}")  # noqa: T201 - as above
    events: Counter[str] = Counter()
    errors: list[str] = []
    with running(short_folder, "run", str(file), cwd=HERE.parents[1]) as system:
        web = system.event("listening", listener="http")["address"]
        admin = json.loads(run_here(short_folder, "admin", "--json")[1])
        day = Day(system, short_folder, web, admin["address"], admin["token"])
        reader = threading.Thread(target=_drain, args=(system, events, errors))
        reader.start()
        asked = Request("/", b"welcome")
        try:
            with Load(asked.clients(int(web.rpartition(":")[2]))) as load:
                try:
                    samples = _lived(day)
                finally:
                    load.ending = True
                    system.process.send_signal(signal.SIGTERM)
        finally:
            code = system.process.wait(DRAINED)
            reader.join()

    took = {name: f"{many} x {day.took[name] / many:.2f} s" for name, many in day.done.items()}
    print(took, dict(events), dict(load.outcomes), sep="\n")  # noqa: T201 - as above
    quarter = len(samples) // 4
    second, last = samples[quarter : 2 * quarter], samples[-quarter:]
    grown = statistics.median(m for m, _ in last) - statistics.median(m for m, _ in second)
    assert code == 0
    assert day.failed == []
    assert load.outcomes.keys() <= HARMLESS
    assert load.at_the_end.keys() <= HARMLESS
    assert grown < GROWS, f"{grown / 2**20:.1f} MiB"
    assert statistics.median(f for _, f in last) <= statistics.median(f for _, f in second)
    assert events["child ended"] >= day.done["crash"]
