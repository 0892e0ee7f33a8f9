"""What is built from a clean checkout, and that it works as installed, beside packages of the user."""

from __future__ import annotations

import json
import os
import runpy
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path, PurePosixPath
from typing import Final, NamedTuple

import pytest

from actors._extensions import SOURCES

ROOT: Final = Path(__file__).resolve().parents[2]
PATIENCE: Final = 50
EXT_SUFFIX: Final[str] = sysconfig.get_config_var("EXT_SUFFIX")
EXTENSIONS: Final = {f"{module.replace('.', '/')}{EXT_SUFFIX}" for module in SOURCES}

TOPOLOGY: Final = """
import json
import os
from pathlib import Path

import actors
import actors.supervisors
import actors.transport
import supervisors
import transport

FILES = {name: str(Path(module.__file__).resolve().parent) for name, module in {
    "actors": actors,
    "actors.supervisors": actors.supervisors,
    "actors.transport": actors.transport,
    "supervisors": supervisors,
    "transport": transport,
}.items()}


class Reporter(actors.Actor):
    async def on_start(self):
        report = {"pid": os.getpid(), "text": transport.TEXT, "files": FILES}
        Path(supervisors.REPORT).write_text(json.dumps(report))


topology = actors.Topology(
    nodes=[actors.nodes("web")], children=[actors.child(Reporter, name="reporter", on="web")]
)
"""


class Built(NamedTuple):
    wheel: Path
    sdist: Path


def run(*command: str | Path, cwd: Path, **variables: str) -> str:
    outside = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        command,
        cwd=cwd,
        env=outside | variables,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def build(source: Path, folder: Path, **variables: str) -> Built:
    run(sys.executable, "-m", "hatchling", "build", "-d", folder, cwd=source, **variables)
    (wheel,), (sdist,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
    return Built(wheel, sdist)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not (ROOT / ".git").exists():
        pytest.skip("this is no checkout")
    folder = tmp_path_factory.mktemp("packaging") / "checkout"
    run("git", "clone", "--quiet", "--shared", ROOT, folder, cwd=ROOT)
    return folder


@pytest.fixture(scope="module")
def built(checkout: Path) -> Built:
    return build(checkout, checkout.parent / "built")


def files_of_wheel(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def files_of_sdist(sdist: Path) -> dict[str, bytes]:
    with tarfile.open(sdist) as archive:
        files = {}
        for member in archive:
            content = archive.extractfile(member) if member.isfile() else None
            assert content is not None, f"{member.name} is no plain file"
            files[str(PurePosixPath(*PurePosixPath(member.name).parts[1:]))] = content.read()
        return files


def of_package(files: dict[str, bytes]) -> dict[str, bytes]:
    return {name: data for name, data in files.items() if name.startswith("actors/")}


def test_the_wheel_installs_the_package_actors_alone(built: Built) -> None:
    names = [PurePosixPath(name) for name in files_of_wheel(built.wheel)]

    assert {name.parts[0] for name in names if not name.parts[0].endswith(".dist-info")} == {
        "actors"
    }
    typed = {str(name.parent) for name in names if name.name == "py.typed"}
    assert typed == {"actors", "actors/supervisors", "actors/transport"}


def test_wheel_and_sdist_hold_the_files_of_the_package_as_they_are_in_the_checkout(
    checkout: Path, built: Built
) -> None:
    tracked = run("git", "ls-files", "actors/**", "supervisors", "transport", cwd=checkout).split()
    paths = [checkout / name for name in tracked if not (checkout / name).is_symlink()]
    expected = {
        name if name.startswith("actors/") else f"actors/{name}": path.read_bytes()
        for path in paths
        for name in [path.relative_to(checkout).as_posix()]
    }

    assert of_package(files_of_sdist(built.sdist)) == expected
    in_wheel = of_package(files_of_wheel(built.wheel))
    compiled = {name for name in in_wheel if name.endswith(EXT_SUFFIX)}
    assert {name: in_wheel[name] for name in in_wheel.keys() - compiled} == {
        name: data for name, data in expected.items() if not name.endswith((".c", ".h"))
    }
    assert compiled == (set() if unsuitable() else EXTENSIONS)


def unsuitable() -> str:
    """Why no wheel of this interpreter has extensions, or an empty text."""
    reason: str = runpy.run_path(str(ROOT / "hatch_build.py"))["unsuitable"]()
    return reason


def test_the_tag_of_a_wheel_says_for_which_platform_it_was_compiled(built: Built) -> None:
    version = f"cp{sys.version_info.major}{sys.version_info.minor}"
    tag = built.wheel.stem.split("-", 2)[2]

    assert tag == "py3-none-any" if unsuitable() else tag.startswith(f"{version}-{version}-")


def test_a_wheel_built_without_a_compiler_is_whole_and_pure(checkout: Path, tmp_path: Path) -> None:
    pure = build(checkout, tmp_path, CC="/no/such/compiler").wheel

    assert pure.name.endswith("-py3-none-any.whl")
    assert not [name for name in files_of_wheel(pure) if name.endswith(EXT_SUFFIX)]
    code = "from actors._base.version import which_twins; print(which_twins())"
    said = run(sys.executable, "-c", code, cwd=tmp_path, PYTHONPATH=str(pure))
    assert said == "Python code only: No module named 'actors.transport._speedups'\n"


def test_a_wheel_from_the_sdist_equals_the_one_from_the_checkout(
    tmp_path: Path, built: Built
) -> None:
    with tarfile.open(built.sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    (source,) = tmp_path.iterdir()
    again = build(source, tmp_path / "built")

    assert files_of_wheel(again.wheel) == files_of_wheel(built.wheel)
    assert files_of_sdist(again.sdist) == files_of_sdist(built.sdist)


def test_a_build_that_must_have_the_extensions_fails_without_a_compiler(
    checkout: Path, tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    environment = os.environ | {"ACTORS_SPEEDUPS": "1", "CC": "/no/such/compiler"}

    done = subprocess.run(
        command, cwd=checkout, env=environment, capture_output=True, text=True, check=False
    )

    assert done.returncode == 1
    assert "there can be no C extensions: cannot run the compiler /no/such/compiler" in done.stderr


@pytest.fixture(scope="module")
def from_wheel(built: Built) -> Path:
    """The `bin` folder of a new environment that has the wheel, and the dependencies of this one."""
    folder = built.wheel.parent / "environment"
    venv.create(folder, symlinks=True)
    site_packages = sysconfig.get_path("purelib", vars={"base": str(folder)})
    # The path alone: a `.pth` file of that folder, such as an editable install has, is not read.
    Path(site_packages, "dependencies.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    pip = (sys.executable, "-m", "pip", "--python", folder / "bin/python", "install", "--quiet")
    run(*pip, "--no-deps", "--no-index", built.wheel, cwd=folder)
    return folder / "bin"


@pytest.fixture(scope="module")
def editable() -> Path:
    """The `bin` folder of this environment, if `actors` is installed here as a link to the checkout."""
    folder = Path(sys.executable).parent
    found = run(sys.executable, "-c", "import actors; print(actors.__file__)", cwd=Path("/"))
    if Path(found.strip()) != ROOT / "actors/__init__.py":
        pytest.skip("this environment has no editable install of this checkout")
    return folder


@pytest.mark.parametrize("installed", ["from_wheel", "editable"])
def test_a_user_may_have_packages_named_transport_and_supervisors_on_process_nodes_too(
    request: pytest.FixtureRequest, tmp_path: Path, installed: str
) -> None:
    programs: Path = request.getfixturevalue(installed)
    report = tmp_path / "report.json"
    for name, code in {
        "topology.py": TOPOLOGY,
        "transport/__init__.py": "TEXT = 'trucks'",
        "supervisors/__init__.py": f"REPORT = {str(report)!r}",
    }.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(code)

    pid = run_until_ready_and_stop(programs / "actors", tmp_path)

    told = json.loads(report.read_text())
    files = {name: Path(folder) for name, folder in told.pop("files").items()}
    assert told.pop("pid") != pid
    assert told == {"text": "trucks"}
    assert files.pop("transport") == tmp_path / "transport"
    assert files.pop("supervisors") == tmp_path / "supervisors"
    package = files.pop("actors")
    if installed == "editable":
        assert package == ROOT / "actors"
        assert files == {f"actors.{name}": ROOT / name for name in ("supervisors", "transport")}
    else:
        assert package.is_relative_to(programs.parent)
        assert files == {f"actors.{name}": package / name for name in ("supervisors", "transport")}


def run_until_ready_and_stop(command: Path, folder: Path) -> int:
    """Run the topology of *folder* until its control socket is there, then end it by `actors stop`."""
    sockets = folder / "sockets"
    sockets.mkdir()
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment |= {"XDG_RUNTIME_DIR": str(sockets), "ACTORS_LOG": "info"}
    with subprocess.Popen(
        [command, "run", "topology:topology"],
        cwd=folder,
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        lines = []
        try:
            while "control socket" not in (line := process.stderr.readline()):
                lines.append(line)
                assert line, "".join(lines)
            run(command, "stop", cwd=folder, XDG_RUNTIME_DIR=str(sockets))
            assert process.wait(PATIENCE) == 0
        finally:
            process.kill()
    return process.pid
