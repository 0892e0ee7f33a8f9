"""An application for tests of sticky listeners: it replies with its node and with what it received."""

import hashlib
import os
import time
from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

while Path(os.environ.get("HOLD", "/nowhere")).exists():
    time.sleep(0.01)  # a test holds this node's boot, and says when it may go on


async def where(request: Request) -> Response:
    """Answer with the node, the scheme and the digest of the body."""
    digest = hashlib.sha256(await request.body()).hexdigest()
    node = request.state.actors.node.name
    return PlainTextResponse(f"{node} {request.url.scheme} {digest}")


app = Starlette(routes=[Route("/", where, methods=["GET", "POST"])])
