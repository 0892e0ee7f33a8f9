"""The test suites of Starlette and FastAPI, with a TestClient that speaks over a socket to our server.

Their source distributions, of the versions that are installed here, are downloaded from PyPI into a temporary
folder, with an environment of their own.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Final
from xml.etree import ElementTree as ET

import pytest

ROOT: Final = Path(__file__).parents[2]
NEEDED: Final = [
    *("anyio[trio]", "a2wsgi", "dirty-equals", "email-validator", "flask", "httptools", "httpx"),
    *("httpx2", "importlib-metadata", "inline-snapshot", "itsdangerous", "jinja2", "msgpack"),
    *("opentelemetry-sdk", "orjson", "pwdlib[argon2]", "pydantic-extra-types", "pydantic-settings"),
    *("coverage", "pyjwt", "pytest", "pytest-codspeed", "pytest-timeout", "pytest-xdist"),
    *("python-multipart", "python-slugify", "pyyaml", "sqlmodel", "strawberry-graphql"),
    *("structlog", "typer", "ujson", "uvicorn", "uvloop", "websockets"),
]
OPTIONS: Final = [
    *("-q", "-p", "no:cacheprovider", "-p", "socket_client", "--timeout", "60", "--tb=line"),
    *("-W", "ignore::ResourceWarning", "-W", "ignore::pytest.PytestUnraisableExceptionWarning"),
]
# The client, too, opens a connection without `with`.
OPTIONS_OF_CLIENT: Final = ("-W", "ignore:connect:DeprecationWarning")

pytestmark = [pytest.mark.soak, pytest.mark.timeout(7200)]

STARLETTE: Final = {
    # What a client of HTTP does not send
    "test_cookies_invalid": "a header whose value has spaces around it",
    "test_received_bytes_are_counted_with_unreliable_content_length": "more than the Content-Length says",
    "test_staticfiles_304_with_if_none_match_wildcard": "a header whose value has spaces around it",
    "test_receive_wrong_message_type": "a second `websocket.connect`",
    # What it sends by itself
    "test_request_headers": "the headers, and their order",
    "test_websocket_headers": "the headers, and their order",
    # What this server answers by itself, as uvicorn with httptools does
    "test_force_500_response": "a 500 has a body",
    "test_http_endpoint_does_not_dispatch_non_verb_method": "a method that is none is a 400",
    "test_request_send_push_promise": "there is no push in HTTP/1.1",
    "test_response_phrase": "123 is no status of a response",
    "test_websocket_route_middleware": "names of headers are in lower case",
    "test_websocket_concurrency_pattern": "`send` raises once the client has closed",
    # What only a TestClient that calls the application sees
    "test_closing_completed_response_waits_for_background_task": "its own end of a response",
    "test_closing_response_inside_unrelated_except_waits_for_background_task": "its own end of a response",
    "test_closing_completed_trailers_waits_for_application": "its own end of a response",
    "test_incomplete_trailers": "a response that is broken off is an error",
    "test_invalid_trailer_sequence": "the words of its own errors",
    "test_ipv6_base_url": "the port 0",
    "test_streaming_response_applies_backpressure": "that nothing is buffered on the way",
    "test_streaming_response_skips_empty_and_head_bodies": "that nothing is buffered on the way",
    "test_trailer_error_respects_raise_server_exceptions": "a response that is broken off is an error",
    # What fails without this client, too
    "test_staticfiles_with_invalid_dir_permissions_returns_401": "root may read everything",
}
"""What cannot apply, and why."""
FASTAPI: Final = {
    "test_broken_session_stream_no_raise": "a response that is broken off is an error",
    "test_fastapi_cli": "its command is not installed",
    "test_security_http_base_with_whitespaces": "a header whose value has spaces around it",
    "test_token_with_whitespaces": "a header whose value has spaces around it",
}
"""The same."""


def environment(folder: Path, *packages: str) -> Path:
    """Make an environment with what the suites need, and return its Python."""
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True, timeout=300)
    python = folder / "bin" / "python"
    command = [str(python), "-m", "pip", "install", "--quiet", *NEEDED, *packages]
    subprocess.run(command, check=True, timeout=1800)
    return python


def source(python: Path, folder: Path, package: str) -> Path:
    """Download and unpack the source distribution of *package*, as it is installed here."""
    wanted = f"{package}=={version(package)}"
    command = [str(python), "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:"]
    subprocess.run([*command, "--dest", str(folder), wanted], check=True, timeout=600)
    (archive,) = folder.glob(f"{package}-*.tar.gz")
    with tarfile.open(archive) as packed:
        packed.extractall(folder, filter="data")
    return archive.with_name(archive.name.removesuffix(".tar.gz"))


def outcome(python: Path, suite: Path, *more: str) -> tuple[int, set[str]]:
    """Run a suite, and return how many tests passed, and the names of those that failed."""
    result = suite / "result.xml"
    path = f"{ROOT}{os.pathsep}{ROOT / 'tests' / 'soak' / 'upstream'}"
    command = [
        str(python),
        "-m",
        "pytest",
        *OPTIONS,
        *OPTIONS_OF_CLIENT,
        f"--junitxml={result}",
        *more,
    ]
    own = {**os.environ, "PYTHONPATH": path}
    subprocess.run(command, cwd=suite, env=own, check=False, timeout=3600, capture_output=True)
    passed, failed = 0, set()
    for case in ET.parse(result).getroot().iter("testcase"):  # noqa: S314 - pytest has just written it
        if case.find("failure") is not None or case.find("error") is not None:
            failed.add(case.attrib["name"].partition("[")[0])
        elif case.find("skipped") is None:
            passed += 1
    return passed, failed


def judge(name: str, passed: int, failed: set[str], known: Mapping[str, str]) -> None:
    print(f"\n{name}: {passed} passed; {sorted(failed)} failed")  # noqa: T201 - a soak says what it has found
    assert passed > 500
    assert failed <= set(known)


def test_starlettes_own_tests_pass_over_a_socket(tmp_path: Path) -> None:
    python = environment(tmp_path / "env", f"starlette=={version('starlette')}")
    suite = source(python, tmp_path, "starlette")
    passed, failed = outcome(python, suite, "-k", "not trio", "tests")
    judge("starlette", passed, failed, STARLETTE)


def test_fastapis_own_tests_pass_over_a_socket(tmp_path: Path) -> None:
    versions = [f"{name}=={version(name)}" for name in ("fastapi", "starlette")]
    python = environment(tmp_path / "env", *versions)
    suite = source(python, tmp_path, "fastapi")
    without = [f"--ignore=tests/{name}" for name in ("benchmarks", "memory_benchmarks")]
    passed, failed = outcome(python, suite, "--continue-on-collection-errors", *without, "tests")
    judge("fastapi", passed, failed, FASTAPI)
