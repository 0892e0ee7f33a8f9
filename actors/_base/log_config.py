"""A configuration of the standard library's `logging`, read once and applied in every node.

Rule: the file is read and checked where it is named, before anything starts; a change of it counts from the
next start of the system.
"""

from __future__ import annotations

import io
import json
import tomllib
from collections.abc import Mapping
from configparser import ConfigParser, Error as IniError
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any, Final

from actors._base.errors import InvalidSpec

__all__ = ["LogConfig", "apply_log_config", "checked_log_config"]

_LONGEST: Final = 1024 * 1024
"""Bytes of a file."""
_SECTIONS: Final = ("loggers", "handlers", "formatters")


@dataclass(frozen=True, slots=True, kw_only=True)
class LogConfig:
    """A configuration that was read.

    Attributes:
        source: where it is from, for errors.
        settings: what `logging.config.dictConfig` takes, if it is that.
        ini: the text of a file for `logging.config.fileConfig`, if it is that.
    """

    source: str
    settings: dict[str, Any] = field(default_factory=dict)
    ini: str = ""


def checked_log_config(whose: str, config: object) -> LogConfig | None:
    """Return a configuration that can be sent to nodes; None is none.

    Args:
        whose: who takes it, in errors.
        config: the path of a file, or a dict as `logging.config.dictConfig` takes it.

    Raises:
        InvalidSpec: there is no such file, or it is no configuration.
    """
    if config is None or isinstance(config, LogConfig):
        return config
    if isinstance(config, Mapping):
        _check_dict(whose, dict(config))
        try:
            plain = json.loads(json.dumps(dict(config)))
        except (TypeError, ValueError) as error:
            why = f"{whose} must be plain data, as it is sent to the nodes: {error}"
            raise InvalidSpec(why) from error
        return LogConfig(source=whose, settings=plain)
    if isinstance(config, str | PathLike):
        return _from_file(whose, Path(config))
    raise InvalidSpec(f"{whose} must be the path of a file or a dict, got {config!r}")


def _from_file(whose: str, path: Path) -> LogConfig:
    where = f"{whose} {str(path)!r}"
    try:
        with path.open("rb") as file:
            data = file.read(_LONGEST + 1)
        text = data.decode("utf-8-sig")
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise InvalidSpec(f"{where} cannot be read: {why}") from error
    if len(data) > _LONGEST:
        raise InvalidSpec(f"{where} has more than {_LONGEST} bytes")
    suffix = path.suffix.lower()
    if suffix in {".yaml", ".yml"}:
        raise InvalidSpec(f"{where}: YAML is not read: write it as .toml or .json")
    if suffix in {".json", ".toml"}:
        loads: Any = json.loads if suffix == ".json" else tomllib.loads
        try:
            found = loads(text)
        except (ValueError, RecursionError) as error:
            raise InvalidSpec(f"{where} is no {suffix[1:].upper()}: {error}") from error
        _check_dict(where, found)
        return LogConfig(source=where, settings=found)
    _check_ini(where, text)
    return LogConfig(source=where, ini=text)


def _check_dict(where: str, found: object) -> None:
    if not isinstance(found, dict):
        raise InvalidSpec(f"{where} must be a dict for logging.config, got {type(found).__name__}")
    if found.get("version") != 1:
        raise InvalidSpec(f"{where} must have version = 1, got {found.get('version')!r}")


def _check_ini(where: str, text: str) -> None:
    parser = ConfigParser()
    try:
        parser.read_string(text)
    except IniError as error:
        first = str(error).replace("\n", " ")
        raise InvalidSpec(f"{where} is not in the format of logging.config: {first}") from error
    if missing := [name for name in _SECTIONS if name not in parser]:
        raise InvalidSpec(f"{where} has no section [{missing[0]}], as fileConfig needs it")


def apply_log_config(config: LogConfig) -> None:
    """Configure `logging` in this process.

    Raises:
        InvalidSpec: something in it does not work here, such as a class that cannot be imported.
    """
    # Imported here: few nodes need it.
    from logging.config import dictConfig, fileConfig  # noqa: PLC0415 - see above

    try:
        if config.ini:
            fileConfig(io.StringIO(config.ini), disable_existing_loggers=False)
        else:
            dictConfig({"disable_existing_loggers": False, **config.settings})
    except Exception as error:
        cause = f": {error.__cause__}" if error.__cause__ else ""
        raise InvalidSpec(f"{config.source}: {error}{cause}") from error
