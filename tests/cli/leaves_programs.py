"""A topology with an actor that leaves programs behind; the tests of orphans run it."""

import sys

import anyio

from actors import Actor, Topology, child, nodes

_DAEMON = "import os, sys; os.fork() or (os.setsid(), os.fork() or os._exit(3), os._exit(3))"


class Leaver(Actor):
    """Starts programs that detach themselves and end, and one that its own node waits for."""

    async def on_start(self) -> None:
        for _ in range(3):
            await anyio.run_process([sys.executable, "-c", _DAEMON], check=False)
        async with await anyio.open_process(
            [sys.executable, "-c", "raise SystemExit(5)"], start_new_session=True
        ) as own:
            code = await own.wait()
        self.context.log.info("own program", code=code)


topology = Topology(
    nodes=[nodes("web")],
    children=[child(Leaver, name="leaver", on="web")],
)
