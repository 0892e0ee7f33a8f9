"""The fixtures of the plugin, in runs of pytest as their users make them."""

from __future__ import annotations

import tomllib
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from tests.scripts import ROOT, run_pytest

COMMON = """
import anyio
import pytest
import actors
from actors.testing import Recorder

pytestmark = pytest.mark.{mark}

class Counter(actors.Actor):
    def __init__(self):
        self.n = 0

    async def add(self, by=1):
        self.n += by
        return self.n

    async def report(self, ref):
        await ref.tell(Recorder.record, self.n)
"""


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    """One loop: the runs have their own."""
    return "asyncio", {}


def run_source(folder: Path, source: str, *options: str) -> str:
    """Run the tests of *source*, and return what pytest said."""
    (folder / "test_it.py").write_text(dedent(source))
    return run_pytest(folder / "test_it.py", *options)


@pytest.mark.parametrize("mark", ["anyio", "asyncio"])
def test_the_fixtures_work_with_the_runner_of_the_test(tmp_path: Path, mark: str) -> None:
    source = COMMON.format(mark=mark) + dedent("""
        @pytest.fixture
        def anyio_backend():
            return "asyncio"

        @pytest.fixture
        async def _unused():
            yield

        async def test_a_system(actors_system):
            counter = await actors_system.spawn(Counter)
            assert await counter.ask(Counter.add, 2) == 2
            assert actors.current() is actors_system

        async def test_a_probe(actors_system, actors_probe):
            counter = await actors_system.spawn(Counter)
            await counter.tell(Counter.report, actors_probe.ref)
            await actors_probe.expect(0)

        async def test_faults(actors_faults, actors_system):
            counter = await actors_system.spawn(Counter)
            actors_faults.drop(counter, Counter.add, times=1)
            await counter.tell(Counter.add, 1)
            assert await counter.ask(Counter.add, 2) == 2

        @pytest.mark.actors_topology(actors.Topology(children=[actors.child(Counter, name="named")]))
        async def test_a_topology_by_marker(actors_system):
            assert await actors_system.lookup("named") is not None

        class TestByFixture:
            @pytest.fixture
            def actors_topology(self):
                return actors.Topology(children=[actors.child(Counter, name="other")])

            async def test_a_topology_by_fixture(self, actors_system):
                assert await actors_system.lookup("other") is not None
                assert await actors_system.lookup("named") is None
        """)
    said = run_source(tmp_path, source, "--strict-markers")
    assert "5 passed" in said, said


def test_the_system_lives_in_the_loop_that_the_test_chose(tmp_path: Path) -> None:
    source = COMMON.format(mark='asyncio(loop_scope="session")') + dedent("""
        async def test_a_system(actors_system, actors_probe):
            counter = await actors_system.spawn(Counter)
            await counter.tell(Counter.report, actors_probe.ref)
            await actors_probe.expect(0)
        """)
    said = run_source(tmp_path, source)
    assert "1 passed" in said, said


def test_the_auto_mode_of_pytest_asyncio_needs_no_marks(tmp_path: Path) -> None:
    source = COMMON.format(mark="filterwarnings") + dedent("""
        async def test_a_system(actors_system):
            counter = await actors_system.spawn(Counter)
            assert await counter.ask(Counter.add) == 1
        """)
    said = run_source(tmp_path, source, "-o", "asyncio_mode=auto")
    assert "1 passed" in said, said


def test_a_plain_test_is_told_what_to_use(tmp_path: Path) -> None:
    source = """
        def test_plain(actors_system):
            pass
        """
    said = run_source(tmp_path, source)
    assert "the fixture 'actors_system' is for async tests: mark test_plain with" in said
    assert "a plain test uses `with actors.blocking_system()`" in said


def test_a_run_that_uses_no_fixture_imports_nothing_of_the_engine(tmp_path: Path) -> None:
    source = """
        import sys

        def test_it():
            ours = sorted(name for name in sys.modules if name.split(".")[0] == "actors")
            assert ours == ["actors", "actors._base", "actors._base.platform", "actors.pytest_plugin"]
        """
    said = run_source(tmp_path, source)
    assert "1 passed" in said, said


def test_pytest_loads_the_plugin_wherever_the_package_is_installed() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["entry-points"]["pytest11"] == {"actors": "actors.pytest_plugin"}
