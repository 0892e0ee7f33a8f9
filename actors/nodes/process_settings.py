"""What the process of a node takes on before it runs anything of the user: priority, CPU, limits, group, user.

Rule: what it may not take on ends the node at once, with a sentence that names the option.
"""

from __future__ import annotations

import os
import pwd
import resource
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from actors.nodes._spec import NodesSpec

__all__ = ["cpus_of_slot", "process_settings", "take_settings"]


def process_settings(spec: NodesSpec, slot: int) -> dict[str, Any]:
    """Return the settings for the process of the node in *slot*, as data."""
    return {
        "nice": spec.nice,
        "cpus": cpus_of_slot(slot) if spec.cpus == "each" else [],
        "rlimits": dict(spec.rlimits),
        "cgroup": spec.cgroup,
        "user": spec.user,
    }


def cpus_of_slot(slot: int) -> list[int]:
    """Return the CPUs of this machine that the node in *slot* is kept on by ``cpus="each"``."""
    if not hasattr(os, "sched_getaffinity"):
        return []
    usable = sorted(os.sched_getaffinity(0))
    return [usable[slot % len(usable)]]


def take_settings(settings: dict[str, Any]) -> None:
    """Have this process take on its settings; the user last, who may not change the others.

    Raises:
        SystemExit: with the option that it may not take on, and why.
    """
    if settings["nice"]:
        may = (
            "to raise a priority needs CAP_SYS_NICE, or a limit of it (RLIMIT_NICE) that allows it"
        )
        with _setting(f"nice={settings['nice']}", may):
            os.nice(settings["nice"])
    if settings["cpus"]:
        with _setting("cpus='each'"):
            os.sched_setaffinity(0, settings["cpus"])
    for name, value in settings["rlimits"].items():
        with _setting(f"rlimits[{name!r}]={value}", "to raise a hard limit needs CAP_SYS_RESOURCE"):
            resource.setrlimit(getattr(resource, f"RLIMIT_{name.upper()}"), (value, value))
    if settings["cgroup"]:
        with _setting(
            f"cgroup={settings['cgroup']!r}", "it must exist, and its owner lets others in"
        ):
            Path(settings["cgroup"], "cgroup.procs").write_text("0", encoding="ascii")
    if settings["user"]:
        with _setting(f"user={settings['user']!r}", "to become another user needs root"):
            _become(settings["user"])


def _become(user: str) -> None:
    try:
        entry = pwd.getpwuid(int(user)) if user.isdigit() else pwd.getpwnam(user)
    except KeyError:
        raise LookupError("there is no such user") from None
    os.initgroups(entry.pw_name, entry.pw_gid)
    os.setgid(entry.pw_gid)
    os.setuid(entry.pw_uid)


@contextmanager
def _setting(option: str, advice: str = "") -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, LookupError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise SystemExit("; ".join(filter(None, (f"{option}: {why}", advice)))) from error
