"""With `asgi(preload=True)` an application is imported once, in the process that its nodes are forked from."""

from __future__ import annotations

from pathlib import Path

import anyio
import httpx
import psutil
import pytest

from actors import Topology, asgi, listen, nodes
from actors._system.system import coordinator_of
from actors.errors import BadListener, BootFailed, InvalidSpec
from actors.testing import running_system

PATIENCE = 60
APP = """
import os
importer = os.getpid()

async def app(scope, receive, send):
    if scope["type"] == "http":
        body = b"%d %d" % (importer, os.getpid())
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": body})
"""
THREADED = """
import threading
threading.Thread(target=threading.Event().wait, name="refresher", daemon=True).start()
"""


@pytest.fixture
def anyio_backend() -> str:
    """One loop: fork servers and their launchers know nothing of loops."""
    return "asyncio"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder from which modules are imported."""
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


async def ask(client: httpx.AsyncClient) -> tuple[int, int]:
    """Return which process has imported the application, and which one serves it."""
    while True:
        try:
            text = (await client.get("http://shop/")).text
        except httpx.TransportError:  # the node was killed while it answered
            await anyio.lowlevel.checkpoint()
        else:
            importer, server = map(int, text.split())
            return importer, server


async def test_a_killed_node_does_not_import_the_application_again(folder: Path) -> None:
    (folder / "preloaded_shop.py").write_text(APP)
    port = listen(asgi("preloaded_shop:app", preload=True), f"unix:{folder}/s")
    with anyio.fail_after(PATIENCE):
        async with running_system(Topology(nodes=[nodes("web")], listeners=[port])) as system:
            transport = httpx.AsyncHTTPTransport(uds=f"{folder}/s")
            async with httpx.AsyncClient(transport=transport, timeout=PATIENCE) as client:
                importer, first = await ask(client)
                assert {importer} == coordinator_of(system).launcher.fork_server_pids != {first}
                psutil.Process(first).kill()
                while (found := await ask(client))[1] == first:
                    await anyio.lowlevel.checkpoint()
                assert found[0] == importer


async def test_an_application_whose_import_leaves_threads_is_refused_by_its_name(
    folder: Path,
) -> None:
    (folder / "threaded_shop.py").write_text(APP + THREADED)
    port = listen(asgi("threaded_shop:app", preload=True), f"unix:{folder}/s")
    with anyio.fail_after(PATIENCE), pytest.raises(BootFailed) as refused:
        async with running_system(Topology(nodes=[nodes("web")], listeners=[port])):
            pass
    assert str(refused.value) == (
        "nodes('web'): preload of 'threaded_shop' has left threads running (refresher), and a forked "
        "process has none of them: start them in the lifespan of the application, or serve it without "
        "preload"
    )


def test_only_processes_can_be_forked_with_an_application() -> None:
    port = listen(asgi("shop:app", preload=True))
    wanted = (
        "Topology: shop:app has preload=True, which needs nodes of kind='process': "
        "'web' are of kind 'thread'"
    )
    with pytest.raises(InvalidSpec) as refused:
        Topology(nodes=[nodes("web", kind="thread")], listeners=[port])
    assert str(refused.value) == wanted


def test_preload_of_an_application_is_yes_or_no() -> None:
    odd: object = "shop"
    with pytest.raises(BadListener, match="preload must be True or False, got 'shop'"):
        asgi("shop:app", preload=odd)  # type: ignore[arg-type]
