"""`actors reload`, SIGHUP, and `--reload`: new code without a new system."""

from __future__ import annotations

import itertools
import json
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from http.client import HTTPConnection
from importlib.util import cache_from_source
from pathlib import Path

import anyio
import pytest

from actors.cli._parser import parse
from actors.cli.server.sources import Sources, Stamps, roots_of, watched_sources
from tests.cli.running_command import PATIENCE, ROOT, Running, error_of, run_here, running
from tests.system.reload_rig import Code


class Site:
    """An application that is being served, and its code on disk."""

    def __init__(self, code: Code, system: Running) -> None:
        self.code = code
        self.system = system
        self.host, _, self.port = str(system.event("listening")["address"]).partition(":")

    def says(self) -> str:
        """Return what each of several connections in a row is told; it has to be the same."""
        answers = set()
        for _ in range(4):
            answers.add(self._ask())
        assert len(answers) == 1, answers
        return answers.pop()

    def becomes(self, version: str) -> None:
        """Ask until somebody is told that *version*."""
        deadline = time.monotonic() + PATIENCE
        while self._ask() != version:
            assert time.monotonic() < deadline

    def _ask(self) -> str:
        client = HTTPConnection(self.host, int(self.port), timeout=PATIENCE)
        client.request("GET", "/")
        answer = client.getresponse().read().decode()
        client.close()
        return answer


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    """Two nodes that serve one application, for all tests of this file that write other code."""
    with serving("--nodes", "2") as made:
        yield made


class serving:  # noqa: N801 - used as a function
    """Serve an application of a folder of its own while the block runs."""

    def __init__(self, *arguments: str) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="actors-cli-"))
        self._code = Code(self._folder)
        self._code.write("one")
        self._running = running(
            self._folder,
            *("serve", self._code.app, "--bind", "127.0.0.1:0", *arguments),
            env={"PYTHONPATH": str(ROOT)},
            cwd=self._folder,
        )

    def __enter__(self) -> Site:
        return Site(self._code, self._running.__enter__())

    def __exit__(self, *_: object) -> None:
        self._running.__exit__(None, None, None)
        shutil.rmtree(self._folder)


def test_reload_renews_all_nodes_and_says_which(site: Site) -> None:
    site.code.write("by command")
    code, out, err = run_here(site.system.runtime, "reload", "--json")
    assert (code, err) == (0, "")
    assert [(node["name"], node["state"]) for node in json.loads(out)] == [
        ("web/0", "READY"),
        ("web/1", "READY"),
    ]
    assert site.says() == "by command"
    code, out, _ = run_here(
        site.system.runtime, "reload", "web/1", "--surge", "--ready-timeout", "20"
    )
    assert (code, out.split()[0]) == (0, "web/1")


def test_code_that_does_not_start_exits_1_with_its_traceback(site: Site) -> None:
    before = site.says()
    site.code.write("broken", begin="raise LookupError('no such table')")
    code, out, err = run_here(site.system.runtime, "reload")
    assert (code, out) == (1, "")
    first, *trace = error_of(err, "actors reload").splitlines()
    assert first == (
        "node web/0 stays as it was, none is renewed: cannot import handler 'served:app': "
        "LookupError: no such table"
    )
    assert trace == [
        "Traceback (most recent call last):",
        f'  File "{site.code.path}", line 2, in <module>',
        "    raise LookupError('no such table')",
        "LookupError: no such table",
    ]
    assert site.says() == before


@pytest.mark.parametrize(
    "arguments,message",
    [
        (["wbe"], "there is no node or group 'wbe'; the nodes are web/0, web/1"),
        (["--ready-timeout", "0"], "ready_timeout must be more than 0 seconds, got 0.0"),
    ],
)
def test_what_cannot_be_is_a_usage_mistake(site: Site, arguments: list[str], message: str) -> None:
    code, _, err = run_here(site.system.runtime, "reload", *arguments)
    assert (code, err) == (2, f"actors reload: error: {message}\n")


def test_sighup_is_a_rolling_reload(site: Site) -> None:
    site.code.write("by signal")
    site.system.process.send_signal(signal.SIGHUP)
    site.system.event("reload done", by="SIGHUP", nodes=["web/0", "web/1"])
    assert site.says() == "by signal"
    assert site.system.process.poll() is None


def test_in_development_a_changed_file_is_served_and_a_broken_one_shown() -> None:
    with serving("--nodes", "1", "--reload") as site:
        assert site.says() == "one"
        site.code.write("two")
        site.system.event("reload done", by="--reload (served.py)")
        assert site.says() == "two"
        site.code.write("three", begin="import nothing_of_that_name")
        site.system.event("reload failed", node="web/0")
        site.system.line("ModuleNotFoundError: No module named 'nothing_of_that_name'")
        site.system.line("The old code goes on until a file changes.")
        assert site.says() == "two"
        (site.code.path.parent / "helper.py").write_text("name = 'four'\n")
        site.code.write("four", begin="import helper")
        site.becomes("four")
        assert site.system.end(signal.SIGTERM) == 0
        assert site.system.nodes_have_ended()


def test_code_with_a_syntax_error_is_told_once_and_the_old_code_goes_on() -> None:
    with serving("--nodes", "1", "--reload", "--reload-exclude", "drafts") as site:
        drafts = site.code.path.parent / "drafts"
        drafts.mkdir()
        site.code.write("broken", begin="def unfinished(:")
        failed = site.system.event("reload failed", node="web/0")
        assert "SyntaxError" in failed["error"]
        site.system.line("The old code goes on until a file changes.")
        (drafts / "idea.py").write_text("not followed")
        assert site.says() == "one"
        site.code.write("two")
        site.becomes("two")
        site.system.event("reload done")
        events = [event["event"] for event in site.system.events]
        told = events.count("The old code goes on until a file changes.")
        assert (told, events.count("reload started")) == (1, 2)


def test_other_files_and_folders_are_followed_as_they_are_named(tmp_path: Path) -> None:
    pages, other = tmp_path / "pages", tmp_path / "other"
    for folder in (pages, other, pages / "cache"):
        folder.mkdir()
    options = parse(
        [
            *("serve", "no_such_module:app", "--reload", f"--reload-dir={pages}"),
            *("--reload-include=*.html", f"--reload-include={other}", "--reload-delay=0.05"),
            *("--reload-exclude=cache", "--reload-exclude=*_generated.py"),
        ]
    )
    begin = watched_sources("no_such_module:app", options)
    assert begin is not None
    sources = begin()
    names = ("pages/a.html", "pages/b.py", "pages/c_generated.py", "pages/d.txt", "other/e.py")
    for name in (*names, "pages/cache/f.py", "g.py"):
        (tmp_path / name).write_text("changed")

    async def change() -> list[str]:
        with anyio.fail_after(PATIENCE):
            return await sources.changed()

    changed = anyio.run(change)
    found = [str(Path(name).relative_to(tmp_path)) for name in changed]
    assert found == ["other/e.py", "pages/a.html", "pages/b.py"]


class LookedAt(Sources):
    """Says when the files have been looked at for the first time."""

    def __init__(self, folder: Path) -> None:
        super().__init__([folder], interval=10 * PATIENCE)
        self.looked = anyio.Event()

    async def _poll(self) -> Stamps:
        found = await super()._poll()
        self.looked.set()
        return found

    async def write_until_cancelled(self, file: anyio.Path) -> None:
        """Write again and again: nobody says when the kernel has begun to watch."""
        await self.looked.wait()
        for number in itertools.count():
            await file.write_text("x" * number)
            await anyio.sleep(0.5)


def test_a_change_is_seen_when_the_kernel_says_so_and_not_at_the_next_look(tmp_path: Path) -> None:
    async def changed() -> list[str]:
        sources = LookedAt(tmp_path)
        with anyio.fail_after(PATIENCE):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(sources.take_notices)
                tasks.start_soon(sources.write_until_cancelled, anyio.Path(tmp_path / "page.py"))
                names = await sources.changed()
                tasks.cancel_scope.cancel()
        return names

    assert anyio.run(changed) == [str(tmp_path / "page.py")]


@pytest.mark.parametrize(
    "arguments,message",
    [
        (["--reload-dir", "x"], "--reload-dir goes with --reload"),
        (
            ["--reload", "--reload-dir", "/no/such"],
            "--reload-dir /no/such: there is no such folder",
        ),
        (["--reload", "--reload-delay", "0"], "--reload-delay must be more than 0, got 0"),
    ],
)
def test_files_to_follow_that_cannot_be_are_a_usage_mistake(
    arguments: list[str], message: str, tmp_path: Path
) -> None:
    code, _, err = run_here(tmp_path, "serve", "p:a", *arguments)
    assert (code, err) == (2, f"actors serve: error: {message}\n")


def test_what_is_written_in_a_burst_is_one_change_and_environments_are_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("pkg", "pkg/__pycache__", ".git", "env", "env/lib"):
        (tmp_path / name).mkdir()
    (tmp_path / "env/pyvenv.cfg").touch()
    (tmp_path / "pkg/old.py").touch()
    assert roots_of("no_such_module") == [tmp_path]
    sources = Sources(roots_of("pkg.old"))
    compiled = Path(cache_from_source(str(tmp_path / "pkg/new.py")))
    compiled.touch()
    (tmp_path / "pkg/old.py").unlink()
    for name in ("pkg/new.py", "also.py", "notes.txt", ".git/hook.py", "env/lib/any.py"):
        (tmp_path / name).write_text("changed")

    async def change() -> list[str]:
        with anyio.fail_after(PATIENCE):
            return await sources.changed()

    changed = anyio.run(change)
    assert [str(Path(name).relative_to(tmp_path)) for name in changed] == [
        "also.py",
        "pkg/new.py",
        "pkg/old.py",
    ]
    assert not compiled.exists()
