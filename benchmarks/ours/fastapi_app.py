"""A FastAPI application that says which process serves it."""

import os

from fastapi import FastAPI

app = FastAPI()


@app.get("/pid")
async def pid() -> int:
    """Return the number of this process."""
    return os.getpid()
