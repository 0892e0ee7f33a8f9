"""Actors of the tests of tracing, and an exporter of OpenTelemetry that appends each span to a file.

Nodes import this, as an application's module sets up OpenTelemetry.
"""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import anyio
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult

from actors import Actor, Ref, batched

FILE = "ACTORS_TEST_SPANS"
"""The variable with the name of the file that stands in for a collector."""
COLLECTOR = "ACTORS_TEST_COLLECTOR"
"""The variable with the address of a collector that speaks OTLP over HTTP."""


class ToFile(SpanExporter):
    """Sends spans to the collector of the test: a file, to which every process appends."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        if FILE in os.environ:
            lines = [json.dumps({"pid": os.getpid(), **json.loads(s.to_json())}) for s in spans]
            with Path(os.environ[FILE]).open("a", encoding="utf-8") as file:
                file.write("".join(f"{line}\n" for line in lines))
        return SpanExportResult.SUCCESS


def collected(file: Path) -> list[dict[str, Any]]:
    """Return the spans that the collector has, in the order of their ends."""
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


provider = trace.get_tracer_provider()
if not isinstance(provider, TracerProvider):
    provider = TracerProvider()
    trace.set_tracer_provider(provider)
provider.add_span_processor(SimpleSpanProcessor(ToFile()))
if COLLECTOR in os.environ:
    provider.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter(os.environ[COLLECTOR])))


class Press(Actor):
    """Prints, or fails."""

    async def print_poster(self, number: int) -> int:
        return number

    async def jam(self) -> None:
        await anyio.sleep_forever()

    async def fail(self) -> None:
        raise ValueError("no ink")

    async def trace_id(self) -> int:
        return trace.get_current_span().get_span_context().trace_id


class Desk(Actor):
    """Has the press print, and is told so by others."""

    def __init__(self, press: Ref[Press]) -> None:
        self.press = press

    async def order(self, count: int) -> int:
        return sum([await self.press.ask(Press.print_poster, n) for n in range(count)])


class Customer(Actor):
    """Orders at the desk."""

    def __init__(self, desk: Ref[Desk]) -> None:
        self.desk = desk

    async def visit(self) -> int:
        return await self.desk.ask(Desk.order, 2)

    async def write(self, press: Ref[Press]) -> None:
        await press.tell(Press.print_poster, 3)


async def app(scope: Any, _receive: Any, send: Any) -> None:
    """An ASGI application that asks the desk."""
    customer = await scope["state"]["actors"].lookup("customer")
    total = await customer.ask(Customer.visit)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": str(total).encode()})


class Printer(Actor):
    """Makes items and batches, and asks the press for each."""

    def __init__(self, press: Ref[Press]) -> None:
        self.press = press

    async def posters(self, count: int) -> AsyncIterator[int]:
        for number in range(count):
            yield await self.press.ask(Press.print_poster, number)

    async def torn(self) -> AsyncIterator[int]:
        yield 1
        raise ValueError("torn")

    @batched(most=3, within=5)
    async def stack(self, numbers: list[int]) -> list[int]:
        return [await self.press.ask(Press.print_poster, max(numbers))] * len(numbers)


class Reader(Actor):
    """Reads a stream of the printer, all of it or a part."""

    def __init__(self, printer: Ref[Printer]) -> None:
        self.printer = printer

    async def read(self, most: int) -> list[int]:
        found: list[int] = []
        async with self.printer.stream(Printer.posters, 3) as items:
            async for item in items:
                found.append(item)
                if len(found) == most:
                    break
        return found
