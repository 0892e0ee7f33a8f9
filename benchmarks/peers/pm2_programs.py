"""Programs under PM2, whose daemon runs already: the peer of `ours/programs.py`."""

import json
import os
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks._programs import MANY, SERVER, WAITS, measure_crashes, report_many

_PM2 = Path(__file__).parents[2] / ".peers" / "node_modules" / ".bin" / "pm2"


class Pm2:
    """A daemon of its own, in a folder of its own."""

    def __init__(self, folder: str) -> None:
        self._folder = Path(folder)
        self._env = {**os.environ, "PM2_HOME": folder, "PM2_DISABLE_VERSION_CHECK": "true"}

    def run(self, *arguments: str) -> str:
        """Run its command."""
        command = [str(_PM2), *arguments]
        done = subprocess.run(command, env=self._env, capture_output=True, check=True, text=True)
        return done.stdout

    def start(self, command: tuple[str, ...], instances: int) -> None:
        """Start instances of a program."""
        apps = [
            {
                "name": f"app{number}",
                "script": command[0],
                "args": list(command[1:]),
                "interpreter": "none",
            }
            for number in range(instances)
        ]
        file = self._folder / "ecosystem.config.json"
        file.write_text(json.dumps({"apps": apps}))
        self.run("start", str(file))

    def programs(self) -> list[dict[str, Any]]:
        """Return what it knows of them."""
        found: list[dict[str, Any]] = json.loads(self.run("jlist"))
        return found

    @property
    def daemon(self) -> int:
        """The number of its process."""
        return int((self._folder / "pm2.pid").read_text())


def main() -> None:
    """Measure both."""
    with tempfile.TemporaryDirectory() as folder:
        pm2 = Pm2(folder)
        try:
            pm2.start(SERVER, 1)
            measure_crashes(lambda: int(pm2.programs()[0]["pid"]))
            pm2.run("delete", "all")
            began = time.perf_counter()
            pm2.start(WAITS, MANY)
            started = time.perf_counter() - began
            assert all(one["pm2_env"]["status"] == "online" for one in pm2.programs())
            report_many(started, pm2.daemon)
        finally:
            pm2.run("kill")


if __name__ == "__main__":
    main()
