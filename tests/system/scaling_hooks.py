"""Hooks of groups of nodes, for tests."""

import os
from pathlib import Path


def _note(what: str) -> None:
    with Path(os.environ["LOG"]).open("a") as log:
        log.write(f"{what}\n")


def opened() -> None:
    os.environ["OPENED"] = "yes"
    _note("opened")


async def closed() -> None:
    _note("closed")


def fails() -> None:
    raise RuntimeError("no database")


STARTED: list[bool] = []


def only_the_first() -> None:
    if STARTED:
        raise RuntimeError("there is one already")
    STARTED.append(True)
