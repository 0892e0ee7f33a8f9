"""A systemd of its own: process 1 of a namespace, with control groups, units and a /run that are its own."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

PATIENCE = 120.0
SYSTEMD = Path("/lib/systemd/systemd")

_BOOT = """
set -e
echo 0 > {group}/cgroup.procs
exec unshare --cgroup --mount --pid --fork --mount-proc --kill-child sh -c '
  set -e
  mount -t tmpfs -o mode=755 none /run
  mkdir -p /run/systemd/system
  cp {units}/*.* /run/systemd/system
  umount --recursive --lazy /sys/fs/cgroup
  mount -t cgroup2 none /sys/fs/cgroup
  export container=test
  exec {systemd} --system --unit=only.target --show-status=no --log-target=console'
"""
_ONLY = "[Unit]\nDefaultDependencies=no\n"


def _cgroup2() -> Path | None:
    for line in Path("/proc/mounts").read_text().splitlines():
        _, where, kind, options, *_ = line.split()
        if kind == "cgroup2" and "rw" in options.split(","):
            return Path(where)
    return None


def why_not() -> str:
    """Return why there can be no systemd here, or an empty text."""
    if not SYSTEMD.exists() or shutil.which("systemctl") is None:
        return "systemd is not installed"
    if shutil.which("unshare") is None or shutil.which("nsenter") is None:
        return "there is no unshare or nsenter (util-linux)"
    if _cgroup2() is None:
        return "no cgroup2 is mounted for writing"
    try:
        with systemd({}):
            return ""
    except (AssertionError, OSError) as error:
        return f"systemd does not run here: {error}"


class Systemd:
    """One that runs."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    def _first(self) -> int:
        """The number of its process 1, as it is outside."""
        unshare = psutil.Process(self._process.pid)
        children = [one for one in unshare.children() if one.name().startswith("systemd")]
        return children[0].pid if children else 0

    def inside(self, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
        """Run a program where it runs."""
        prefix = [shutil.which("nsenter") or "", "--target", str(self._first())]
        return subprocess.run(
            [*prefix, "--mount", "--pid", "--cgroup", "--", *words],
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", **env} if env else None,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )

    def systemctl(self, *words: str) -> str:
        """Run `systemctl`; return what it prints.

        Raises:
            AssertionError: it failed.
        """
        done = self.inside("systemctl", "--no-pager", *words)
        assert done.returncode == 0, (words, done.stdout, done.stderr)
        return done.stdout

    def show(self, unit: str, *names: str) -> dict[str, str]:
        """Return properties of a unit."""
        lines = self.systemctl("show", unit, f"--property={','.join(names)}").splitlines()
        return dict(line.split("=", 1) for line in lines)

    def wait_until_it_runs(self) -> None:
        """Wait until it answers."""
        deadline = time.monotonic() + PATIENCE
        while True:
            assert self._process.poll() is None, "it ended"
            if self._first() and self.inside("systemctl", "list-units").returncode == 0:
                return
            assert time.monotonic() < deadline, "it does not answer"


@contextmanager
def systemd(units: dict[str, str]) -> Iterator[Systemd]:
    """Run one with *units*, which are not started; end it and all its services afterwards."""
    root = _cgroup2()
    assert root is not None
    group = root / f"systemd-test-{time.monotonic_ns()}"
    group.mkdir()
    folder = Path(f"/tmp/{group.name}")
    folder.mkdir()
    for name, text in {"only.target": _ONLY, **units}.items():
        (folder / name).write_text(text)
    boot = _BOOT.format(group=group, units=folder, systemd=SYSTEMD)
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [shutil.which("sh") or "", "-c", boot],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=log,
        )
    try:
        made = Systemd(process)
        made.wait_until_it_runs()
        yield made
    except BaseException as error:
        error.add_note(f"process: {process.poll()}\n{(folder / 'log').read_text()[-3000:]}")
        raise
    finally:
        first = psutil.Process(process.pid).children() if process.poll() is None else []
        for one in [*first, psutil.Process(process.pid)] if process.poll() is None else []:
            with suppress(psutil.NoSuchProcess):
                one.kill()
        process.wait(PATIENCE)
        shutil.rmtree(folder)
        _remove(group)


def _remove(group: Path) -> None:
    """Remove a control group and those below it, once their processes have ended."""
    deadline = time.monotonic() + PATIENCE
    while group.exists() and time.monotonic() < deadline:
        below = sorted((path for path in group.rglob("*") if path.is_dir()), reverse=True)
        for path in [*below, group]:
            with suppress(OSError):
                path.rmdir()
