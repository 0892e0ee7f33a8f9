"""What Kubernetes does for `actors join`: a fixed number of programs, each started again under its own name."""

from __future__ import annotations

import threading
from pathlib import Path

from tests.machines.joining import Agent, Cluster


class StatefulSet:
    """So many agents, each with a name that no other has before it has ended.

    Attributes:
        cluster: their port and secret.
    """

    def __init__(self, folder: Path, count: int) -> None:
        self.cluster = Cluster(folder)
        self._over = threading.Event()
        self._pods = [self._start(number) for number in range(count)]
        self._watch = threading.Thread(target=self._restart_those_that_end)
        self._watch.start()

    def _start(self, number: int) -> Agent:
        return self.cluster.agent("--name", f"pod-{number}")

    def _restart_those_that_end(self) -> None:
        while not self._over.wait(0.05):
            for number, pod in enumerate(self._pods):
                if pod.process.poll() is not None:
                    self._pods[number] = self._start(number)

    def close(self) -> None:
        """End all."""
        self._over.set()
        self._watch.join()
        self.cluster.close()
