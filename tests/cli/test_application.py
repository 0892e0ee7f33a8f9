"""`actors check`, `run` and `apply` of application files: what they print, change and refuse."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from tests.cli.running_command import (
    HERE,
    PATIENCE,
    Running,
    command,
    environment,
    error_of,
    run_command,
    run_here,
    running,
)

pytestmark = pytest.mark.usefixtures("no_leaks")

APPLICATION = """\
[nodes.web]
kind = "thread"
count = "${WEB:-1}"

[children.counter]
class = "asked:Counter"
args = [5]
on = "web"

[listeners.http]
handler = "topologies:echo"
address = "127.0.0.1:0"

[profiles.big.nodes.web]
count = 2
"""


@pytest.fixture
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this process import what the files of tests name."""
    monkeypatch.setattr(sys, "path", [str(HERE), *sys.path])


@pytest.fixture
def file(runtime: Path) -> Path:
    path = runtime / "actors.toml"
    path.write_text(APPLICATION)
    return path


def rewrite(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def test_check_prints_what_would_be_started(runtime: Path, file: Path) -> None:
    done = run_command(runtime, "check", str(file), "--profile", "big")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == (
        f"{file} is right; it would start\n"
        "\n"
        "group     web      2 thread nodes\n"
        "child     counter  asked:Counter on web\n"
        "listener  http     topologies:echo at 127.0.0.1:0 on web\n"
    )


def test_check_shows_the_tables_as_json_with_their_variables(
    runtime: Path, file: Path, importable: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WEB", "3")
    _, out, _ = run_here(runtime, "check", str(file), "--json")
    assert json.loads(out)["nodes"]["web"] == {"kind": "thread", "count": 3}


@pytest.mark.parametrize(
    "old, new, said",
    [
        (
            'count = "${WEB:-1}"',
            "cuont = 1",
            ":3: nodes.web.cuont: there is no such key; did you mean",
        ),
        (
            "asked:Counter",
            "asked:Cuonter",
            ":6: children.counter.class: asked has no attribute 'Cuonter'",
        ),
        ("asked:Counter", "askd:Counter", ":6: children.counter.class: there is no module 'askd'"),
        (
            "asked:Counter",
            "asked:__name__",
            ":6: children.counter.class: must be a class, got 'asked'",
        ),
        ("asked:Counter", "json:JSONDecoder", ":6: children.counter.class: "),
        ("args = [5]", "args = [5, 6, 7, 8]", ":6: children.counter.class: "),
        (
            "topologies:echo",
            "topologies:eco",
            ":11: listeners.http.handler: topologies has no attribute",
        ),
        ("count = 2", "count = 0", ":15: nodes.web.count: must be 1 to 1024, got 0"),
    ],
)
def test_check_refuses_what_is_wrong_with_file_and_line(
    runtime: Path, file: Path, importable: None, old: str, new: str, said: str
) -> None:
    rewrite(file, old, new)
    code, out, err = run_here(runtime, "check", str(file))
    assert (code, out) == (2, "")
    assert error_of(err, "actors check").startswith(f"{file}{said}")


@pytest.mark.parametrize(
    "text, told",
    [
        ('["a\\nb\\u001b"]', ":1: a\\nb\\x1b: there is no such table"),
        (
            '[programs."a\\nb"]\ncommand = ["true"]\nodd = 1',
            ":3: programs.a\\nb.odd: there is no such key",
        ),
        ('[programs."a\\nb"]\ncommand = ["true"]', ":1: programs.a\\nb: a program is named with"),
        ('[programs.web]\ncommand = ["true"]\nenv = {"a\\nb" = 5}', ":3: programs.web.env.a\\nb: "),
        (
            '[listeners."a\\nb"]\napp = "json:odd"\naddress = "127.0.0.1:0"',
            ":1: listeners.a\\nb.nodes: there is no group",
        ),
        (
            '[supervisors."a\\nb"]\n[children."a\\nb"]\nclass = "asked:Counter"',
            ":2: children.a\\nb: supervisors.a\\nb has that name already",
        ),
    ],
)
def test_an_error_is_one_line_whatever_the_names_in_a_file_and_its_own_name_are(
    runtime: Path, text: str, told: str
) -> None:
    file = runtime / "of\nshop\x1b.toml"
    file.write_text(text)
    code, out, err = run_here(runtime, "check", str(file))
    assert (code, out) == (2, "")
    assert error_of(err, "actors check").startswith(f"{runtime}/of\\nshop\\x1b.toml{told}")
    assert err.removesuffix("\n").isprintable()


@pytest.mark.parametrize("command", ["check", "import"])
def test_an_error_is_one_line_whatever_the_file_that_is_not_there_is_called(
    runtime: Path, command: str
) -> None:
    code, _, err = run_here(runtime, command, "no\nfile\x1b")
    assert code == 2
    assert err.removesuffix("\n").isprintable()


def test_check_of_what_a_module_has_says_that_it_reads_files(runtime: Path) -> None:
    code, out, err = run_here(runtime, "check", "asked:topology")
    assert (code, out) == (2, "")
    said = error_of(err, "actors check")
    assert said.startswith("there is no file asked:topology; what a module has is checked when")


def test_run_starts_the_file_of_the_folder_and_apply_changes_what_differs(
    runtime: Path, file: Path, importable: None
) -> None:
    with running(runtime, "run", cwd=runtime) as system:
        listening = system.event("listening", listener="http")
        code, out, _ = run_here(runtime, "apply", str(file), "--dry-run")
        assert (code, out) == (0, "nothing to change: 3 of 3 parts are as they are to be\n")

        code, out, err = run_here(runtime, "apply", str(file), "--profile", "big")
        assert (code, out) == (2, "~ group  web  count 1 → 2\n2 of 3 parts are as they are to be\n")
        assert (
            error_of(err, "actors apply") == "there is no terminal to ask: --yes makes the changes"
        )

        code, out, _ = run_here(runtime, "apply", str(file), "--profile", "big", "--yes")
        assert (code, out.splitlines()[-1]) == (0, "group web: scaled")
        assert run_here(runtime, "ask", "counter", "add", "1")[1] == "6\n"
        assert system.event("apply done")["changes"] == 1

        rewrite(file, "[listeners.http]", "[listeners.other]")
        code, _, err = run_here(runtime, "apply", str(file), "--yes")
        assert code == 2
        assert error_of(err, "actors apply").startswith(
            "this would stop what serves: listener http; nothing was changed"
        )
        _, out, _ = run_here(runtime, "apply", str(file), "--yes", "--stop-serving")
        assert "listener other: started" in out
        assert system.event("listening", listener="other")["address"] != listening["address"]
        assert system.end(signal.SIGTERM) == 0


def test_run_refuses_what_is_wrong_before_anything_starts(runtime: Path, file: Path) -> None:
    rewrite(file, "asked:Counter", "asked:Cuonter")
    done = run_command(runtime, "run", str(file))
    assert done.returncode == 2
    assert error_of(done.stderr, "actors run").startswith(f"{file}:6: children.counter.class: ")
    assert "node ready" not in done.stderr


def test_the_process_of_the_system_imports_no_class_of_the_file(runtime: Path, file: Path) -> None:
    (runtime / "told.py").write_text(
        "import os, actors\n"
        "open('imported', 'a').write(f'{os.getpid()}\\n')\n"
        "class Quiet(actors.Actor): pass\n"
    )
    file.write_text('[nodes.back]\n[children.a]\nclass = "told:Quiet"\non = "back"\n')
    with running(runtime, "run", cwd=runtime) as system:
        imported = (runtime / "imported").read_text().split()
        assert str(system.event("node ready")["pid"]) in imported
        assert str(system.pid) not in imported
        assert system.end(signal.SIGTERM) == 0


@pytest.mark.parametrize(
    "does", ["sys.stderr = None", "sys.stdout.close()", "sys.stdout = object()"]
)
def test_a_module_may_do_to_the_standard_streams_what_it_likes(
    runtime: Path, file: Path, does: str
) -> None:
    (runtime / "does.py").write_text(f"import sys\nfrom asked import Counter\n{does}\n")
    rewrite(file, "asked:Counter", "does:Counter")
    rewrite(file, 'kind = "thread"\n', "")
    with running(runtime, "run", str(file), ready="system ready") as system:
        assert system.end(signal.SIGTERM) == 0


@pytest.mark.parametrize(
    "does",
    [
        "sys.stdout.close()",
        "sys.stderr.close()",
        "sys.stdout = sys.stderr = None",
        "sys.stdout = object()",
        "os.close(0); os.close(1); os.close(2)",
        "print('of the module'); os.write(1, b'of the module\\n')",
        "os.chdir('/')",
        "threading.Thread(target=threading.Event().wait).start()",
        "atexit.register(lambda: 1 / 0)",
        "signal.signal(signal.SIGCHLD, signal.SIG_IGN)",
    ],
)
@pytest.mark.parametrize("given", [["check"], ["check", "--json"], ["apply", "--dry-run"]])
def test_a_module_may_do_to_the_process_in_which_a_file_is_checked_what_it_likes(
    runtime: Path, file: Path, given: list[str], does: str
) -> None:
    (runtime / "does.py").write_text(
        f"import atexit, os, signal, sys, threading\nfrom asked import Counter\n{does}\n"
    )
    rewrite(file, "asked:Counter", "does:Counter")
    done = run_command(runtime, *given, os.path.relpath(file, HERE))
    assert "Traceback" not in done.stderr
    if given[0] == "apply":
        assert done.returncode == 3
        assert error_of(done.stderr, "actors apply").startswith("no system of yours is running")
    else:
        assert done.returncode == 0
        assert "of the module" not in done.stdout
        assert json.loads(done.stdout) if "--json" in given else "is right" in done.stdout


@pytest.mark.parametrize("command", ["check", "apply"])
@pytest.mark.parametrize(
    "does, code, told",
    [
        ("sys.exit(7)", 2, "class: importing does ended the program (SystemExit: 7)"),
        (
            "sys.stderr.close(); sys.exit()",
            2,
            "importing does ended the program (SystemExit: None)",
        ),
        ("from asked import Counter; sys.path.clear()", 2, "there is no module 'topologies' in "),
        ("os._exit(5)", 1, "the process that did it ended with 5, and had not said how it went"),
        ("raise KeyboardInterrupt", 1, "cannot be imported: KeyboardInterrupt()"),
    ],
)
def test_a_module_that_ends_the_process_in_which_a_file_is_checked_is_one_error(
    runtime: Path, file: Path, command: str, does: str, code: int, told: str
) -> None:
    (runtime / "does.py").write_text(f"import os, sys\n{does}\n")
    rewrite(file, "asked:Counter", "does:Counter")
    done = run_command(runtime, command, str(file))
    assert (done.returncode, done.stdout) == (code, "")
    assert told in error_of(done.stderr, f"actors {command}")


FORKS = """
import os, time
from asked import Counter

if os.fork() == 0:
    with open(os.path.join(os.path.dirname(__file__), f"{os.getpid()}.pid"), "w"):
        time.sleep(60)
    os._exit(0)
"""


def test_a_process_that_a_module_starts_when_it_is_imported_holds_nothing_up(
    runtime: Path, file: Path
) -> None:
    (runtime / "does.py").write_text(FORKS)
    rewrite(file, "asked:Counter", "does:Counter")
    rewrite(file, 'kind = "thread"\n', "")
    try:
        with running(runtime, "run", str(file), ready="system ready") as system:
            system.process.send_signal(signal.SIGTERM)
            assert system.process.wait(PATIENCE) == 0
    finally:
        _kill_started(runtime)


def _kill_started(folder: Path) -> None:
    for started in folder.glob("*.pid"):
        with suppress(ProcessLookupError):  # it ended with its node
            os.kill(int(started.stem), signal.SIGKILL)


@pytest.mark.parametrize(
    "does, told",
    [
        ("raise KeyboardInterrupt", "cannot be imported: KeyboardInterrupt()"),
        ("os._exit(5)", "the process that did it ended with 5, and had not said how it went"),
    ],
)
def test_a_module_that_does_not_let_itself_be_imported_is_one_error(
    runtime: Path, file: Path, does: str, told: str
) -> None:
    (runtime / "does.py").write_text(f"import os\n{does}\n")
    rewrite(file, "asked:Counter", "does:Counter")
    done = run_command(runtime, "run", str(file))
    assert done.returncode == 1
    assert told in error_of(done.stderr, "actors run")


def test_a_folder_without_a_file_and_a_profile_without_one_are_one_error(runtime: Path) -> None:
    (runtime / "empty").mkdir()
    code, _, err = run_here(runtime, "run", "topologies:good", "--profile", "big")
    assert code == 2
    assert error_of(err, "actors run") == (
        "--profile goes with an application file, not with 'topologies:good'"
    )
    here = Path.cwd()
    os.chdir(runtime / "empty")
    try:
        code, _, err = run_here(runtime, "run")
    finally:
        os.chdir(here)
    assert error_of(err, "actors run") == (
        "there is no actors.toml here: name an application file, or pkg.mod:attr"
    )


def test_a_system_of_a_topology_becomes_that_of_a_file(
    runtime: Path, file: Path, importable: None
) -> None:
    with running(runtime, "run", "topologies:small") as system:
        assert run_here(runtime, "apply", str(file), "--yes", "--stop-serving")[0] == 0
        _, out, _ = run_here(runtime, "apply", str(file), "--dry-run")
        assert out.startswith("nothing to change")
        assert system.end(signal.SIGTERM) == 0


def test_the_log_has_the_level_and_the_format_of_the_file(runtime: Path, file: Path) -> None:
    file.write_text('[nodes.web]\nkind = "thread"\n[log]\nlevel = "warning"\n')
    with running(runtime, "run", str(file), ready="") as system:
        while not system.socket.exists():
            assert system.process.poll() is None
        assert system.end(signal.SIGTERM) == 0
        assert [event["event"] for event in system.events] == []


def test_the_schema_is_printed(runtime: Path) -> None:
    code, out, _ = run_here(runtime, "schema")
    assert code == 0
    assert json.loads(out)["properties"]["nodes"]


def test_apply_without_a_system_exits_with_3(runtime: Path, file: Path, importable: None) -> None:
    assert run_here(runtime, "apply", str(file))[0] == 3


def test_a_listener_takes_the_socket_that_was_passed_under_its_name(
    runtime: Path, file: Path, importable: None
) -> None:
    passed = "import os,sys; os.environ['LISTEN_PID']=str(os.getpid()); os.execv(sys.argv[1], sys.argv[1:])"
    with socket.create_server(("127.0.0.1", 0)) as listening:
        os.set_inheritable(listening.fileno(), True)
        process = subprocess.Popen(
            [
                *(sys.executable, "-c", f"import os; os.dup2({listening.fileno()}, 3); {passed}"),
                *command("run", str(file)),
            ],
            cwd=HERE,
            env=environment(runtime, LISTEN_FDS="1", LISTEN_FDNAMES="http"),
            pass_fds=(listening.fileno(),),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        system = Running(process, runtime)
        try:
            assert system.event("listening", listener="http")["address"].endswith(
                f":{listening.getsockname()[1]}"
            )
            assert system.event("control socket")
            code, out, _ = run_here(runtime, "apply", str(file), "--dry-run")
            assert (code, out.partition(":")[0]) == (0, "nothing to change")
            assert system.end(signal.SIGTERM) == 0
        finally:
            system.close()
