"""An application that keeps its sessions in memory and gives clients their ids itself."""

import secrets

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

import actors

sessions: dict[str, str] = {}


async def login(request: Request) -> Response:
    """Begin a session; its id goes to the client in a cookie and in a header."""
    sid = secrets.token_hex(16)
    sessions[sid] = request.query_params.get("user", "somebody")
    response = PlainTextResponse(actors.current().node.name, headers={"X-Session": sid})
    response.set_cookie("sid", sid, httponly=True)
    return response


def join(_: Request) -> Response:
    """Begin a session whose id the client finds in the body; as it is not async, in a thread."""
    sid = actors.sticky_id()
    sessions[sid] = "somebody"
    return JSONResponse({"sid": sid, "node": actors.current().node.name})


async def me(request: Request) -> Response:
    """Answer with the node and the user of the session, if it is one of this process."""
    named = request.cookies.get("sid") or request.headers.get("x-session")
    sid = named or request.query_params.get("sid", "")
    known = sid in sessions
    node = actors.current().node.name
    return PlainTextResponse(
        f"{node} {sessions.get(sid, 'session unknown')}", 200 if known else 404
    )


app = Starlette(
    routes=[
        Route("/login", login, methods=["POST"]),
        Route("/join", join, methods=["POST"]),
        Route("/me", me),
    ]
)
