"""The command `actors bench`."""

from __future__ import annotations

import asyncio
import json
import math
from typing import TYPE_CHECKING, Final

from actors.cli._failure import FAILED, WRONG, CommandFailed
from actors.cli.bench.http_connection import HttpConnection
from actors.cli.bench.load import Connection, Load, Outcome
from actors.cli.bench.report import as_facts, as_text
from actors.cli.bench.target import Target
from actors.cli.bench.websocket_connection import WebSocketConnection

if TYPE_CHECKING:
    import argparse

__all__ = ["bench"]

_MOST_CONNECTIONS: Final = 10_000
_MOST_REQUESTS: Final = 50_000_000
"""Whose times still fit into memory."""


def bench(options: argparse.Namespace) -> None:
    """Load a server and print what its clients wait for.

    Raises:
        CommandFailed: the options are wrong, or nothing was answered.
    """
    rate = None if options.rate is None else _number("--rate", options.rate)
    seconds = _number("--seconds", options.seconds)
    timeout = _number("--timeout", options.timeout)
    connections = options.connections
    if not connections.isdecimal() or not 0 < int(connections[:9]) <= _MOST_CONNECTIONS:
        what = f"--connections is a whole number from 1 to {_MOST_CONNECTIONS:,}"
        raise CommandFailed(f"{what}, got {connections!r}", WRONG)
    if rate is not None and rate * seconds > _MOST_REQUESTS:
        raise CommandFailed(f"--rate times --seconds is at most {_MOST_REQUESTS:,}", WRONG)
    target = Target.of(
        options.url,
        method=options.method,
        headers=options.header,
        data=options.data,
        closing=options.closing,
        insecure=options.insecure,
    )

    def connect() -> Connection:
        return WebSocketConnection(target) if target.websocket else HttpConnection(target)

    count = int(connections)
    load = Load(connect, connections=count, seconds=seconds, rate=rate, timeout=timeout)
    outcome = _run(load)
    facts = as_facts(outcome, rate)
    print(json.dumps(facts) if options.json else as_text(facts, target.url, count))
    if not facts["answered"]:
        raise CommandFailed(f"{target.url} has answered nothing", FAILED)


def _run(load: Load) -> Outcome:
    try:
        return asyncio.run(load.run())
    except BaseExceptionGroup as group:
        first = group.exceptions[0]
        raise first if isinstance(first, CommandFailed) else group from None


def _number(option: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise CommandFailed(f"{option} is a number above 0, got {text!r}", WRONG)
    return value
