"""Fixtures for pytest: a system for each test, a probe, faults. Installed with the package.

Rule: nothing of `actors` is imported before a fixture is used, because every run of pytest loads this file.

They work with anyio's plugin and with pytest-asyncio: each async fixture is there once for each, and the one
of the test's own runner is taken.
"""

from __future__ import annotations

from types import FunctionType, ModuleType
from typing import TYPE_CHECKING, Any, Final

import pytest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from actors import System, Topology
    from actors.faults import Faults
    from actors.testing import Probe

__all__ = [
    "actors_faults",
    "actors_probe",
    "actors_system",
    "actors_topology",
    "actors_warm_nodes",
]

_SCOPES: Final = ("function", "class", "module", "package", "session")


def pytest_configure(config: pytest.Config) -> None:
    """Add the marker, and the fixtures for pytest-asyncio if that is there."""
    config.addinivalue_line(
        "markers",
        "actors_topology(topology): what the system of the fixture actors_system starts with",
    )
    if config.pluginmanager.hasplugin("asyncio"):
        config.pluginmanager.register(_for_pytest_asyncio(), "actors for pytest-asyncio")


@pytest.fixture
def actors_topology(request: pytest.FixtureRequest) -> Topology | None:
    """What the system of `actors_system` starts with: that of the marker, or nothing. Override it at will."""
    marker = request.node.get_closest_marker("actors_topology")
    topology: Topology | None = marker.args[0] if marker is not None and marker.args else None
    return topology


@pytest.fixture
def actors_system(request: pytest.FixtureRequest) -> System:
    """A system for one async test, stopped after it; it starts with `actors_topology`."""
    system: System = _of_runner(request, "actors_system")
    return system


@pytest.fixture
def actors_probe(request: pytest.FixtureRequest) -> Probe:
    """A `actors.testing.Probe` with an actor in the system of the test: hand ``actors_probe.ref`` to others."""
    probe: Probe = _of_runner(request, "actors_probe")
    return probe


@pytest.fixture
def actors_faults(actors_system: System) -> Iterator[Faults]:
    """The `actors.faults.Faults` of the test's system, all ended after the test."""
    from actors.faults import Faults  # noqa: PLC0415 - see the rule above

    with Faults(actors_system) as faults:
        yield faults


@pytest.fixture(scope="session")
def actors_warm_nodes() -> Iterator[None]:
    """Let the systems of all tests start process nodes 0.2 to 0.4 s sooner; see `actors.testing.warm_nodes`."""
    from actors.testing import warm_nodes  # noqa: PLC0415 - see the rule above

    with warm_nodes():
        yield


def _of_runner(request: pytest.FixtureRequest, name: str) -> Any:
    """Return the value of an async fixture, made by the runner of the test."""
    if "anyio_backend" in request.fixturenames:
        return request.getfixturevalue(f"_{name}_anyio")
    marker = request.node.get_closest_marker("asyncio")
    if marker is not None and request.config.pluginmanager.hasplugin("asyncio"):
        default = request.config.getini("asyncio_default_test_loop_scope")
        scope = marker.kwargs.get("loop_scope") or default or "function"
        return request.getfixturevalue(f"_{name}_asyncio_{scope}")
    pytest.fail(
        f"the fixture {name!r} is for async tests: mark {request.node.name} with @pytest.mark.anyio or "
        "@pytest.mark.asyncio; a plain test uses `with actors.blocking_system()`",
        pytrace=False,
    )


async def _system(actors_topology: Topology | None) -> AsyncIterator[System]:
    from actors.testing import running_system  # noqa: PLC0415 - see the rule above

    async with running_system(actors_topology) as system:
        yield system


async def _probe(actors_system: System) -> Probe:
    from actors.testing import Probe  # noqa: PLC0415 - see the rule above

    return await Probe.start(actors_system)


@pytest.fixture
async def _actors_system_anyio(actors_topology: Topology | None) -> AsyncIterator[System]:
    async for system in _system(actors_topology):
        yield system


@pytest.fixture
async def _actors_probe_anyio(actors_system: System) -> Probe:
    return await _probe(actors_system)


def _for_pytest_asyncio() -> object:
    """Return a plugin with the async fixtures, once for each scope that the loop of a test can have."""
    import pytest_asyncio  # noqa: PLC0415 - optional, and loaded already

    async def system(actors_topology: Topology | None) -> AsyncIterator[System]:
        async for made in _system(actors_topology):
            yield made

    async def probe(actors_system: System) -> Probe:
        return await _probe(actors_system)

    fixtures = ModuleType("actors_for_pytest_asyncio")
    for scope in _SCOPES:
        for name, made in (("system", system), ("probe", probe)):
            copy = FunctionType(
                made.__code__, made.__globals__, made.__name__, None, made.__closure__
            )
            named = f"_actors_{name}_asyncio_{scope}"
            setattr(fixtures, named, pytest_asyncio.fixture(loop_scope=scope, name=named)(copy))
    return fixtures
