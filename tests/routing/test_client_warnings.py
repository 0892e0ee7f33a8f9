"""Warnings about what clients send are few, however much they send."""

import logging
import socket
from pathlib import Path

import pytest

from actors.routing.serving.client_warnings import ClientWarnings
from tests.cli.running_command import PATIENCE, running

APP = """
async def app(scope, receive, send):
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})
"""


def test_one_warning_of_a_text_passes_in_ten_seconds_and_errors_always(
    caplog: pytest.LogCaptureFixture,
) -> None:
    now = 0.0
    logger = logging.getLogger("client warnings")
    limit = ClientWarnings(lambda: now)
    logger.addFilter(limit)
    try:
        for _ in range(100):
            logger.warning("Invalid HTTP request received.")
            logger.error("Exception in ASGI application")
        logger.warning("Unsupported upgrade request.")
        now = 10.0
        logger.warning("Invalid HTTP request received.")
        for number in range(1000):
            logger.warning(f"text {number}")  # noqa: G004 - the text itself differs
    finally:
        logger.removeFilter(limit)
    errors = [text for _, level, text in caplog.record_tuples if level == logging.ERROR]
    assert len(errors) == 100
    warnings = [text for _, level, text in caplog.record_tuples if level == logging.WARNING]
    assert warnings[:3] == [
        "Invalid HTTP request received.",
        "Unsupported upgrade request.",
        "Invalid HTTP request received. (and 99 more like this)",
    ]


def test_a_thousand_bad_requests_are_one_line_of_the_log(tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(APP)
    runtime = tmp_path / "r"
    runtime.mkdir()
    arguments = ("serve", "shop:app", "--nodes", "1", "--bind", "127.0.0.1:0")
    with running(runtime, *arguments, cwd=tmp_path) as system:
        host, _, port = system.event("listening")["address"].rpartition(":")
        for _ in range(1000):
            with socket.create_connection((host, int(port)), timeout=PATIENCE) as client:
                client.sendall(b"\0\r\n\r\n")
                while client.recv(4096):
                    pass
        system.process.terminate()
        system.event("system stopped")
        bad = [line for line in system.lines if "Invalid HTTP request" in line]
        assert len(bad) == 1
