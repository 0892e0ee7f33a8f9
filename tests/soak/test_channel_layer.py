"""The tests of another channel layer, run on ours: those of channels_redis, downloaded and never kept."""

import os
import subprocess
import sys
import tarfile
from pathlib import Path
from textwrap import dedent

import pytest

from tests.scripts import ROOT

pytestmark = pytest.mark.soak

SUBSTITUTE = '''
    """Puts our layer in the place of the one that these tests were written for."""

    import asyncio
    import sys
    from types import ModuleType

    import pytest
    from channels.exceptions import ChannelFull

    from actors import System
    from actors.channels import TopicLayer

    core = ModuleType("channels_redis.core")
    core.RedisChannelLayer = lambda hosts=None, **options: TopicLayer(**options)
    core.ChannelFull = ChannelFull
    sys.modules["channels_redis"] = ModuleType("channels_redis")
    sys.modules["channels_redis.core"] = core
    sys.modules["async_timeout"] = ModuleType("async_timeout")
    sys.modules["async_timeout"].timeout = asyncio.timeout


    @pytest.fixture(autouse=True)
    async def _system():
        async with System():
            yield
'''
PIP = (sys.executable, "-m", "pip", "download", "-q")
NOT_OURS = {
    "test_double_receive": "a loop of its own, where no system runs",
    "test_repeated_group_send_with_async_to_sync": "a loop of its own, where no system runs",
    "test_reject_bad_client_prefix": "an AssertionError; ours is a ValueError",
    "test_random_reset__client_prefix": "what is inside of it",
    "test_default_group_key_format": "keys of Redis",
    "test_custom_group_key_format": "keys of Redis",
    "test_receive_buffer_respects_capacity": "what is inside of it",
}


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    """Download the tests."""
    done = subprocess.run(
        [
            *PIP,
            "--no-deps",
            "--no-binary",
            ":all:",
            "--dest",
            str(tmp_path),
            "channels_redis==4.3.0",
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    if done.returncode != 0:
        pytest.skip(f"channels_redis cannot be downloaded: {done.stderr.strip()[-200:]}")
    with tarfile.open(next(tmp_path.glob("*.tar.gz"))) as archive:
        member = next(m for m in archive.getmembers() if m.name.endswith("/tests/test_core.py"))
        found = archive.extractfile(member)
        assert found is not None
        (tmp_path / "test_core.py").write_bytes(found.read())
    (tmp_path / "conftest.py").write_text(dedent(SUBSTITUTE))
    return tmp_path


@pytest.mark.timeout(400)
def test_what_applies_of_the_tests_of_channels_redis_passes(suite: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist"]
        + ["--asyncio-mode=auto", "-o", "asyncio_default_fixture_loop_scope=function"]
        + [f"--deselect=test_core.py::{name}" for name in NOT_OURS]
        + ["--timeout=40", "test_core.py"],
        cwd=suite,
        env={**os.environ, "PYTHONPATH": str(ROOT), "ACTORS_LOG": "error"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:]
    assert "19 passed" in done.stdout, done.stdout[-300:]
