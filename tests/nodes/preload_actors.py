"""The actor of the tests about modules that are imported for all nodes of a group."""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path
from typing import Any

from actors import Actor


def variable_of(module: str, name: str) -> Any:
    """Return a variable of a module, which is imported now if it was not before."""
    return getattr(importlib.import_module(module), name)


def private_kib() -> int:
    """Return the KiB of memory that this process has for itself alone."""
    rollup = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in rollup if line.startswith("Private_"))


class Importer(Actor):
    """Tells what its process has."""

    async def variable(self, module: str, name: str) -> Any:
        return variable_of(module, name)

    async def has(self, module: str) -> bool:
        return module in sys.modules

    async def environment(self, name: str) -> str | None:
        return os.environ.get(name)

    async def pid(self) -> int:
        return os.getpid()

    async def read(self, module: str, name: str) -> int:
        """Read all of a large value; return how many MiB of memory this process has for itself alone."""
        value = await self.variable(module, name)
        assert value.count(1) == len(value)
        return private_kib() >> 10
