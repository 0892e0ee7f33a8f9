"""Flask."""

from __future__ import annotations

import time
from collections.abc import Iterator

from flask import Flask, request

app = Flask(__name__)


@app.get("/stream")
def stream() -> Iterator[str]:
    for _ in range(10):
        yield "part "
        time.sleep(0.002)
    yield "end"


@app.post("/echo")
def echo() -> bytes:
    return request.get_data()
