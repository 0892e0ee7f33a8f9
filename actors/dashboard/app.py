"""The ASGI application of the dashboard: `/healthz`, `/readyz`, `/metrics`, the page and what it asks for.

Rule 1: `/healthz`, `/readyz` and `/metrics` answer everybody; the files of the page say nothing of the system;
all else needs the token.
Rule 2: requests that ask the parent the same thing at the same time share one answer.
Rule 3: the page is sent what is shown on it: figures of nodes, listeners and pools, and a part of the tree.
That costs 3 % of a processor for 10,000 actors while a page is open, and nothing while none is.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from importlib.resources import files
from typing import Any, Final

from actors._base.durations import Histogram, raw_since
from actors._base.errors import ActorsError
from actors._system.control.top import request_figures
from actors.dashboard.http import Receive, Refused, Request, Response, Scope, Send, begin
from actors.dashboard.prometheus import CONTENT_TYPE, exposition
from actors.dashboard.user_metrics import UserMetrics

__all__ = ["app"]

_SILENT: Final = 5.0
"""Seconds for the parent to answer: then the system is not healthy."""
_LOOK: Final = 2.5
"""Seconds between two looks that the page is sent."""
_PROFILED: Final = 3.0
"""Seconds for which nodes are profiled when the page asks for it."""
_MOST_PAGES: Final = 16
_MOST_ACTORS: Final = 20
_LONGEST_NUMBER: Final = 9
_LONGEST_FACT: Final = 2000
_EVENTS: Final = 200
"""Events that are sent at once."""
_FILES: Final = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
    "/page.js": ("page.js", "text/javascript; charset=utf-8"),
    "/flame.css": ("flame.css", "text/css; charset=utf-8"),
    "/flame.js": ("flame.js", "text/javascript; charset=utf-8"),
}
_CHANGES: Final = {
    "scale": {"groups"},
    "reload": {"nodes"},
    "restart": {"name", "actor"},
    "stop_any": {"name", "actor"},
    "kill_any": {"name", "actor"},
}


class _Shared:
    """An answer that all who ask while it is on its way get."""

    def __init__(self, ask: Callable[[], Awaitable[Any]]) -> None:
        self._ask = ask
        self._task: asyncio.Future[Any] | None = None

    async def get(self) -> Any:
        if self._task is None or self._task.done():
            self._task = asyncio.ensure_future(self._ask())
        return await asyncio.shield(self._task)


class Dashboard:
    """The application. One system, one node: it is made when its lifespan begins."""

    def __init__(self) -> None:
        self._system: Any = None
        self._token = ""
        self._hosts: list[str] = []
        self._pages = 0
        self._users = UserMetrics()
        self._ps = _Shared(lambda: self._ask("ps"))
        self._figures = _Shared(lambda: self._ask("figures"))
        self._serving = _Shared(lambda: self._ask("serving"))
        self._top = _Shared(self._look)
        self._served: tuple[float, dict[str, Any]] | None = None
        self._routes: dict[str, Callable[[Request, Send], Awaitable[Response | None]]] = {
            "/healthz": self._healthz,
            "/readyz": self._readyz,
            "/metrics": self._metrics,
            "/api/live": self._live,
            "/api/children": self._children,
            "/api/stack": self._stack,
            "/api/profile": self._profile,
            "/api/actor": self._actor,
            "/api/change": self._change,
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or the lifespan."""
        if scope["type"] == "lifespan":
            await self._lifespan(scope, receive, send)
            return
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        try:
            response = await self._respond(Request(scope, receive), send)
        except Refused as refused:
            response = Response.of_json({"error": str(refused)}, refused.status, refused.headers)
        except (ActorsError, TimeoutError) as error:
            why = str(error) or "the system did not answer in time"
            response = Response.of_json({"error": why}, 409)
        if response is not None:
            await response.send(send, head_only=scope["method"] == "HEAD")

    async def _lifespan(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        self._system = scope["state"]["actors"]
        settings = await self._ask("settings")
        self._token, self._hosts = settings["token"], settings["hosts"]
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})

    async def _ask(self, operation: str, *, by: str = "", **arguments: Any) -> Any:
        # The face that users have has no such verb.
        return await self._system._access.control(operation, arguments, by)  # noqa: SLF001

    async def _respond(self, request: Request, send: Send) -> Response | None:
        changes = request.path == "/api/change"
        taken = ["POST"] if changes else ["GET", "HEAD"]
        if request.method not in taken:
            why = f"{request.path[:100]} takes no {request.method[:20]}"
            raise Refused(405, why, ((b"allow", ", ".join(taken).encode()),))
        if request.path in _FILES:
            request.check_host(self._hosts)
            name, content_type = _FILES[request.path]
            return Response(files(__package__).joinpath("page", name).read_bytes(), content_type)
        route = self._routes.get(request.path)
        if route is None:
            raise Refused(404, "there is nothing here")
        if request.path.startswith("/api/"):
            request.check_host(self._hosts)
            request.check_token(self._token)
        return await route(request, send)

    # -- for everybody -----------------------------------------------------------------------------

    async def _healthz(self, _request: Request, _send: Send) -> Response:
        try:
            await asyncio.wait_for(self._ps.get(), _SILENT)
        except (ActorsError, TimeoutError):
            why = f"the parent has not answered for {_SILENT:g} s"
            return Response.of_json({"healthy": False, "why": why}, 503)
        return Response.of_json({"healthy": True})

    async def _readyz(self, _request: Request, _send: Send) -> Response:
        try:
            shown = await asyncio.wait_for(self._ps.get(), _SILENT)
        except (ActorsError, TimeoutError):
            return Response.of_json({"ready": False, "why": ["the parent does not answer"]}, 503)
        why = _not_ready(shown)
        return Response.of_json({"ready": not why, "why": why}, 503 if why else 200)

    async def _metrics(self, _request: Request, _send: Send) -> Response:
        try:
            figures = await asyncio.wait_for(self._figures.get(), _SILENT)
            self._users.take(figures["nodes"])
            body = exposition(figures, self._users.families())
        except ModuleNotFoundError:
            hint = "metrics need prometheus_client: pip install 'actors-framework[admin]'\n"
            return Response(hint.encode(), status=501)
        return Response(body, CONTENT_TYPE)

    # -- for the page ------------------------------------------------------------------------------

    async def _live(self, request: Request, send: Send) -> None:
        """Send looks at the system and its events as they come, until the page is closed."""
        if self._pages >= _MOST_PAGES:
            raise Refused(429, f"{_MOST_PAGES} pages are open already, which is as many as may")
        self._pages += 1
        events = self._system.events()
        tasks: list[asyncio.Task[Any]] = []
        try:
            await begin(send, "text/event-stream")
            loop = asyncio.get_running_loop()
            tasks += [
                loop.create_task(self._send_looks(send)),
                loop.create_task(_send_events(events, send)),
                loop.create_task(_until_closed(request)),
            ]
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                if task.done() and not task.cancelled() and (error := task.exception()):
                    raise error
            await send({"type": "http.response.body"})
        except OSError:
            pass  # the page has gone
        finally:
            self._pages -= 1
            events.close()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _look(self) -> Any:
        """Ask what nodes do; of requests, say what there was since the last look."""
        look = await self._ask("top", seconds=1.0, rows=_MOST_ACTORS)
        now, served = time.monotonic(), look.pop("served")
        last, self._served = self._served, (now, served)
        if last is not None and now - last[0] < 2 * _LOOK:
            for shown in look["requests"]:
                shown.update(_since(shown["listener"], served, last[1], now - last[0]))
        return look

    async def _send_looks(self, send: Send) -> None:
        while True:
            began = time.monotonic()
            try:
                busy, serving = await asyncio.gather(self._top.get(), self._serving.get())
            except (ActorsError, OSError):
                pass  # nobody has answered, in time or at all; the next look may be answered
            else:
                await _send_event(send, "look", {**busy, **serving})
            await asyncio.sleep(max(0.1, _LOOK - (time.monotonic() - began)))

    async def _children(self, request: Request, _send: Send) -> Response:
        start = request.query.get("start", "0")
        if not (start.isascii() and start.isdigit() and len(start) <= _LONGEST_NUMBER):
            raise Refused(400, f"start must be a whole number, got {start[:40]!r}")
        path = request.query.get("path", "")
        return Response.of_json(await self._ask("children", path=path, start=int(start)))

    async def _stack(self, request: Request, _send: Send) -> Response:
        return Response.of_json(await self._ask("stack", node=request.query.get("node", "")))

    async def _profile(self, request: Request, _send: Send) -> Response:
        node = request.query.get("node", "all")
        return Response.of_json(await self._ask("profile", node=node, seconds=_PROFILED))

    async def _actor(self, request: Request, _send: Send) -> Response:
        return Response.of_json(await self._ask("queued", name=request.query.get("name", "")))

    async def _change(self, request: Request, _send: Send) -> Response:
        request.check_origin()
        asked = await request.json()
        operation, arguments = asked.get("operation"), asked.get("arguments", {})
        if not isinstance(operation, str) or (known := _CHANGES.get(operation)) is None:
            raise Refused(
                400, f"operation must be one of {', '.join(_CHANGES)}, got {operation!r:.60}"
            )
        if not isinstance(arguments, dict) or not arguments.keys() <= known:
            raise Refused(
                400, f"{operation} takes {', '.join(sorted(known))}, got {arguments!r:.100}"
            )
        by = f"the dashboard, {request.client}"
        return Response.of_json({"result": await self._ask(operation, by=by, **arguments)})


def _not_ready(shown: dict[str, Any]) -> list[str]:
    """Return why a system does not take new work, one sentence each."""
    why = []
    for listener in shown["listeners"]:
        group = [node for node in shown["nodes"] if node["name"].split("/")[0] == listener["nodes"]]
        if not listener["accepting"]:
            why.append(f"listener {listener['name']} does not accept")
        if not any(node["state"] == "READY" and node["answering"] for node in group):
            why.append(f"no node of {listener['nodes']} answers")
    return why


def _since(
    name: str, served: dict[str, Any], before: dict[str, Any], seconds: float
) -> dict[str, Any]:
    """Return the figures of a listener's requests since the look before; nothing if they cannot be told."""
    count, raw = served[name]
    known, known_raw = before.get(name, (count + 1, raw))
    times = raw_since(raw, known_raw)
    if known > count or any(more < 0 for _, more in times[0]):
        return {}  # a node has been replaced, and counts anew
    histogram = Histogram()
    histogram.merge(times)
    return request_figures(name, (count - known) / seconds, histogram)


async def _until_closed(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _send_events(events: Any, send: Send) -> None:
    while batch := await events.batch(_EVENTS):
        now = time.time()
        shown = [{"kind": event.kind, "at": now, "facts": _plain(event.facts)} for event in batch]
        await _send_event(send, "events", shown)


def _plain(facts: Any) -> dict[str, Any]:
    return {
        name: value if isinstance(value, int | float | bool) else str(value)[:_LONGEST_FACT]
        for name, value in facts.items()
    }


async def _send_event(send: Send, kind: str, value: object) -> None:
    body = f"event: {kind}\ndata: {json.dumps(value)}\n\n".encode()
    await send({"type": "http.response.body", "body": body, "more_body": True})


app: Dashboard = Dashboard()
