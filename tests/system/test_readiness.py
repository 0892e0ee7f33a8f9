"""A node whose check says no gets no new connections until it says yes."""

from __future__ import annotations

import textwrap
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import anyio
import httpx
import pytest

from actors import LeastConnections, Sticky, System, Topology, asgi, keys, listen, nodes
from actors._system.system import coordinator_of
from actors.errors import BootFailed, InvalidSpec
from actors.policies import ReusePort
from actors.routing import Policy, RoutingError
from actors.testing import running_system

PATIENCE: Final = 60.0
CHECKED: Final = """
import os
from pathlib import Path
from actors import current

FOLDER = Path({folder!r})

async def check():
    name = current().node.name.replace("/", "-")
    if (FOLDER / f"{{name}}.raises").exists():
        raise LookupError("no database")
    return not (FOLDER / f"{{name}}.no").exists()

def plain():
    return not (FOLDER / f"{{os.getpid()}}.no").exists()

async def app(scope, receive, send):
    if scope["type"] == "http":
        body = f"{{scope['state']['actors'].node.name}} {{os.getpid()}}".encode()
        await send({{"type": "http.response.start", "status": 200, "headers": []}})
        await send({{"type": "http.response.body", "body": body}})
"""


@pytest.fixture
def anyio_backend() -> str:
    """One loop: the clients are written for it, and the nodes have their own."""
    return "asyncio"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "checked.py").write_text(textwrap.dedent(CHECKED).format(folder=str(tmp_path)))
    return tmp_path


class Site:
    """Two nodes that serve one address, and files by which their checks say no."""

    def __init__(self, system: System, folder: Path, port: int) -> None:
        self.events = system.events()
        self._system = system
        self._folder = folder
        self.url = f"http://127.0.0.1:{port}/"

    async def server(self) -> str:
        """Return which node a new connection gets."""
        async with httpx.AsyncClient(timeout=PATIENCE) as client:
            return (await client.get(self.url)).text.partition(" ")[0]

    def pid(self, name: str) -> int | None:
        return next(node.pid for node in self._system.nodes if node.name == name)

    def file(self, name: str, kind: str = "no") -> Path:
        return self._folder / f"{name.replace('/', '-')}.{kind}"

    async def next(self, kind: str) -> Any:
        """Return the facts of the next event of this kind."""
        while (event := await anext(self.events)).kind != kind:
            pass
        return event.facts

    async def both(self, *kinds: str) -> dict[str, Any]:
        """Return the facts of the next event of each of these kinds, in whichever order they come."""
        seen: dict[str, Any] = {}
        while len(seen) < len(kinds):
            event = await anext(self.events)
            if event.kind in kinds:
                seen[event.kind] = event.facts
        return seen


@asynccontextmanager
async def serving(
    folder: Path, policy: Policy | None = None, **options: Any
) -> AsyncIterator[Site]:
    port = listen(asgi("checked:app"), "127.0.0.1:0", policy=policy)
    options = {"count": 2, "ready": "checked:check", **options}
    with anyio.fail_after(PATIENCE):
        async with running_system(
            Topology(nodes=[nodes("web", **options)], listeners=[port])
        ) as made:
            [listener] = coordinator_of(made).listeners
            assert listener.router is not None
            yield Site(made, folder, listener.router.port)


@pytest.mark.parametrize("policy", [LeastConnections(), Sticky(keys.ip()), ReusePort()], ids=str)
async def test_a_node_that_says_no_gets_no_new_connections_until_it_says_yes(
    folder: Path, policy: Policy
) -> None:
    async with serving(folder, policy) as site:
        first = await site.server()
        other = "web/1" if first == "web/0" else "web/0"
        site.file(first).touch()
        told = await site.next("node_unready")
        assert (told["node"], told["check"]) == (first, "checked:check")
        assert {await site.server() for _ in range(6)} == {other}
        site.file(other, "raises").touch()
        site.file(first).unlink()
        told = await site.both("node_unready", "node_ready_again")
        assert (told["node_unready"]["node"], told["node_ready_again"]["node"]) == (other, first)
        assert told["node_unready"]["why"] == "LookupError: no database"
        assert {await site.server() for _ in range(6)} == {first}


async def test_a_node_that_says_no_for_long_is_renewed_and_its_connections_go_on(
    folder: Path,
) -> None:
    async with serving(folder, count=1, ready="checked:plain", unready_after=0.2) as site:
        before = site.pid("web/0")
        async with httpx.AsyncClient(timeout=PATIENCE) as kept:
            assert (await kept.get(site.url)).status_code == 200
            (folder / f"{before}.no").touch()
            await site.next("node_unready")
            assert (await kept.get(site.url)).text == f"web/0 {before}"
        told = await site.next("node_replaced")
        assert told["why"] == "replaced: its check 'checked:plain' has said no for 0.2 s"
        assert await site.server() == "web/0"
        assert site.pid("web/0") != before


async def test_a_node_is_not_ready_before_its_check_says_yes(folder: Path) -> None:
    (folder / "web-0.no").touch()
    with pytest.raises(BootFailed, match="its check 'checked:check' says no"):
        async with serving(folder, count=1, boot_timeout=6.0):
            pass


async def test_a_check_that_is_not_there_is_one_clear_error(folder: Path) -> None:
    with pytest.raises(RoutingError, match="module 'checked' has no attribute 'chek'"):
        async with serving(folder, count=1, ready="checked:chek"):
            pass


def test_a_check_is_an_import_path() -> None:
    with pytest.raises(
        InvalidSpec, match=r"ready must be an import path such as 'pkg\.mod:function'"
    ):
        nodes("web", ready="checked")
