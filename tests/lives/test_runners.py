"""Systems in the fixtures of test runners, which enter and leave them in different tasks."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from tests.scripts import ROOT

ECHO = """
import asyncio
import contextlib
import unittest
import anyio
import pytest
import actors

class Echo(actors.Actor):
    async def echo(self, value):
        return value

async def works(system):
    echo = await system.spawn(Echo)
    on_node = await system.spawn(Echo, on="n") if len(system.nodes) > 1 else echo
    return await echo.ask(Echo.echo, 1), await on_node.ask(Echo.echo, 2)

TOPOLOGY = actors.Topology(nodes=[actors.nodes("n")])
"""


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    """One loop: the runs have their own."""
    return "asyncio", {}


def run_tests(folder: Path, source: str, *command: str) -> str:
    (folder / "test_it.py").write_text(ECHO + dedent(source))
    done = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "ACTORS_LOG": "warning"},
        capture_output=True,
        text=True,
        check=False,
        timeout=50,
    )
    return done.stdout + done.stderr


PYTEST = ("pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "test_it.py", "-W", "error")


def test_pytest_asyncio_fixtures_of_a_test_and_of_a_session(tmp_path: Path) -> None:
    source = """
        import pytest_asyncio

        @pytest_asyncio.fixture
        async def block():
            async with actors.System(TOPOLOGY) as system:
                yield system

        @pytest_asyncio.fixture(loop_scope="session", scope="session")
        async def started():
            system = await actors.start(TOPOLOGY)
            yield system
            await system.aclose()

        @pytest.mark.asyncio
        async def test_of_a_test(block):
            assert await works(block) == (1, 2)
            assert actors.current() is block

        @pytest.mark.asyncio(loop_scope="session")
        async def test_of_a_session(started):
            assert await works(started) == (1, 2)
            assert actors.current() is started

        @pytest.mark.asyncio(loop_scope="session")
        async def test_of_a_session_again(started):
            assert await works(started) == (1, 2)

        @pytest.mark.asyncio
        async def test_in_the_wrong_loop(started):
            with pytest.raises(actors.ActorsError, match="the fixture and the test the same loop_scope"):
                await works(started)
        """
    said = run_tests(tmp_path, source, *PYTEST, "-o", "asyncio_default_fixture_loop_scope=function")
    assert "4 passed" in said, said
    assert "not closed" not in said


def test_a_session_fixture_that_is_never_closed_costs_one_warning(tmp_path: Path) -> None:
    source = """
        import pytest_asyncio

        @pytest_asyncio.fixture
        async def left():
            return await actors.start()

        @pytest.mark.asyncio
        async def test_it(left):
            assert await works(left) == (1, 2)
        """
    said = run_tests(
        tmp_path, source, *PYTEST, "-s", "-o", "asyncio_default_fixture_loop_scope=function"
    )
    assert "1 passed" in said, said
    assert said.count("system not closed") == 1
    assert "Traceback" not in said


def test_anyio_fixtures(tmp_path: Path) -> None:
    source = """
        pytestmark = pytest.mark.anyio

        @pytest.fixture(params=["asyncio", "trio"], scope="module")
        def anyio_backend(request):
            return request.param

        @pytest.fixture(scope="module")
        async def started():
            system = await actors.start(TOPOLOGY)
            yield system
            await system.aclose()

        @pytest.fixture
        async def block():
            async with actors.System() as system:
                yield system

        async def test_of_a_module(started):
            assert await works(started) == (1, 2)

        async def test_of_a_test(block):
            assert await works(block) == (1, 2)
        """
    said = run_tests(tmp_path, source, *PYTEST, "-p", "no:asyncio")
    assert "4 passed" in said, said


def test_the_test_cases_of_unittest(tmp_path: Path) -> None:
    source = """
        class Entered(unittest.IsolatedAsyncioTestCase):
            async def asyncSetUp(self):
                self.system = await self.enterAsyncContext(actors.System(TOPOLOGY))

            async def test_it(self):
                self.assertEqual(await works(self.system), (1, 2))

        class Started(unittest.IsolatedAsyncioTestCase):
            async def asyncSetUp(self):
                self.system = await actors.start()

            async def asyncTearDown(self):
                await self.system.aclose()

            async def test_it(self):
                self.assertEqual(await works(self.system), (1, 2))
                self.assertIs(actors.current(), self.system)

        class Stacked(unittest.IsolatedAsyncioTestCase):
            async def test_a_stack_that_another_task_closes(self):
                stack = contextlib.AsyncExitStack()
                async with asyncio.timeout(10):
                    system = await stack.enter_async_context(actors.System())
                    self.assertEqual(await works(system), (1, 2))
                    await asyncio.create_task(stack.aclose())
                with self.assertRaises(actors.errors.SystemStopped):
                    await works(system)
        """
    said = run_tests(tmp_path, source, "unittest", "test_it")
    assert "Ran 3 tests" in said, said
    assert said.rstrip().endswith("OK"), said
    assert "not closed" not in said
