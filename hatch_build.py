"""Compiles the C extensions where there is a compiler; a build without them is whole, and only slower.

hatchling runs the hook for a wheel, which then holds the extensions and has the tag of its platform, and for an
editable install, which finds them beside their sources. `python hatch_build.py` does the latter alone:

    CC=clang CFLAGS='-fsanitize=address' python hatch_build.py [FOLDER OF THE PACKAGES]

`actors/_extensions.py` has the list of them, and says how to add one.
"""

from __future__ import annotations

import os
import runpy
import shlex
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

try:
    from hatchling.builders.hooks.plugin.interface import BuildHookInterface
except ModuleNotFoundError:  # run as a program, by an environment that builds nothing
    BuildHookInterface = object

__all__ = ["SpeedupsHook", "compile_extension", "unsuitable"]

# The package itself cannot be imported where it is only built.
_extensions: Final = runpy.run_path(str(Path(__file__).parent / "actors/_extensions.py"))
_SOURCES: Final[dict[str, tuple[str, ...]]] = _extensions["SOURCES"]
_checksum: Final[Callable[[Path], str]] = _extensions["checksum"]


_OURS: Final = ["-O2", "-g0", "-fvisibility=hidden", "-fno-strict-aliasing", "-Wall", "-Wextra"]


class SpeedupsHook(BuildHookInterface):  # type: ignore[misc, unused-ignore]
    """Adds the extensions to a wheel, or builds them in place for an editable install."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile; whatever goes wrong is a warning, or an error where `ACTORS_SPEEDUPS` is 1.

        Args:
            version: "standard", or "editable".
            build_data: what hatchling is to put into the wheel, and its tag.
        """
        root = Path(self.root)
        why = unsuitable()
        for module, sources in {} if why else _SOURCES.items():
            name = f"{module.replace('.', '/')}{sysconfig.get_config_var('EXT_SUFFIX')}"
            # An editable install finds them in the checkout.
            target = root / name if version == "editable" else Path(self._folder(), Path(name).name)
            why = why or compile_extension(root, sources, target)
            if not why and version != "editable":
                build_data["force_include"][str(target)] = name
                build_data["pure_python"] = False
                build_data["infer_tag"] = True
        if why and os.environ.get("ACTORS_SPEEDUPS") == "1":
            raise RuntimeError(f"ACTORS_SPEEDUPS is 1, and there can be no C extensions: {why}")
        if why:
            self.app.display_warning(f"built without C extensions, Python code does it: {why}")

    def _folder(self) -> str:
        if not hasattr(self, "_temporary"):
            self._temporary = tempfile.TemporaryDirectory()
        return tempfile.mkdtemp(dir=self._temporary.name)

    def finalize(self, *_: object) -> None:
        """Remove what was compiled for a wheel."""
        if hasattr(self, "_temporary"):
            self._temporary.cleanup()


def unsuitable() -> str:
    """Why this interpreter gets no extensions, or an empty text."""
    if os.environ.get("ACTORS_SPEEDUPS") == "0":
        return "ACTORS_SPEEDUPS is 0"
    if sys.implementation.name != "cpython":
        return f"they are for CPython, this is {sys.implementation.name}"
    if sysconfig.get_config_var("Py_GIL_DISABLED"):
        return "they need the GIL, which this Python has not"
    if os.name != "posix":
        return f"they are for POSIX systems, this is {os.name}"
    return ""


def compile_extension(root: Path, sources: tuple[str, ...], target: Path) -> str:
    """Make `target` from C files of `root`, with the compiler and the flags that this Python was made with.

    `CC`, `CFLAGS`, `LDFLAGS` and `ARCHFLAGS` of the environment come before, or after, those.

    Returns:
        why there is no such file now, or an empty text.
    """
    variables = sysconfig.get_config_vars()
    given = {name: shlex.split(os.environ.get(name, "")) for name in ("CC", "CFLAGS", "LDFLAGS")}
    arch = shlex.split(os.environ.get("ARCHFLAGS", ""))
    link = shlex.split(variables["LDSHARED"])
    if given["CC"]:
        own = len(shlex.split(variables["CC"]))
        link = given["CC"] + link[own:]
    flags = [*shlex.split(variables["CFLAGS"] or ""), *shlex.split(variables["CCSHARED"] or "")]
    include = {f"-I{sysconfig.get_path(name)}" for name in ("include", "platinclude")}
    unfinished = target.with_suffix(".unfinished")
    command = [
        *link,
        *flags,
        *_OURS,
        *sorted(include),
        f'-DACTORS_CHECKSUM="{_checksum((root / sources[0]).parent)}"',
        *given["CFLAGS"],
        *arch,
        *sources,
        *given["LDFLAGS"],
        "-o",
        str(unfinished),
    ]
    try:
        done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)  # noqa: S603
    except OSError as error:
        return f"cannot run the compiler {command[0]}: {error.strerror}"
    if done.returncode:
        unfinished.unlink(missing_ok=True)
        return f"{command[0]} failed\n{done.stderr}"
    unfinished.replace(target)  # a program that runs keeps the file that it has loaded
    return ""


def _main(folder: str = ".") -> None:
    """Build in place; prints what failed, and ends with 1."""
    why = unsuitable()
    for module, sources in _SOURCES.items():
        name = f"{module.replace('.', '/')}{sysconfig.get_config_var('EXT_SUFFIX')}"
        why = why or compile_extension(Path(folder), sources, Path(folder, name).absolute())
    sys.exit(why or 0)


if __name__ == "__main__":
    _main(*sys.argv[1:])
