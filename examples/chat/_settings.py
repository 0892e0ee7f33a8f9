"""What the environment says: `CHAT_PORT`, `CHAT_DB`, `CHAT_PACE`. The same on every node."""

import os
from pathlib import Path
from typing import Final

__all__ = ["database", "pace", "port"]

_HIGHEST_PORT: Final = 65535


def port() -> int:
    """Return the port to listen on; 0 lets the system choose.

    Raises:
        ValueError: `CHAT_PORT` is no port.
    """
    value = os.environ.get("CHAT_PORT", "8000")
    if not (value.isascii() and value.isdecimal() and int(value) <= _HIGHEST_PORT):
        raise ValueError(f"CHAT_PORT must be a number from 0 to {_HIGHEST_PORT}, got {value!r}")
    return int(value)


def database() -> str:
    """Return the path of the SQLite file, absolute: nodes and shells need not agree on a folder.

    Raises:
        ValueError: `CHAT_DB` is in a folder that is not there.
    """
    value = os.environ.get("CHAT_DB") or Path(__file__).with_name("chat.sqlite3")
    path = Path(value).absolute()
    if not path.parent.is_dir():
        raise ValueError(f"CHAT_DB must be a file in a folder that is there, got {str(value)!r}")
    return str(path)


def pace() -> int:
    """Return how many messages a second one connection may send; more have to wait.

    Raises:
        ValueError: `CHAT_PACE` is no such number.
    """
    value = os.environ.get("CHAT_PACE", "10")
    if not (value.isascii() and value.isdecimal() and int(value) > 0):
        raise ValueError(f"CHAT_PACE must be a whole number of 1 or more, got {value!r}")
    return int(value)
