"""A cluster of Ray's on this machine: a head, and machines that are only processes."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import psutil
import pytest

__all__ = ["RayCluster", "ray_cluster"]

_OPTIONS: Final = {"num_cpus": 2, "object_store_memory": 100 * 2**20}


class RayCluster:
    """The head and its machines."""

    def __init__(self, cluster: Any) -> None:
        self._cluster = cluster

    def add_machine(self, **resources: float) -> Any:
        """Add a machine that has these resources of its own."""
        return self._cluster.add_node(**_OPTIONS, resources=resources)

    def kill_machine(self, machine: Any) -> None:
        """Have its raylet vanish; Ray learns of it by its silence."""
        os.kill(machine.all_processes["raylet"][0].process.pid, signal.SIGKILL)

    def kill_head(self) -> None:
        """Have the control service vanish."""
        os.kill(self._cluster.head_node.all_processes["gcs_server"][0].process.pid, signal.SIGKILL)

    def close(self) -> None:
        """End all that is left of it."""
        processes = [
            process.process.pid
            for node in (self._cluster.head_node, *self._cluster.worker_nodes)
            for kind in node.all_processes.values()
            for process in kind
        ]
        for pid in processes:
            try:
                tree = psutil.Process(pid)
                left = [tree, *tree.children(recursive=True)]
            except psutil.NoSuchProcess:
                continue
            for process in left:
                try:
                    process.kill()
                except psutil.NoSuchProcess:
                    continue


@contextmanager
def ray_cluster() -> Iterator[RayCluster]:
    """Run a cluster, to which systems of this process connect."""
    pytest.importorskip("ray", reason="Ray is not installed: make soak installs it")
    from ray.cluster_utils import Cluster  # noqa: PLC0415 - the tests without Ray import this file

    head = {**_OPTIONS, "include_dashboard": False, "resources": {"head": 1}}
    cluster = RayCluster(made := Cluster(initialize_head=True, head_node_args=head))
    before = os.environ.get("RAY_ADDRESS")
    os.environ["RAY_ADDRESS"] = made.address
    try:
        yield cluster
    finally:
        if before is None:
            del os.environ["RAY_ADDRESS"]
        else:
            os.environ["RAY_ADDRESS"] = before
        cluster.close()
