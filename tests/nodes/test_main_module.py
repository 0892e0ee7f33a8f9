"""Classes of a script work on process nodes; what cannot be imported is refused by name."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.scripts import ROOT, run

BODY = """
import enum, dataclasses, os, actors

class Colour(enum.Enum):
    RED = 1

@dataclasses.dataclass
class Point:
    x: int
    colour: Colour

class Trouble(Exception):
    pass

class Mover(actors.Actor):
    def __init__(self, point: Point) -> None:
        self.point = point

    async def move(self, by: int) -> Point:
        self.point.x += by
        return self.point

    async def call(self, function, *args):
        return function, function(*args)

    async def fail(self) -> None:
        raise Trouble("from the node")

    async def pid(self) -> int:
        return os.getpid()

def double(number):
    return 2 * number

async def main():
    topology = actors.Topology(nodes=[actors.nodes("web")])
    async with actors.System(topology) as system:
        mover = await system.spawn(Mover, Point(1, Colour.RED), on="web")
        moved = await mover.ask(Mover.move, 2)
        assert type(moved) is Point and moved == Point(3, Colour.RED), moved
        assert await mover.ask(Mover.pid) != os.getpid()
        assert await mover.ask(Mover.call, double, 2) == (double, 4)
        assert await mover.ask(Mover.call, Colour, 1) == (Colour, Colour.RED)
        try:
            await mover.ask(Mover.fail)
        except Trouble as trouble:
            print("done:", trouble)
"""


def test_a_scripts_own_classes_work_on_process_nodes(tmp_path: Path) -> None:
    guarded = BODY + 'if __name__ == "__main__":\n    actors.run(main)\n'
    assert run(tmp_path / "guarded.py", guarded) == (0, "done: from the node\n", "")


def test_a_script_needs_no_guard_but_the_call_of_run(tmp_path: Path) -> None:
    bare = BODY + 'print("before run")\nactors.run(main)\nprint("after run")\n'
    code, out, err = run(tmp_path / "bare.py", bare)
    # The node runs what is above the call as well, and what it prints is a record of the log.
    assert (code, [json.loads(line)["event"] for line in err.splitlines()]) == (0, ["before run"])
    assert out == "before run\ndone: from the node\nafter run\n"


def test_a_module_run_by_name_works_as_a_script_does(tmp_path: Path) -> None:
    package = tmp_path / "shop"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "tools.py").write_text("MARK = 'relative imports work'\n")
    source = "from .tools import MARK\n" + BODY + "print(MARK)\nactors.run(main)\n"
    (package / "serve.py").write_text(source)
    result = subprocess.run(
        [sys.executable, "-m", "shop.serve"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "ACTORS_LOG": "error"},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout == "relative imports work\ndone: from the node\n"


def test_a_main_from_standard_input_is_refused_by_name(tmp_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-"],
        input=BODY + "actors.run(main)\n",
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "ACTORS_LOG": "error"},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1] == (
        "actors.errors.InvalidSpec: Mover cannot run on a process node: its __main__ is no file "
        "that another process could import (a REPL, stdin or -c): put it in a module"
    )


def test_a_function_or_object_of_such_a_main_is_refused_where_it_is_sent(tmp_path: Path) -> None:
    program = """
import dataclasses, actors
from tests.contracts.contract_actors import Keeper

def double(number):
    return 2 * number

@dataclasses.dataclass
class Point:
    x: int

async def main():
    groups = [actors.nodes("process"), actors.nodes("thread", kind="thread")]
    async with actors.System(actors.Topology(nodes=groups)) as system:
        for place in (None, "thread", "process"):
            keeper = await system.spawn(Keeper, on=place)
            for value in (double, Point, Point(1)):
                try:
                    print(await keeper.ask(Keeper.echo, [keeper, value]) == [keeper, value])
                except actors.ActorsError as error:
                    print(type(error).__name__, error.path, error.why)
actors.run(main)
"""
    result = subprocess.run(
        [sys.executable, "-"],
        input=program,
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "ACTORS_LOG": "error"},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert result.stderr == ""
    *there, one, two, three = result.stdout.splitlines()
    assert there == ["True"] * 6
    for line, name in ((one, "double"), (two, "Point"), (three, "Point")):
        assert line.startswith("NotSendable args[0][1] ")
        assert f"no other process can import {name}: its __main__ is no file" in line


def test_a_main_from_the_command_line_still_runs_local_actors(tmp_path: Path) -> None:
    local = BODY.replace('on="web"', 'on="local"').replace("!= os.getpid()", "== os.getpid()")
    result = subprocess.run(
        [sys.executable, "-c", local + "actors.run(main)\n"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "ACTORS_LOG": "error"},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (result.returncode, result.stdout) == (0, "done: from the node\n"), result.stderr


def test_a_class_defined_in_a_function_is_refused_by_name(tmp_path: Path) -> None:
    code, _, err = run(
        tmp_path / "nested.py",
        """
        import actors

        def make():
            class Hidden(actors.Actor):
                async def ping(self): ...
            return Hidden

        async def main():
            async with actors.System(actors.Topology(nodes=[actors.nodes("web")])) as system:
                await system.spawn(make(), on="web")

        actors.run(main)
        """,
    )
    assert code == 1
    assert err.splitlines()[-1] == (
        "actors.errors.InvalidSpec: __main__:make.<locals>.Hidden is defined inside a function: "
        "a process node cannot import it; move it to a module"
    )


@pytest.mark.parametrize("name", ["transport.py", "supervisors/__init__.py"])
def test_a_module_of_the_users_may_be_called_as_a_folder_of_ours(tmp_path: Path, name: str) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("mine = True\n")
    code, out, err = run(
        tmp_path / "script.py",
        f"""
        import {name.partition("/")[0].removesuffix(".py")} as mine

        import actors
        from actors.transport import move
        from actors.supervisors import Budget

        print(mine.mine, move.__module__.startswith("actors."), Budget.__module__.startswith("actors."))
        """,
    )
    assert (code, out.split()) == (0, ["True", "True", "True"]), err


def test_a_main_file_is_compiled_in_a_node_as_it_is_written(tmp_path: Path) -> None:
    code = """
import dataclasses, actors

@dataclasses.dataclass
class Branch:
    parts: "list[Branch]"
    size: int = 1

def types(branch):
    return [field.type for field in dataclasses.fields(branch)], branch

async def main():
    async with actors.System() as system:
        branch = Branch([Branch([])])
        assert await system.offload(types, branch) == (["list[Branch]", int], branch)
        print("done")

actors.run(main)
"""
    assert run(tmp_path / "tree.py", code) == (0, "done\n", "")


def test_a_function_of_a_program_that_a_profiler_runs_is_refused_with_the_reason(
    tmp_path: Path,
) -> None:
    code = """
import actors

def double(number):
    return 2 * number

async def main():
    async with actors.System() as system:
        try:
            await system.offload(double, 2)
        except actors.errors.NotSendable as error:
            print(error)

actors.run(main)
"""
    (tmp_path / "profiled.py").write_text(code)
    words = [sys.executable, "-m", "trace", "--count", "-C", str(tmp_path), "profiled.py"]
    done = subprocess.run(
        words, cwd=tmp_path, text=True, capture_output=True, timeout=60, check=False
    )
    assert "double is not in __main__" in done.stdout
    assert "perhaps a profiler that runs this program: put it in a module" in done.stdout
