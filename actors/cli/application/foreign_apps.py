"""What other process managers say of an application, as a program of ours: a Procfile, an oxfile, PM2's file.

Rule: what is not carried over is a note with its name; nothing is dropped in silence.
"""

from __future__ import annotations

import json
import re
import shlex
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from actors._base.printable import printable
from actors.cli._failure import WRONG, CommandFailed

__all__ = ["Imported", "read_foreign"]

Keys = dict[str, Any]
_FIRST_PORT: Final = 5000
_NEXT_PORT: Final = 100
"""As foreman counts."""
_PROCESS: Final = re.compile(r"^([A-Za-z0-9_-]+):\s*(.+)$")
_OF_SHELL: Final = re.compile(r"[|&;<>`*?~]|\$(?!PORT\b|\{PORT\})")
_PORT: Final = re.compile(r"\$(?:PORT\b|\{PORT\})")
_SIZE: Final = re.compile(r"(\d+)([KMG]?)")


@dataclass(slots=True)
class Imported:
    """Programs, profiles, and what could not be carried over."""

    programs: dict[str, Keys] = field(default_factory=dict)
    profiles: dict[str, dict[str, Keys]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def tables(self) -> Keys:
        """The tables of an application file."""
        profiles = {name: {"programs": keys} for name, keys in self.profiles.items()}
        found = {"programs": self.programs, **({"profiles": profiles} if profiles else {})}
        return _with_dollars(found)  # type: ignore[no-any-return] # a table stays one

    def note(self, app: str, text: str) -> None:
        """Say that something of an application could not be carried over."""
        self.notes.append(f"{app}: {text}")


def read_foreign(name: str, kind: str | None) -> Imported:
    """Read the file of another process manager.

    Args:
        name: of the file.
        kind: ``procfile``, ``oxfile`` or ``pm2``; None is by its name.

    Raises:
        CommandFailed: it cannot be read, or is none of these.
    """
    try:
        text = Path(name).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise CommandFailed(f"{printable(name)} cannot be read: {error}", WRONG) from error
    readers: dict[str, Callable[[str], Imported]] = {
        "procfile": _procfile,
        "oxfile": _oxfile,
        "pm2": _pm2,
    }
    try:
        return readers[kind or _kind(name)](text)
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        raise CommandFailed(
            f"{printable(name)} is no {kind or _kind(name)}: {error}", WRONG
        ) from error


def _kind(name: str) -> str:
    path = Path(name)
    if path.name.lower().startswith("procfile"):
        return "procfile"
    found = {".toml": "oxfile", ".json": "pm2"}.get(path.suffix)
    if found is None:
        raise CommandFailed(
            f"{printable(name)}: what it is cannot be told by its name; --format procfile, oxfile or pm2 "
            "says it. An ecosystem file in JavaScript is printed as JSON by "
            "`node -p 'JSON.stringify(require(\"./ecosystem.config.js\"))'`",
            WRONG,
        )
    return found


def _with_dollars(value: Any) -> Any:
    """Return *value* with its dollar signs doubled: they begin no variables of ours."""
    if isinstance(value, dict):
        return {key: _with_dollars(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_with_dollars(one) for one in value]
    return value.replace("$", "$$") if isinstance(value, str) else value


def _command(made: Imported, app: str, text: str) -> Keys:
    """Return the keys for a line that a shell would read."""
    if _OF_SHELL.search(text):
        made.note(app, "its command needs a shell, and is run by `sh -c`")
        return {"command": ["sh", "-c", text]}
    words = shlex.split(_PORT.sub("{port}", text))
    env: dict[str, str] = {}
    while words and re.match(r"[A-Za-z_]\w*=", words[0]):
        name, _, value = words.pop(0).partition("=")
        env[name] = value
    if not words:
        raise ValueError(f"{app} has no command")
    return {"command": words, **({"env": env} if env else {})}


# -- Procfile ----------------------------------------------------------------------------------------


def _procfile(text: str) -> Imported:
    made = Imported()
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        match = _PROCESS.match(line)
        if match is None:
            raise ValueError(f"line {number} is not NAME: COMMAND: {line!r}")
        name, command = match.groups()
        if name == "release":
            made.note(name, "it is run once before a start, which is for your deployment")
            continue
        keys = _command(made, name, command)
        keys["port"] = _FIRST_PORT + _NEXT_PORT * len(made.programs)
        made.programs[name] = keys
    return made


# -- what the others have in common ------------------------------------------------------------------

Carry = Callable[[Any], Keys]


def _same(key: str, kind: type = object) -> Carry:
    def carry(value: Any) -> Keys:
        if not isinstance(value, kind):
            raise TypeError(f"{key} has the value {value!r}")
        return {key: value}

    return carry


def _carried(
    made: Imported, app: str, given: Mapping[str, Any], carries: Mapping[str, Carry]
) -> Keys:
    """Return what the keys of an application are here; note those that have no place."""
    found: Keys = {}
    for key, value in given.items():
        if key in carries:
            found |= carries[key](value)
        elif value not in (None, False, [], {}, ""):
            made.note(app, f"{key} = {value!r} could not be carried over")
    return found


def _text_env(value: Mapping[str, Any]) -> Keys:
    return {"env": {str(key): str(one) for key, one in value.items()}}


def _signal(value: str) -> Keys:
    return {"stop_signal": value if value.startswith("SIG") else f"SIG{value}"}


# -- oxfile ------------------------------------------------------------------------------------------

_RESTARTS: Final = {
    "always": "permanent",
    "on_failure": "transient",
    "on-failure": "transient",
    "never": "temporary",
}
_OX: Final[Mapping[str, Carry]] = {
    "restart_policy": lambda value: {"restart": _RESTARTS[value]},
    "crash_restart_limit": lambda value: (
        {"budget": {"restarts": value, "within": 300.0}} if value else {}
    ),
    "cwd": _same("cwd", str),
    "env": _text_env,
    "stop_signal": _signal,
    "stop_timeout_secs": lambda value: {"shutdown": float(value)},
    "restart_delay_secs": lambda _: {},
    "instances": _same("instances", int),
    "instance_var": lambda value: {"env": {value: "{slot}"}},
    "health_cmd": lambda value: {"health": shlex.split(value)},
    "health_interval_secs": lambda value: {"health_interval": float(value)},
    "health_timeout_secs": lambda value: {"health_timeout": float(value)},
    "health_max_failures": _same("health_failures", int),
    "ready_timeout_secs": lambda value: {"start_timeout": float(value)},
    "wait_ready": lambda _: {},
    "max_memory_mb": lambda value: {"max_memory": f"{value} MiB"},
    "max_cpu_percent": lambda value: {"max_cpus": value / 100},
    "name": lambda _: {},
    "command": lambda _: {},
    "depends_on": lambda _: {},
    "start_order": lambda _: {},
    "disabled": lambda _: {},
    "profiles": lambda _: {},
}


def _oxfile(text: str) -> Imported:
    tables = tomllib.loads(text)
    apps: list[Keys] = tables["apps"]
    made, defaults = Imported(), tables.get("defaults", {})
    for key in sorted(tables.keys() - {"version", "defaults", "apps"}):
        made.note("oxfile", f"[{key}] could not be carried over")
    for app in _in_order([defaults | app for app in apps]):
        name = app.get("name") or app["command"].split()[0]
        if app.get("disabled"):
            made.note(name, "it is disabled, and left out")
            continue
        keys = _command(made, name, app["command"])
        env = {**defaults.get("env", {}), **app.get("env", {})}
        carried = _carried(made, name, {**app, "env": env}, _OX)
        _put(made, name, _with_env(keys, carried, env, app))
        for profile, over in app.get("profiles", {}).items():
            changed = _carried(made, f"{name}, profile {profile}", over, _OX)
            if "command" in over:
                changed |= _command(made, name, over["command"])
            made.profiles.setdefault(profile, {})[name] = changed
    return made


def _with_env(keys: Keys, carried: Keys, env: Mapping[str, Any], app: Mapping[str, Any]) -> Keys:
    slot = {app["instance_var"]: "{slot}"} if "instance_var" in app else {}
    whole = {**keys.get("env", {}), **{key: str(value) for key, value in env.items()}, **slot}
    rest = {key: value for key, value in carried.items() if key != "env"}
    return keys | rest | ({"env": whole} if whole else {})


def _in_order(apps: Sequence[Keys]) -> list[Keys]:
    """Return applications with those before them that they depend on."""
    left = sorted(apps, key=lambda app: app.get("start_order", 0))
    names = {app.get("name") for app in apps}
    found: list[Keys] = []
    while left:
        done = {app.get("name") for app in found}
        ready = [app for app in left if names & set(app.get("depends_on", [])) <= done]
        if not ready:
            raise ValueError(f"{left[0].get('name')} depends on itself")
        found.append(ready[0])
        left.remove(ready[0])
    return found


def _put(made: Imported, name: str, keys: Keys) -> None:
    if name in made.programs:
        raise ValueError(f"two applications are called {name!r}")
    made.programs[name] = keys


# -- PM2 ---------------------------------------------------------------------------------------------


def _pm2_memory(value: Any) -> Keys:
    match = _SIZE.fullmatch(str(value).upper().removesuffix("B"))
    if match is None:
        raise ValueError(f"max_memory_restart has the value {value!r}")
    return {"max_memory": f"{match[1]} {match[2]}iB" if match[2] else int(match[1])}


_PM2: Final[Mapping[str, Carry]] = {
    "cwd": _same("cwd", str),
    "env": _text_env,
    "kill_timeout": lambda value: {"shutdown": value / 1000},
    "listen_timeout": lambda value: {"start_timeout": value / 1000},
    "kill_signal": _signal,
    "max_memory_restart": _pm2_memory,
    "autorestart": lambda value: {} if value else {"restart": "temporary"},
    "exp_backoff_restart_delay": lambda value: {"backoff": {"first": value / 1000}},
    "restart_delay": lambda value: {"backoff": {"first": value / 1000, "factor": 1}},
    "user": _same("user", str),
    "uid": lambda value: {"user": str(value)},
    **{
        key: lambda _: {}
        for key in ("name", "script", "args", "interpreter", "interpreter_args", "node_args")
    },
    **{key: lambda _: {} for key in ("instances", "exec_mode", "instance_var")},
}
_INTERPRETERS: Final = {
    ".js": "node",
    ".mjs": "node",
    ".cjs": "node",
    ".py": "python3",
    ".sh": "bash",
}


def _pm2(text: str) -> Imported:
    made = Imported()
    found = json.loads(text)
    apps = found if isinstance(found, list) else found.get("apps", [found])
    for app in apps:
        name = app.get("name") or Path(app["script"]).stem
        own = {key: value for key, value in app.items() if not key.startswith("env_")}
        keys = {"command": _pm2_command(app)} | _carried(made, name, own, _PM2)
        _pm2_instances(made, name, app, keys)
        _put(made, name, keys)
        for key, value in app.items():
            if key.startswith("env_"):
                made.profiles.setdefault(key.removeprefix("env_"), {})[name] = _text_env(value)
    return made


def _pm2_command(app: Mapping[str, Any]) -> list[str]:
    script, args = str(app["script"]), app.get("args", [])
    given = app.get("interpreter") or _INTERPRETERS.get(Path(script).suffix, "none")
    options = app.get("interpreter_args") or app.get("node_args") or []
    words = [] if given == "none" else [given, *_words(options)]
    return [*words, script, *_words(args)]


def _words(value: Any) -> list[str]:
    return shlex.split(value) if isinstance(value, str) else [str(one) for one in value]


def _pm2_instances(made: Imported, name: str, app: Mapping[str, Any], keys: Keys) -> None:
    """Carry over how many instances there are, which share a port in PM2's cluster mode."""
    count = app.get("instances", 1)
    if not isinstance(count, int) or count < 1:
        made.note(name, f"instances = {count!r} depends on the machine: 1 was written")
        count = 1
    if count > 1:
        keys["instances"] = count
        if "cluster" in str(app.get("exec_mode", "cluster")):
            made.note(
                name,
                "its instances shared one port in cluster mode; here each has its own: set port",
            )
