"""`python -m tests.machines.parted_parent OPTIONS`: a system over hosts whose network a test cuts.

It prints what happens as lines of JSON: the events, "ready", and what came of each command. Commands come on
stdin: `ask NAME` asks the owner, `across` has the second node's actor ask the first one's. The end of stdin
ends it.
"""

from __future__ import annotations

import json
import sys
import time
from functools import partial
from typing import Any

import anyio

from actors import ActorsError, Ref, System, Topology, nodes, run
from actors.machines.lease_page import boot_time
from tests.machines.ledger_owner import Asker, LedgerOwner


def say(**facts: Any) -> None:
    """Print a line."""
    sys.stdout.write(json.dumps({"at": boot_time(), **facts}, default=str) + "\n")
    sys.stdout.flush()


class Commands:
    """Asks, and says what came of it."""

    def __init__(self, owner: Ref[LedgerOwner], asker: Ref[Asker]) -> None:
        self._owner = owner
        self._asker = asker

    async def ask(self, name: str) -> None:
        """Ask the owner directly."""
        await self._tell(name, self._owner.within(60.0).ask(LedgerOwner.pid))

    async def across(self, name: str) -> None:
        """Ask the owner from another host."""
        await self._tell(name, self._asker.within(60.0).ask(Asker.pid_of, self._owner))

    async def _tell(self, name: str, asked: Any) -> None:
        began = time.monotonic()
        try:
            answer = await asked
        except ActorsError as error:
            facts = {"error": type(error).__name__, "text": str(error)}
        else:
            facts = {"answer": answer}
        say(name=name, after=time.monotonic() - began, **facts)


async def main(options: dict[str, Any]) -> None:
    """Run until stdin ends."""
    far = nodes("far", count=2, engine="hosts", on={"hosts": options["hosts"]}, boot_timeout=120.0)
    topology = Topology(nodes=[far], patience=120.0)
    async with System(topology, lease=options["lease"], reach=options["reach"]) as system:
        owner = await system.spawn(LedgerOwner, options["ledger"], on="far/0", name="owner")
        asker = await system.spawn(Asker, on="far/1")
        async with anyio.create_task_group() as tasks:

            async def events() -> None:
                async for event in system.events():
                    say(event=event.kind, **event.facts)

            tasks.start_soon(events)
            commands = Commands(owner, asker)
            say(ready=True)
            async for line in anyio.wrap_file(sys.stdin):
                what, name = line.strip().split(" ", 1)
                tasks.start_soon(getattr(commands, what), name)
            tasks.cancel_scope.cancel()


if __name__ == "__main__":
    run(partial(main, json.loads(sys.argv[1])))
