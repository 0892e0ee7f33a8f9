"""The settings of the chat, from the environment variables `CHAT_PORT`, `CHAT_DB` and `CHAT_PACE`."""

import os
from pathlib import Path
from typing import Final

__all__ = ["database", "messages_per_second", "port"]

_HIGHEST_PORT: Final = 65535


def port() -> int:
    """Return the port to listen on; 0 lets the operating system choose.

    Raises:
        ValueError: `CHAT_PORT` is not a port number.
    """
    value = os.environ.get("CHAT_PORT", "8000")
    if not (value.isascii() and value.isdecimal() and int(value) <= _HIGHEST_PORT):
        raise ValueError(f"CHAT_PORT must be a number from 0 to {_HIGHEST_PORT}, got {value!r}")
    return int(value)


def database() -> str:
    """Return the absolute path of the SQLite file.

    Raises:
        ValueError: the folder of `CHAT_DB` does not exist.
    """
    value = os.environ.get("CHAT_DB") or Path(__file__).with_name("chat.sqlite3")
    path = Path(value).absolute()
    if not path.parent.is_dir():
        raise ValueError(f"CHAT_DB must be a file in a folder that exists, got {str(value)!r}")
    return str(path)


def messages_per_second() -> int:
    """Return how many messages a second one connection may send; further ones are delayed.

    Raises:
        ValueError: `CHAT_PACE` is not a whole number of 1 or more.
    """
    value = os.environ.get("CHAT_PACE", "10")
    if not (value.isascii() and value.isdecimal() and int(value) > 0):
        raise ValueError(f"CHAT_PACE must be a whole number of 1 or more, got {value!r}")
    return int(value)
