"""A system starts where others would not: without standard descriptors, without a folder for its socket."""

import errno
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from unittest.mock import Mock

import pytest

from actors.cli import main, server
from tests.cli.running_command import (
    HERE,
    PATIENCE,
    command,
    environment,
    run_command,
    run_here,
    running,
)

PROGRAM = """
import os, sys
import actors

class Greeter(actors.Actor):
    async def hello(self):
        print("said hello", file=sys.stderr)
        return [os.readlink(f"/proc/self/fd/{fd}") for fd in (0, 1, 2)]

async def main():
    async with actors.System(actors.Topology(nodes=[actors.nodes("web", env=VARIABLES)])) as system:
        greeter = await system.spawn(Greeter, on="web")
        links = await greeter.ask(Greeter.hello)
    with open("answer", "w") as answer:
        print(*links, *(os.readlink(f"/proc/self/fd/{fd}") for fd in (0, 1, 2)), file=answer)

if __name__ == "__main__":
    RUN
"""
ALL = "<&- >&- 2>&-"


@pytest.mark.parametrize("closed", ["2>&-", ALL])
def test_a_command_runs_with_closed_descriptors(runtime: Path, closed: str) -> None:
    shell = ["sh", "-c", f"exec {shlex.join(command('run', 'topologies:good'))} {closed}"]
    process = subprocess.Popen(
        shell,
        cwd=HERE,
        env=environment(runtime),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + PATIENCE
        while run_here(runtime, "ps")[0] != 0:
            assert process.poll() is None
            assert time.monotonic() < deadline
        assert run_here(runtime, "kill", "web/0")[0] == 0
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("closed", ["2>&-", ALL])
def test_a_client_runs_with_closed_descriptors(runtime: Path, closed: str) -> None:
    shell = ["sh", "-c", f"exec {shlex.join(command('ps'))} {closed}"]
    done = subprocess.run(
        shell, env=environment(runtime), capture_output=True, text=True, check=False
    )
    assert done.returncode == 3
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "run, variables, closed",
    [
        ("actors.run(main)", {}, "<&-"),
        ("actors.run(main)", {}, ">&-"),
        ("actors.run(main)", {}, "2>&-"),
        ("actors.run(main)", {"PYTHONOPTIMIZE": "1"}, ALL),
        ("import asyncio; asyncio.run(main())", {}, ALL),
        ("import asyncio; asyncio.run(main())", {"PYTHONOPTIMIZE": "1"}, ALL),
    ],
)
def test_a_program_has_dev_null_in_place_of_closed_descriptors(
    tmp_path: Path, run: str, variables: dict[str, str], closed: str
) -> None:
    text = PROGRAM.replace("VARIABLES", repr(variables)).replace("RUN", run)
    (tmp_path / "program.py").write_text(text)
    shell = ["sh", "-c", f"exec {shlex.quote(sys.executable)} program.py {closed}"]
    done = subprocess.run(shell, cwd=tmp_path, capture_output=True, timeout=PATIENCE, check=False)
    assert done.returncode == 0, done.stderr
    stdin, *_, in_, out, err = (tmp_path / "answer").read_text().split()
    assert stdin == os.devnull
    if run.startswith("actors"):
        closed_ones = {"<&-": [in_], ">&-": [out], "2>&-": [err]}.get(closed, [in_, out, err])
        assert set(closed_ones) == {os.devnull}


def test_without_a_control_folder_a_system_runs_and_says_so(runtime: Path) -> None:
    with running(
        runtime,
        "run",
        "topologies:good",
        env={"XDG_RUNTIME_DIR": "/proc"},
        ready="no control socket",
    ) as system:
        fact = system.event("no control socket")
        assert fact["level"] == "warning"
        assert fact["path"] == f"/proc/actors/{system.pid}.sock"
        assert fact["why"].startswith("cannot make the control folder /proc/actors: ")
        assert system.end(signal.SIGTERM) == 0
        system.event("system stopped")


def test_where_the_place_of_the_socket_is_taken_a_system_runs_and_says_so(runtime: Path) -> None:
    folder = runtime / "actors"
    folder.mkdir(mode=0o700)
    script = (
        "import os, sys; from actors.cli import main; "
        f"os.mkdir(os.path.join({str(folder)!r}, f'{{os.getpid()}}.sock')); "
        "sys.exit(main(['run', 'topologies:small']))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script],
        cwd=HERE,
        env=environment(runtime),
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    while '"no control socket"' not in (line := process.stderr.readline()):
        assert line
    assert 'level": "warning' in line
    process.terminate()
    process.communicate(timeout=PATIENCE)
    assert process.returncode == 0


ODD_FILE = """
[nodes."wéb"]
[children."zähler"]
class = "words:Counter"
on = "wéb"
[programs."wärter"]
command = ["sh", "-c", "echo i am $$ACTORS_PROGRAM; exec sleep 60"]
"""
ODD_MODULE = """
import actors

class Counter(actors.Actor):
    async def add(self, by: int) -> int:
        return by + 1
"""
ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


def test_in_a_locale_of_ascii_names_are_what_they_are_elsewhere(
    runtime: Path, tmp_path: Path
) -> None:
    (tmp_path / "words.py").write_text(ODD_MODULE)
    file = tmp_path / "actors.toml"
    file.write_text(ODD_FILE, encoding="utf-8")
    with running(runtime, "run", str(file), env=ASCII, ready="system ready") as system:
        system.line("i am wärter/0")
        asked = run_command(runtime, "ask", "zähler", "add", "2", env=ASCII)
        assert (asked.stdout, asked.stderr) == ("3\n", "")
        shown = run_command(runtime, "ps", env=ASCII)
        assert "w\\xe9b/0" in shown.stdout
        assert run_command(runtime, "kill", "wéb/0", env=ASCII).returncode == 0
        unknown = run_command(runtime, "state", "ungezähmt", env=ASCII)
        assert unknown.stderr == "actors state: error: there is no actor 'ungez\\xe4hmt'\n"
        assert system.end(signal.SIGTERM) == 0


@pytest.mark.parametrize("words", [["--version"], ["schema"]])
def test_output_for_which_there_is_no_room_is_one_error(runtime: Path, words: list[str]) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            command(*words),
            env=environment(runtime),
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr.endswith("the output cannot be written: No space left on device\n")
    assert "Traceback" not in done.stderr


def test_a_listener_for_which_no_memory_can_be_made_is_named(runtime: Path) -> None:
    script = f"ulimit -f 0; exec {shlex.join(command('run', 'topologies:good'))}"
    done = _in_a_shell(runtime, HERE, script)
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith(
        "actors run: error: cannot listen on 127.0.0.1:0: no memory that nodes share"
    )
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("words", ["run some:topology", "serve some:app"])
def test_a_command_in_a_folder_that_was_removed_says_so(
    runtime: Path, tmp_path: Path, words: str
) -> None:
    done = _without_a_folder(runtime, tmp_path, command(*words.split()))
    assert done.returncode == 1
    assert done.stderr.endswith("error: the current folder is gone: go to one that is there\n")
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(
    sys.version_info[:3] == (3, 13, 0),
    reason="CPython 3.13.0 raises SystemError for what a module has not where the folder was removed",
)
def test_a_program_in_a_folder_that_was_removed_has_nodes(runtime: Path, tmp_path: Path) -> None:
    text = """
import actors

async def main():
    async with actors.System(actors.Topology(nodes=[actors.nodes("web")])):
        print("it runs")
    try:
        actors.program("true", ["true"], cwd="below")
    except actors.errors.InvalidSpec as error:
        print(error)

actors.run(main)
"""
    done = _without_a_folder(runtime, tmp_path, [sys.executable, "-c", text])
    assert done.stdout == "it runs\nprogram('true'): there is no folder 'below', its cwd\n", (
        done.stderr
    )


def _without_a_folder(
    runtime: Path, tmp_path: Path, words: list[str]
) -> subprocess.CompletedProcess[str]:
    script = f"mkdir gone; cd gone; rmdir ../gone; exec {shlex.join(words)}"
    return _in_a_shell(runtime, tmp_path, script)


def _in_a_shell(runtime: Path, folder: Path, script: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["/bin/sh", "-c", script],
        cwd=folder,
        env=environment(runtime),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


@pytest.mark.parametrize("most", [6, 8, 10, 13, 16, 18, 24, 63])
@pytest.mark.parametrize(
    "words", [("run", "topologies:good"), ("join", "127.0.0.1:1", "--secret-file", "none")]
)
def test_a_command_that_may_have_few_files_open_says_how_many_and_ends(
    runtime: Path, words: tuple[str, ...], most: int
) -> None:
    done = _with_files(runtime, most, *words)
    assert done.returncode == 1
    assert done.stderr == (
        f"actors {words[0]}: error: this process may have {most} files open (RLIMIT_NOFILE), and it needs "
        "64 at least: see `ulimit -n`\n"
    )


def test_with_the_fewest_open_files_that_it_takes_a_system_runs(runtime: Path) -> None:
    shell = ["sh", "-c", f"ulimit -n 64; exec {shlex.join(command('run', 'topologies:good'))}"]
    with subprocess.Popen(
        shell, cwd=HERE, env=environment(runtime), stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        assert any("system ready" in line for line in process.stderr)
        process.terminate()
        process.communicate(timeout=PATIENCE)
    assert process.returncode == 0


def test_a_command_that_lacks_a_file_in_its_midst_says_how_many_it_may_have(
    project: Callable[[str, str], None],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    project("actors.toml", "")
    few = OSError(errno.EMFILE, os.strerror(errno.EMFILE))
    monkeypatch.setitem(server.COMMANDS, "check", Mock(side_effect=few))
    assert main(["check"]) == 1
    assert re.fullmatch(
        r"actors check: error: \[Errno \d+\] Too many open files "
        r"\(RLIMIT_NOFILE of this process is \d+: see `ulimit -n`\)\n",
        capsys.readouterr().err,
    )


def _with_files(runtime: Path, most: int, *words: str) -> subprocess.CompletedProcess[str]:
    script = f"ulimit -n {most}; exec {shlex.join(command(*words))}"
    return _in_a_shell(runtime, HERE, script)
