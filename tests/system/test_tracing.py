"""With `tracing=True` messages have spans of OpenTelemetry, and a trace goes on over nodes and requests."""

from __future__ import annotations

import gzip
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import anyio
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

import tests.system.traced_actors as traced
from actors import System, Topology, asgi, listen, nodes
from actors._system.system import coordinator_of
from actors.errors import DeadlineExceeded, InvalidSpec
from actors.testing import eventually, running_system
from tests.scripts import ROOT
from tests.system.traced_actors import Customer, Desk, Press, Printer, Reader, collected

PATIENCE = 20
HANDLER = "tests.system.traced_actors"


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, object]]:
    """One loop: spans know nothing of loops."""
    return "asyncio", {"use_uvloop": True}


@pytest.fixture
def spans(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the collector that every process of the test exports to."""
    monkeypatch.setenv(traced.FILE, str(tmp_path / "spans"))
    return tmp_path / "spans"


def shown(found: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [
        (span["name"].removeprefix(f"{HANDLER}."), span["kind"].removeprefix("SpanKind."))
        for span in found
    ]


def parents(found: list[dict[str, Any]]) -> dict[str, str | None]:
    """Return of which span each is a part, both by name and kind."""
    names = {
        span["context"]["span_id"]: " ".join(label)
        for span, label in zip(found, shown(found), strict=True)
    }
    return {
        names[span["context"]["span_id"]]: names.get(span["parent_id"] or "", span["parent_id"])
        for span in found
    }


ASKS = {
    "Customer/visit CLIENT": None,
    "Customer/visit SERVER": "Customer/visit CLIENT",
    "Desk/order CLIENT": "Customer/visit SERVER",
    "Desk/order SERVER": "Desk/order CLIENT",
    "Press/print_poster CLIENT": "Desk/order SERVER",
    "Press/print_poster SERVER": "Press/print_poster CLIENT",
}


async def _cast(system: System, *places: str | None) -> tuple[Any, Any, Any]:
    press = await system.spawn(Press, on=places[0])
    desk = await system.spawn(Desk, press, on=places[1])
    return press, desk, await system.spawn(Customer, desk, name="customer", on=places[2])


@pytest.mark.parametrize("kind", ["process", "thread"])
async def test_a_collector_receives_one_connected_trace_over_three_nodes(
    kind: Any, spans: Path
) -> None:
    groups = [nodes(name, kind=kind) for name in "abc"]
    async with running_system(Topology(nodes=groups, tracing=True)) as system:
        _, _, customer = await _cast(system, "a", "b", "c")
        assert await customer.ask(Customer.visit) == 1
        await eventually(lambda: len(collected(spans)) == 8)
    found = collected(spans)
    assert parents(found) == ASKS
    assert len({span["context"]["trace_id"] for span in found}) == 1
    assert len({span["pid"] for span in found}) == (4 if kind == "process" else 1)
    (order,) = [
        span for span in found if span["name"].endswith("order") and "SERVER" in span["kind"]
    ]
    assert order["attributes"] == {
        "rpc.system.name": "actors",
        "rpc.method": f"{HANDLER}.Desk/order",
        "actors.actor": "Desk-2",
    }


async def test_what_fails_is_an_error_of_both_spans(spans: Path) -> None:
    async with running_system(Topology(tracing=True)) as system:
        press, _, _ = await _cast(system, None, None, None)
        with pytest.raises(ValueError, match="no ink"):
            await press.ask(Press.fail)
    found = collected(spans)
    assert shown(found) == [("Press/fail", "SERVER"), ("Press/fail", "CLIENT")]
    for span in found:
        assert span["status"] == {"status_code": "ERROR", "description": "ValueError: no ink"}
        assert span["attributes"]["error.type"] == "builtins.ValueError"


async def test_an_ask_that_is_given_up_ends_its_span(spans: Path) -> None:
    async with running_system(Topology(nodes=[nodes("a")], tracing=True)) as system:
        press = await system.spawn(Press, on="a")
        with pytest.raises(DeadlineExceeded):
            await press.within(0.01).ask(Press.jam)
        await eventually(lambda: ("Press/jam", "CLIENT") in shown(collected(spans)))
    (asked,) = [span for span in collected(spans) if "CLIENT" in span["kind"]]
    assert asked["attributes"]["actors.withdrawn"]


async def test_a_tell_carries_the_trace_and_code_outside_of_one_begins_its_own(spans: Path) -> None:
    async with running_system(Topology(tracing=True)) as system:
        press, _, customer = await _cast(system, None, None, None)
        await customer.ask(Customer.write, press)
        first = await press.ask(Press.trace_id)
        assert first != await press.ask(Press.trace_id)
        await press.tell(Press.print_poster, 4)
        assert first != await press.ask(Press.trace_id)
    found = [span for span in collected(spans) if span["name"].endswith("print_poster")]
    assert shown(found) == [("Press/print_poster", "CONSUMER")] * 2
    (write,) = [s for s in collected(spans) if shown([s]) == [("Customer/write", "SERVER")]]
    assert found[0]["parent_id"] == write["context"]["span_id"]
    assert found[1]["parent_id"] is None


async def test_a_request_goes_on_with_the_clients_trace(spans: Path) -> None:
    trace_id, span_id = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
    topology = Topology(
        nodes=[nodes("web"), nodes("back")],
        listeners=[listen(asgi(f"{HANDLER}:app", lifespan="off"), "127.0.0.1:0", nodes="web")],
        tracing=True,
    )
    async with running_system(topology) as system:
        await _cast(system, "back", "back", "back")
        router: Any = coordinator_of(system).listeners[0].router
        async with await anyio.connect_tcp("127.0.0.1", router.port) as client:
            await client.send(
                b"GET /shop HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
                + f"Traceparent: 00-{trace_id}-{span_id}-01\r\n\r\n".encode()
            )
            answer = b""
            with anyio.fail_after(PATIENCE):
                async for part in client:
                    answer += part
        assert answer.startswith(b"HTTP/1.1 200 ")
        await eventually(lambda: "GET" in {span["name"] for span in collected(spans)})
    found = collected(spans)
    assert {span["context"]["trace_id"] for span in found} == {f"0x{trace_id}"}
    assert parents(found) == {
        **ASKS,
        "Customer/visit CLIENT": "GET SERVER",
        "GET SERVER": f"0x{span_id}",
    }
    (request,) = [span for span in found if span["name"] == "GET"]
    assert request["attributes"] == {
        "http.request.method": "GET",
        "url.path": "/shop",
        "url.scheme": "http",
        "network.protocol.version": "1.1",
        "http.response.status_code": 200,
    }


def _program(source: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", source], cwd=ROOT, capture_output=True, text=True, check=False
    )


def test_without_the_package_there_is_one_error() -> None:
    done = _program(
        "import sys; sys.modules['opentelemetry'] = None\n"
        "import actors; actors.System(actors.Topology(tracing=True))"
    )
    assert done.stderr.splitlines()[-1] == (
        "actors.errors.InvalidSpec: tracing=True needs opentelemetry: "
        "pip install 'actors-framework[otel]'"
    )


def test_a_system_without_tracing_does_not_import_it() -> None:
    done = _program(
        "import sys, actors, anyio\n"
        "async def main():\n async with actors.System(): pass\n"
        "anyio.run(main)\n"
        "print([name for name in sys.modules if 'telemetry' in name or 'spans' in name])"
    )
    assert done.stdout == "[]\n"


@pytest.mark.parametrize("kind", [None, "process", "thread"])
async def test_a_stream_is_a_span_at_both_ends_and_what_makes_its_items_is_below(
    kind: Any, spans: Path
) -> None:
    groups = [] if kind is None else [nodes(name, kind=kind) for name in "abc"]
    a, b, c = (None, None, None) if kind is None else ("a", "b", "c")
    async with running_system(Topology(nodes=groups, tracing=True)) as system:
        press = await system.spawn(Press, on=a)
        printer = await system.spawn(Printer, press, on=b)
        reader = await system.spawn(Reader, printer, on=c)
        assert await reader.ask(Reader.read, 99) == [0, 1, 2]
        await eventually(lambda: len(collected(spans)) == 10)
    found = collected(spans)
    assert parents(found) == {
        "Reader/read CLIENT": None,
        "Reader/read SERVER": "Reader/read CLIENT",
        "Printer/posters CLIENT": "Reader/read SERVER",
        "Printer/posters SERVER": "Printer/posters CLIENT",
        "Press/print_poster CLIENT": "Printer/posters SERVER",
        "Press/print_poster SERVER": "Press/print_poster CLIENT",
    }
    assert len({span["context"]["trace_id"] for span in found}) == 1
    (made,) = [s for s in found if shown([s]) == [("Printer/posters", "SERVER")]]
    assert made["attributes"]["actors.items"] == 3


@pytest.mark.parametrize("kind", [None, "process"])
async def test_a_stream_that_is_left_or_fails_ends_its_spans(kind: Any, spans: Path) -> None:
    groups = [] if kind is None else [nodes("a", kind=kind)]
    async with running_system(Topology(nodes=groups, tracing=True)) as system:
        press = await system.spawn(Press)
        printer = await system.spawn(Printer, press, on=kind and "a")
        async with printer.stream(Printer.posters, 1000) as items:
            assert await anext(items) == 0
        await eventually(lambda: sum("posters" in s["name"] for s in collected(spans)) == 2)
        with pytest.raises(ValueError, match="torn"):
            async with printer.stream(Printer.torn) as items:
                assert [item async for item in items] == [1]
        await eventually(lambda: sum("torn" in s["name"] for s in collected(spans)) == 2)
    for span in collected(spans):
        failed = "torn" in span["name"]
        assert (span["status"]["status_code"] == "ERROR") == failed
        assert span["attributes"].get("error.type") == ("builtins.ValueError" if failed else None)


@pytest.mark.parametrize("kind", [None, "process"])
async def test_a_batch_is_a_span_with_links_to_its_calls(kind: Any, spans: Path) -> None:
    groups = [] if kind is None else [nodes("a", kind=kind)]
    async with running_system(Topology(nodes=groups, tracing=True)) as system:
        press = await system.spawn(Press)
        printer = await system.spawn(Printer, press, on=kind and "a")
        async with anyio.create_task_group() as tasks:
            for number in range(3):
                tasks.start_soon(printer.ask, Printer.stack, number)
        await eventually(lambda: len(collected(spans)) == 6)
    found = collected(spans)
    asked = [s for s in found if shown([s]) == [("Printer/stack", "CLIENT")]]
    (batch,) = [s for s in found if shown([s]) == [("Printer/stack", "CONSUMER")]]
    assert {link["context"]["span_id"] for link in batch["links"]} == {
        span["context"]["span_id"] for span in asked
    }
    assert batch["parent_id"] in {span["context"]["span_id"] for span in asked}
    assert batch["attributes"]["messaging.batch.message_count"] == 3
    (printed,) = [s for s in found if shown([s]) == [("Press/print_poster", "CLIENT")]]
    assert printed["parent_id"] == batch["context"]["span_id"]


async def test_a_system_without_a_topology_is_traced_and_with_one_that_is_traced_anyway(
    spans: Path,
) -> None:
    async with System(tracing=True) as system:
        press = await system.spawn(Press)
        await press.ask(Press.print_poster, 1)
    assert len(collected(spans)) == 2
    with pytest.raises(InvalidSpec, match=r"System: tracing must be True or False, got 'yes'"):
        System(tracing="yes")  # type: ignore[arg-type] # on purpose
    with pytest.raises(InvalidSpec, match=r"Topology: tracing must be True or False, got 1"):
        Topology(tracing=1)  # type: ignore[arg-type] # on purpose


class Collector(ThreadingHTTPServer):
    """The part of a collector that takes spans, as OTLP over HTTP sends them."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Take)
        self.spans: list[tuple[str, Any]] = []
        """The id of the process that sent each span, and the span."""


class _Take(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        server: Any = self.server
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            for scope in resource.scope_spans:
                pid = {a.key: a.value for a in resource.resource.attributes}["process.pid"]
                server.spans += [(pid.int_value, span) for span in scope.spans]
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    with Collector() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        url = f"http://127.0.0.1:{server.server_address[1]}/v1/traces"
        monkeypatch.setenv(traced.COLLECTOR, url)
        monkeypatch.setenv("OTEL_EXPERIMENTAL_RESOURCE_DETECTORS", "process")
        yield server
        server.shutdown()
        thread.join()


async def test_a_collector_of_otlp_gets_one_connected_trace_of_three_nodes(
    collector: Collector,
) -> None:
    groups = [nodes(name) for name in "abc"]
    async with running_system(Topology(nodes=groups, tracing=True)) as system:
        press = await system.spawn(Press, on="a")
        printer = await system.spawn(Printer, press, on="b")
        reader = await system.spawn(Reader, printer, on="c")
        assert await reader.ask(Reader.read, 99) == [0, 1, 2]
        # The asker here, in the process of the test, exports to the file alone.
        await eventually(lambda: len(collector.spans) == 9, within=PATIENCE)
    found = [span for _, span in collector.spans]
    assert len({span.trace_id for span in found}) == 1
    assert len({pid for pid, _ in collector.spans}) == 3
    ids = {span.span_id for span in found}
    outside = [span.name for span in found if span.parent_span_id not in ids]
    assert outside == [f"{HANDLER}.Reader/read"]
    assert all(span.end_time_unix_nano >= span.start_time_unix_nano > 0 for span in found)
