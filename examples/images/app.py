"""The ASGI application: a page, uploads, pictures and figures. Runs on every `web` node."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import asdict
from itertools import count
from pathlib import Path
from typing import Any, Final

import anyio.to_thread
from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

import actors
from actors.errors import DeadlineExceeded, MailboxFull, StartFailed, WorkerLost

from ._settings import POOL, folder
from .gallery import Gallery
from .resize import NotAPicture, resize

__all__ = ["app"]

_PAGE: Final = Path(__file__).with_name("page")
_MOST_BYTES: Final = 20 * 1024 * 1024
_SECONDS: Final = 10.0
_WIDTHS: Final = range(16, 1025)
_LONGEST_NAME: Final = 100

gallery = Gallery(folder())


@asynccontextmanager
async def lifespan(_: Starlette) -> AsyncGenerator[dict[str, Any], None]:
    """Start this node's own pool."""
    yield {"pool": await actors.current().pool(POOL)}


async def page(_: Request) -> Response:
    """Serve the page."""
    return FileResponse(_PAGE / "index.html")


async def upload(request: Request) -> Response:
    """Resize the picture that is the body: ``POST /images?name=NAME&width=PIXELS``."""
    width = _width(request.query_params.get("width", "320"))
    name = request.query_params.get("name", "").strip()[:_LONGEST_NAME] or "a picture"
    data = await _body(request)
    try:
        webp, size = await request.state.pool.run_nowait(resize, data, width, timeout=_SECONDS)
    except NotAPicture as error:
        raise HTTPException(400, str(error)) from error
    except MailboxFull as error:
        busy = "too many pictures wait already: try again"
        raise HTTPException(503, busy, {"retry-after": "2"}) from error
    except DeadlineExceeded as error:
        raise HTTPException(503, f"this took longer than {_SECONDS:g} seconds") from error
    except StartFailed as error:
        raise HTTPException(503, f"no worker starts: {error}") from error
    except WorkerLost as error:
        raise HTTPException(500, f"the worker has ended: {error}") from error
    picture = await anyio.to_thread.run_sync(gallery.add, name, webp, size)
    return JSONResponse(asdict(picture), 201)


def _width(text: str) -> int:
    if text.isascii() and text.isdecimal() and len(text) <= len(str(_WIDTHS.stop)):
        width = int(text)
        if width in _WIDTHS:
            return width
    wanted = f"width must be a number from {_WIDTHS.start} to {_WIDTHS.stop - 1}"
    raise HTTPException(400, f"{wanted}, got {text[:20]!r}")


async def _body(request: Request) -> bytes:
    """Read the body as far as it is allowed to be long."""
    too_long = HTTPException(413, f"a picture may have {_MOST_BYTES >> 20} MiB")
    length = request.headers.get("content-length", "0")
    if length.isdecimal() and int(length) > _MOST_BYTES:
        raise too_long
    data = bytearray()
    try:
        async for part in request.stream():
            data += part
            if len(data) > _MOST_BYTES:
                raise too_long
    except ClientDisconnect as error:
        raise HTTPException(400, "the upload was broken off") from error
    if not data:
        raise HTTPException(400, "the body is empty: it has to be the picture")
    return bytes(data)


async def pictures(_: Request) -> Response:
    """List the pictures, the newest first."""
    found = await anyio.to_thread.run_sync(gallery.newest)
    return JSONResponse([asdict(picture) for picture in found])


async def picture(request: Request) -> Response:
    """Serve one picture."""
    file = await anyio.to_thread.run_sync(gallery.file, request.path_params["id"])
    if file is None:
        raise HTTPException(404, "there is no such picture any more")
    forever = {"cache-control": "public, max-age=31536000, immutable"}
    return FileResponse(file, media_type="image/webp", headers=forever)


async def stats(_: Request) -> Response:
    """Return the figures of the pools of all web nodes; times in seconds."""
    system = actors.current()
    pools: list[dict[str, Any]] = []
    for slot in count():
        pool = await system.pool(f"{POOL}-{slot}")
        if pool is None:
            break
        pools.append(asdict(await pool.stats()))
    return JSONResponse({"node": system.node.name, "pools": pools})


async def refused(_: Request, error: Exception) -> Response:
    """Say as JSON why a request was refused."""
    assert isinstance(error, HTTPException)
    return JSONResponse({"error": error.detail}, error.status_code, error.headers)


class Headers:
    """ASGI middleware that adds headers to every response, such as the node that made it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["x-actors-node"] = actors.current().node.name
                headers["x-content-type-options"] = "nosniff"
                headers["content-security-policy"] = "default-src 'self'; img-src 'self' data:"
                headers.setdefault("cache-control", "no-cache")
            await send(message)

        await self._app(scope, receive, send_with_headers if scope["type"] == "http" else send)


# Around Starlette, so that its error responses have the headers too.
app = Headers(
    Starlette(
        routes=[
            Route("/", page),
            Route("/images", pictures),
            Route("/images", upload, methods=["POST"]),
            Route("/images/{id}.webp", picture),
            Route("/stats", stats),
            Mount("/page", StaticFiles(directory=_PAGE)),
        ],
        exception_handlers={HTTPException: refused},
        lifespan=lifespan,
    )
)
