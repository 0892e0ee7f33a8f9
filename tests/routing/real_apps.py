"""Applications as the documentation of Starlette and FastAPI teaches to write them; they know nothing of us.

Only `topology` and the route `/counted` do.
"""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import anyio
import anyio.lowlevel
from fastapi import (
    APIRouter,
    BackgroundTasks,
    Depends,
    FastAPI,
    File,
    Form,
    Header,
    HTTPException,
    Query,
    UploadFile,
    WebSocketException,
)
from fastapi.responses import JSONResponse as FastJSONResponse
from fastapi.security import HTTPBasic, HTTPBasicCredentials
from pydantic import BaseModel, Field
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.endpoints import HTTPEndpoint, WebSocketEndpoint
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import (
    FileResponse,
    JSONResponse,
    PlainTextResponse,
    RedirectResponse,
    Response,
    StreamingResponse,
)
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.websockets import WebSocket, WebSocketDisconnect

import actors

PAGE = Path(__file__).resolve().parents[2] / "examples" / "chat" / "page"


# ---------------------------------------------------------------- Starlette


@contextlib.asynccontextmanager
async def lifespan(_: Starlette) -> AsyncIterator[dict[str, Any]]:
    yield {"notes": [], "opened": "by lifespan"}


async def where(request: Request) -> Response:
    number: int = request.path_params["number"]
    return JSONResponse(
        {
            "number": number,
            "query": request.query_params.getlist("q"),
            "url": str(request.url_for("where", number=number + 1)),
            "client": request.client is not None and request.client.host,
            "opened": request.state.opened,
        }
    )


async def cookies(request: Request) -> Response:
    response = PlainTextResponse(request.cookies.get("seen", "never"))
    response.set_cookie("seen", "before", httponly=True)
    return response


async def later(request: Request) -> Response:
    notes: list[str] = request.state.notes

    async def note(text: str) -> None:
        notes.append(text)

    return PlainTextResponse("soon", background=BackgroundTask(note, "done after the answer"))


async def notes(request: Request) -> Response:
    return JSONResponse(request.state.notes)


async def slowly(request: Request) -> Response:
    async def lines() -> AsyncIterator[str]:
        for number in range(1000):
            yield f"line {number}\n"
            if number % 100 == 0:
                await anyio.lowlevel.checkpoint()

    return StreamingResponse(lines(), media_type="text/plain")


async def until_gone(request: Request) -> Response:
    notes: list[str] = request.state.notes

    async def beats() -> AsyncIterator[str]:
        try:
            while not await request.is_disconnected():
                yield "beat\n"
                await anyio.sleep(0.01)
        finally:
            notes.append("the client went")

    return StreamingResponse(beats(), media_type="text/event-stream")


async def form(request: Request) -> Response:
    async with request.form() as fields:
        file = fields["file"]
        assert not isinstance(file, str)
        content = await file.read()
        return JSONResponse([fields["title"], file.filename, len(content)])


async def teapot(_: Request) -> Response:
    raise StarletteHTTPException(418, detail="short and stout")


async def bug(_: Request) -> Response:
    raise ZeroDivisionError("by zero")


async def on_bug(_: Request, error: Exception) -> Response:
    return PlainTextResponse(f"our fault: {type(error).__name__}", 500)


async def on_http(_: Request, error: Exception) -> Response:
    assert isinstance(error, StarletteHTTPException)
    return JSONResponse({"sorry": error.detail}, error.status_code)


class Thing(HTTPEndpoint):
    """One address, several methods."""

    async def get(self, _: Request) -> Response:
        return PlainTextResponse("got")

    async def put(self, request: Request) -> Response:
        return PlainTextResponse(f"put {len(await request.body())}")


class Timing(BaseHTTPMiddleware):
    """A middleware as people write it."""

    async def dispatch(self, request: Request, call_next: RequestResponseEndpoint) -> Response:
        response = await call_next(request)
        response.headers["x-passed"] = request.url.path
        return response


class Json(WebSocketEndpoint):
    """Answers JSON with JSON."""

    encoding = "json"

    async def on_connect(self, websocket: WebSocket) -> None:
        await websocket.accept(subprotocol="json.v1")

    async def on_receive(self, websocket: WebSocket, data: Any) -> None:
        await websocket.send_json({"echo": data, "opened": websocket.state.opened})


async def echo(websocket: WebSocket) -> None:
    await websocket.accept()
    with contextlib.suppress(WebSocketDisconnect):
        while True:
            message = await websocket.receive()
            if message["type"] == "websocket.disconnect":
                return
            if message.get("text") is not None:
                await websocket.send_text(message["text"])
            else:
                await websocket.send_bytes(message["bytes"])


async def closes(websocket: WebSocket) -> None:
    code = int(websocket.query_params["code"])
    if code == 0:
        await websocket.close()  # before accept: refused
        return
    await websocket.accept()
    await websocket.close(code, reason="because")


inner = Starlette(routes=[Route("/where", lambda r: PlainTextResponse(r.scope["root_path"]))])

starlette_app = Starlette(
    lifespan=lifespan,
    routes=[
        Route("/where/{number:int}", where, name="where"),
        Route("/cookies", cookies),
        Route("/later", later),
        Route("/notes", notes),
        Route("/slowly", slowly),
        Route("/until-gone", until_gone),
        Route("/form", form, methods=["POST"]),
        Route("/teapot", teapot),
        Route("/bug", bug),
        Route("/thing", Thing),
        Route("/old", lambda _: RedirectResponse("/thing")),
        Route("/file", lambda _: FileResponse(PAGE / "link.js", filename="link.js")),
        Mount("/static", StaticFiles(directory=PAGE, html=True)),
        Mount("/inner", inner),
        WebSocketRoute("/json", Json),
        WebSocketRoute("/echo", echo),
        WebSocketRoute("/closes", closes),
    ],
    middleware=[
        Middleware(CORSMiddleware, allow_origins=["https://example.org"]),
        Middleware(GZipMiddleware, minimum_size=500),
        Middleware(Timing),
    ],
    exception_handlers={StarletteHTTPException: on_http, Exception: on_bug},
)


# ---------------------------------------------------------------- FastAPI


class Item(BaseModel):
    """What a shop has."""

    name: str
    price: float = Field(gt=0)
    tags: list[str] = []


class OutOfStock(Exception):
    """An exception of the application's own."""


class Counter(actors.Actor):
    """An actor that routes share."""

    def __init__(self) -> None:
        self.n = 0

    async def add(self) -> int:
        self.n += 1
        return self.n


@contextlib.asynccontextmanager
async def shop_lifespan(_: FastAPI) -> AsyncIterator[dict[str, Any]]:
    yield {"log": []}


def session(request: Request) -> Iterator[str]:
    request.state.log.append("session opens")
    yield "session"
    request.state.log.append("session closes")


def page_of(limit: Annotated[int, Query(le=100)] = 10) -> int:
    return limit


Session = Annotated[str, Depends(session)]

router = APIRouter(prefix="/items", tags=["items"])


@router.post("/", status_code=201)
async def create(item: Item, used: Session) -> Item:
    return item


@router.get("/")
def listed(limit: Annotated[int, Depends(page_of)]) -> list[int]:  # a plain def: runs in a thread
    return list(range(limit))


@router.get("/{number}")
async def one(number: int, x_token: Annotated[str | None, Header()] = None) -> dict[str, Any]:
    if number > 99:
        raise HTTPException(404, detail="no such item", headers={"x-hint": "below 100"})
    if number == 13:
        raise OutOfStock
    return {"number": number, "token": x_token}


fastapi_app = FastAPI(title="A shop", lifespan=shop_lifespan)
fastapi_app.include_router(router)


@fastapi_app.middleware("http")
async def add_header(
    request: Request, call_next: Callable[[Request], Awaitable[Response]]
) -> Response:
    response = await call_next(request)
    response.headers["x-shop"] = "open"
    return response


@fastapi_app.exception_handler(OutOfStock)
async def sold_out(_: Request, __: OutOfStock) -> FastJSONResponse:
    return FastJSONResponse({"message": "sold out"}, 409)


@fastapi_app.post("/upload")
async def upload(file: Annotated[UploadFile, File()], note: Annotated[str, Form()]) -> list[Any]:
    return [file.filename, len(await file.read()), note]


@fastapi_app.post("/mail")
async def mail(request: Request, background: BackgroundTasks) -> str:
    background.add_task(request.state.log.append, "mailed")
    return "will do"


@fastapi_app.get("/log")
async def log(request: Request) -> list[str]:
    found: list[str] = request.state.log
    return found


@fastapi_app.get("/me")
async def me(who: Annotated[HTTPBasicCredentials, Depends(HTTPBasic())]) -> str:
    return who.username


@fastapi_app.get("/counted")
async def counted(request: Request) -> int:
    counter = await request.state.actors.spawn(
        Counter, name="counter", on="web", if_exists="return"
    )
    count: int = await counter.ask(Counter.add)
    return count


def only_with_a_token(token: Annotated[str | None, Query()] = None) -> str:
    if token is None:
        raise WebSocketException(1008, reason="a token is needed")
    return token


@fastapi_app.websocket("/talk/{room}")
async def talk(
    websocket: WebSocket, room: str, token: Annotated[str, Depends(only_with_a_token)]
) -> None:
    await websocket.accept()
    with contextlib.suppress(WebSocketDisconnect):
        async for text in websocket.iter_text():
            await websocket.send_json({"room": room, "token": token, "said": text})


sub = FastAPI(title="Within")


@sub.get("/hello")
async def hello(request: Request) -> str:
    return str(request.scope["root_path"])


fastapi_app.mount("/sub", sub)


def topology() -> actors.Topology:
    """Serve both from two process nodes."""
    return actors.Topology(
        nodes=[actors.nodes("web", count=2)],
        listeners=[
            actors.listen(
                actors.asgi(f"tests.routing.real_apps:{name}_app"), "127.0.0.1:0", name=name
            )
            for name in ("starlette", "fastapi")
        ],
    )
