"""Wrong targets and counts: each is one message that names the value, and nothing starts."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from actors import Topology, nodes
from actors.cli import main
from actors.cli._failure import CommandFailed
from actors.cli.server.run import override_preload
from actors.cli.target import import_from_here, load_topology

Write = Callable[[str, str], None]

HOUSE = """
import actors
topology = actors.Topology(nodes=[actors.nodes("web"), actors.nodes("rooms")])
number = 5
text = "x" * 200
class Thing: pass
class holder: topology = topology
def made(): return topology
async def made_async(): return topology
async def app(scope, receive, send): pass
def made_with(count): return topology
def made_wrong(): return number
def made_badly():
    try:
        {}["CHAT_PORT"]
    except KeyError as error:
        raise ValueError("no port") from error
"""


@pytest.fixture
def fails(project: Write, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    project("house.py", HOUSE)

    def run(*arguments: str) -> tuple[int, str]:
        code = main(arguments)
        shown = capsys.readouterr()
        assert shown.out == ""
        start = f"actors {arguments[0]}: error: "
        assert shown.err.startswith(start)
        assert shown.err.count("error: ") == 1 or "raised" in shown.err or "imported" in shown.err
        return code, shown.err.removeprefix(start).rstrip("\n")

    return run


@pytest.mark.parametrize(
    "target,message",
    [
        ("house", "TARGET must be 'pkg.mod:attr', got 'house'; for instance 'house:topology'"),
        (
            "house.py",
            "TARGET must be 'pkg.mod:attr', got 'house.py'; for instance 'house:topology'",
        ),
        ("./a/b.py", "TARGET must be 'pkg.mod:attr', got './a/b.py'; for instance 'a.b:topology'"),
        (":topology", "TARGET must be 'pkg.mod:attr', got ':topology'"),
        ("house:", "TARGET must be 'pkg.mod:attr', got 'house:'"),
        ("house:topolgy", "house has no attribute 'topolgy'; did you mean 'house:topology'?"),
        ("house:zzz", "house has no attribute 'zzz'; the topologies there: house:topology"),
        (
            "house:holder.zzz",
            "house:holder has no attribute 'zzz'; the topologies there: house:holder.topology",
        ),
        (
            "house:number",
            "house:number must be a Topology or a function that makes one, got 5 (int)",
        ),
        (
            "house:Thing",
            "house:Thing must be a Topology or a function that makes one, got the class Thing",
        ),
        (
            "house:actors",
            "house:actors must be a Topology or a function that makes one, got the module actors",
        ),
        (
            "house:made_async",
            (
                "house:made_async is async: a function that makes a Topology runs before any loop; "
                "write it with `def`"
            ),
        ),
        (
            "house:app",
            (
                "house:app looks like an ASGI application, not like a Topology: "
                "`actors serve house:app` serves it"
            ),
        ),
        ("house:made_with", "house:made_with is called without arguments, but takes (count)"),
        ("house:made_wrong", "house:made_wrong() must return a Topology, got 5 (int)"),
    ],
)
def test_a_wrong_target_is_a_usage_mistake_that_says_what_it_is_instead(
    fails: Callable[..., tuple[int, str]], target: str, message: str
) -> None:
    assert fails("run", target) == (2, message)


@pytest.mark.parametrize("name", ["actors.py", "actors/__init__.py"])
def test_what_would_hide_a_package_of_ours_from_nodes_is_named(
    project: Write, fails: Callable[..., tuple[int, str]], name: str
) -> None:
    project(name, "")
    package = name.partition("/")[0].removesuffix(".py")
    message = f"{Path.cwd() / name} hides the package {package!r} of actors-framework: rename it"
    for command in (("run", "house:topology"), ("serve", "house:app")):
        assert fails(*command) == (2, message)


def test_a_folder_that_was_deleted_is_one_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with pytest.raises(CommandFailed, match="the current folder is gone"):
        import_from_here()


def test_a_long_value_is_cut_in_the_message(fails: Callable[..., tuple[int, str]]) -> None:
    code, message = fails("run", "house:text")
    assert code == 2
    assert message.endswith("xxx... (str)")
    assert len(message) < 200


def test_a_missing_module_is_named_with_the_folder_and_a_close_name(
    fails: Callable[..., tuple[int, str]], tmp_path: Path
) -> None:
    where = f"in {tmp_path} or among the installed ones"
    assert fails("run", "hose:x") == (
        2,
        f"there is no module 'hose' {where}; did you mean 'house'?",
    )
    assert fails("run", "zzz.y:x") == (2, f"there is no module 'zzz' {where}")
    hint = "; did you mean 'actors.routing'?"
    assert fails("run", "actors.routng:x") == (
        2,
        f"there is no module 'actors.routng' {where}{hint}",
    )


def test_a_factory_that_raises_is_told_with_its_place_and_its_cause(
    fails: Callable[..., tuple[int, str]], tmp_path: Path
) -> None:
    code, message = fails("run", "house:made_badly")
    line = HOUSE.splitlines().index('        raise ValueError("no port") from error') + 1
    assert code == 1
    assert message.splitlines() == [
        "house:made_badly() raised ValueError: no port",
        f"  at {tmp_path}/house.py:{line} in made_badly",
        "  because of KeyError: 'CHAT_PORT'",
    ]


@pytest.mark.parametrize(
    "text,last",
    [
        ("import nosuchlibrary", "ModuleNotFoundError: No module named 'nosuchlibrary'"),
        ("x = (", "SyntaxError: '(' was never closed"),
        ("def f(): 1 / 0\nf()", "ZeroDivisionError: division by zero"),
        (
            "import actors\nactors.nodes('web', count=-3)",
            "actors.errors.InvalidSpec: nodes('web'): count must be 1 to 1024, got -3",
        ),
    ],
)
def test_an_error_inside_the_module_shows_its_own_traceback_and_no_frame_of_ours(
    fails: Callable[..., tuple[int, str]], project: Write, tmp_path: Path, text: str, last: str
) -> None:
    project("broken.py", text)
    code, message = fails("run", "broken:topology")
    assert code == 1
    lines = message.splitlines()
    assert lines[0] == "broken cannot be imported:"
    assert lines[-1] == last
    files = [line for line in lines if line.lstrip().startswith("File")]
    assert files
    assert all(f'"{tmp_path}/broken.py"' in line for line in files)


def test_an_unknown_key_of_nodes_is_named(
    fails: Callable[..., tuple[int, str]], project: Write
) -> None:
    project("broken.py", "import actors\nactors.nodes('web', cuont=3)")
    code, message = fails("run", "broken:topology")
    assert code == 1
    assert "'cuont'" in message.splitlines()[-1]


def test_a_module_that_ends_the_program_is_told_to_guard_its_main(
    fails: Callable[..., tuple[int, str]], project: Write
) -> None:
    project("script.py", "import sys\nsys.exit(4)")
    code, message = fails("run", "script:topology")
    assert code == 1
    assert message == (
        "importing script ended the program (SystemExit: 4): what it runs belongs under "
        "`if __name__ == '__main__'`"
    )


@pytest.mark.parametrize(
    "nodes,message",
    [
        (
            "wbe=2",
            "--nodes wbe=2: there is no group 'wbe'; the groups are 'web', 'rooms'; did you mean 'web'?",
        ),
        ("web", "--nodes must be GROUP=COUNT such as web=4, got 'web'"),
        ("=4", "--nodes must be GROUP=COUNT such as web=4, got '=4'"),
        ("web=two", "--nodes web=two: COUNT must be a number or max, got 'two'"),
        ("web=", "--nodes web=: COUNT must be a number or max, got ''"),
        ("web=-1", "--nodes web=-1: COUNT must be a number or max, got '-1'"),
        ("web=0", "--nodes web=0: nodes('web'): count must be 1 to 1024, got 0"),
        ("web=99999", "--nodes web=99999: nodes('web'): count must be 1 to 1024, got 99999"),
    ],
)
def test_a_wrong_count_is_a_usage_mistake_that_names_the_value_and_the_groups(
    fails: Callable[..., tuple[int, str]], nodes: str, message: str
) -> None:
    assert fails("run", "house:topology", f"--nodes={nodes}") == (2, message)


@pytest.mark.parametrize(
    "preload,message",
    [
        (
            "wbe=json",
            "--preload wbe=json: there is no group 'wbe'; the groups are 'web', 'rooms'; did you mean 'web'?",
        ),
        ("web", "--preload must be GROUP=MODULE such as web=pkg.model, got 'web'"),
        (
            "web=a-b",
            "--preload web=a-b: nodes('web'): preload has names of modules such as 'pkg.model', got 'a-b'",
        ),
    ],
)
def test_a_module_to_preload_that_cannot_be_is_a_usage_mistake(
    fails: Callable[..., tuple[int, str]], preload: str, message: str
) -> None:
    assert fails("run", "house:topology", f"--preload={preload}") == (2, message)


def test_modules_to_preload_come_beside_those_of_the_topology() -> None:
    topology = Topology(nodes=[nodes("web", preload=["json"]), nodes("rooms")])
    added = override_preload(topology, ["web=tokenize", "rooms=json"])
    assert [list(group.preload) for group in added.nodes] == [["json", "tokenize"], ["json"]]


@pytest.mark.parametrize("target", ["house:topology", "house:holder.topology", "house:made"])
def test_a_topology_and_what_makes_one_are_targets_found_in_the_current_folder(
    project: Write, monkeypatch: pytest.MonkeyPatch, target: str
) -> None:
    project("house.py", HOUSE)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path])
    import_from_here()
    assert isinstance(load_topology(target), Topology)
