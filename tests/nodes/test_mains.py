"""Every way Python can run a main works with process nodes, or is refused by name when an actor is spawned."""

from __future__ import annotations

import os
import pty
import py_compile
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.scripts import ROOT

APP = """
import actors

class Who(actors.Actor):
    async def who(self) -> str:
        return "here"

async def main():
    async with actors.System(actors.Topology(nodes=[actors.nodes("p")])) as system:
        print(await (await system.spawn(Who, on="p")).ask(Who.who))

if __name__ == "__main__":
    actors.run(main)
"""
TYPED = """
import actors, helper
class Who(actors.Actor): {body}

{run}
exit()
"""
HELPER = """
import actors

async def main(cls):
    async with actors.System(actors.Topology(nodes=[actors.nodes("p")])) as system:
        try:
            await system.spawn(cls, on="p")
            open("said", "w").write("it runs")
        except actors.ActorsError as error:
            # A terminal's REPL writes over what a terminal shows.
            open("said", "w").write(str(error))
"""
NO_FILE = (
    "Who cannot run on a process node: its __main__ is no file that another process could import"
)
ANOTHER = "Who cannot run on a process node: its __main__ is not "


def _python(folder: Path, *args: str, stdin: str = "") -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, *args],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "ACTORS_LOG": "error"},
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the same program in many forms."""
    (tmp_path / "app.py").write_text(APP)
    for name in ("folder", "package"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__main__.py").write_text(APP)
    (tmp_path / "package" / "__init__.py").write_text("")
    with zipfile.ZipFile(tmp_path / "app.pyz", "w") as archive:
        archive.writestr("__main__.py", APP)
        archive.writestr("inside.py", APP)
    py_compile.compile(str(tmp_path / "app.py"), str(tmp_path / "compiled.pyc"), doraise=True)
    (tmp_path / "script").write_text(
        "import sys\nfrom package.__main__ import main\nimport actors\n"
        "if __name__ == '__main__':\n    sys.exit(actors.run(main))\n"
    )
    (tmp_path / "helper.py").write_text(HELPER)
    (tmp_path / "test_it.py").write_text(
        "import actors, app\ndef test_it(): actors.run(app.main)\n"
    )
    return tmp_path


@pytest.mark.parametrize(
    "command",
    [
        "app.py",
        "folder",
        "app.pyz",
        "compiled.pyc",
        "script",
        "-m app",
        "-m package",
        "-i app.py",
        "-m pdb -c continue -c quit app.py",
        "-m coverage run --data-file=data.coverage app.py",
        "-m pytest -q -s -p no:cacheprovider test_it.py",
        "-c import\tapp,actors;actors.run(app.main)",
    ],
)
def test_a_main_that_can_be_imported_works(folder: Path, command: str) -> None:
    words = [word.replace("\t", " ") for word in command.split(" ")]
    code, out, err = _python(folder, *words)
    assert "here" in out.replace("\n.", "\n").splitlines(), out + err
    assert code == 0, err


def test_a_module_of_an_archive_works(folder: Path) -> None:
    archive = str(folder / "app.pyz")
    code, out, err = _python(
        folder,
        "-c",
        f"import sys; sys.path.insert(0, {archive!r}); import runpy; "
        "runpy.run_module('inside', run_name='__main__', alter_sys=True)",
    )
    assert (code, out) == (0, "here\n"), err


def test_a_class_that_only_the_program_itself_makes_is_named(folder: Path) -> None:
    start, end = APP.index("class Who"), APP.index("async def main")
    indented = APP[start:end].replace("\n", "\n    ")
    guard = 'if __name__ == "__main__":\n'
    guarded = (APP[:start] + APP[end:]).replace(guard, f"{guard}    {indented}\n")
    (folder / "guarded.py").write_text(guarded)
    code, _, err = _python(folder, "guarded.py")
    assert code == 1
    assert err.splitlines()[-1].endswith(
        f"failed to start: ImportError: {folder / 'guarded.py'} has no Who when a node imports it: "
        'is it under the guard if __name__ == "__main__", or made later?'
    )


@pytest.mark.parametrize(
    "starts", ["import asyncio; asyncio.run(main())", "import anyio; anyio.run(main)"]
)
def test_a_main_file_that_starts_its_program_without_the_guard_is_told_so(
    folder: Path, starts: str
) -> None:
    (folder / "bare.py").write_text(APP.partition("if __name__")[0] + starts)

    code, _, stderr = _python(folder, "bare.py")

    assert code == 1
    last = stderr.strip().splitlines()[-1]
    assert "bare.py starts its program while a node imports it" in last
    assert '`if __name__ == "__main__":`' in last


def test_an_error_of_the_main_file_itself_is_told_as_it_is(folder: Path) -> None:
    only_there = 'if __name__ != "__main__":\n    actors.no_such_thing\n'
    (folder / "raises.py").write_text(APP + only_there)
    code, _, err = _python(folder, "raises.py")
    assert code == 1
    assert "failed to start: AttributeError: module 'actors' has no attribute 'no_such" in err


@pytest.mark.parametrize(
    "command",
    [
        "-m cProfile -o profile.out app.py",
        "-m trace --count --missing -C . app.py",
        "-c import\trunpy;runpy.run_path('app.py',run_name='__main__')",
    ],
)
def test_what_runs_a_program_in_its_own_main_works_or_is_refused(
    folder: Path, command: str
) -> None:
    words = [word.replace("\t", " ") for word in command.split(" ")]
    _, out, err = _python(folder, *words)
    said = out + err
    assert "here\n" in out or ANOTHER in said or NO_FILE in said, said


def test_what_is_typed_into_the_asyncio_repl_goes_by_value(folder: Path) -> None:
    typed = TYPED.format(body="pass", run="await helper.main(Who)")
    _python(folder, "-m", "asyncio", stdin=typed)
    assert (folder / "said").read_text() == "it runs"


def test_what_is_typed_into_a_repl_goes_by_value(folder: Path) -> None:
    """At a terminal, because that is what Python 3.13's own REPL needs."""
    ours, theirs = pty.openpty()
    program = subprocess.Popen(
        [sys.executable],
        cwd=folder,
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "ACTORS_LOG": "error",
            "TERM": "xterm",
            "NO_COLOR": "1",
        },
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    typed = TYPED.format(body="ping = lambda self: None", run="actors.run(helper.main, Who)")
    os.write(ours, typed.encode())
    try:
        while os.read(ours, 4096):
            pass
    except OSError:
        pass  # that is how a terminal ends
    finally:
        os.close(ours)
        program.kill()
        program.wait()
    assert (folder / "said").read_text() == "it runs"
