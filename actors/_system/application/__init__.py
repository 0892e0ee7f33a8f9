"""An application file, `actors.toml`, as data: its tables, their topology, and how one becomes another.

Rule 1: plain data in, specs out; no file is read here, nothing is imported and nothing is started.
Rule 2: a table has the keys that the constructor of its part has, under the same names.
"""

from actors._system.application.build import Application, Tables, build, checked_tables
from actors._system.application.inherited_sockets import on_inherited_sockets
from actors._system.application.kinds import BadField, FromVariable, Path

__all__ = [
    "Application",
    "BadField",
    "FromVariable",
    "Path",
    "Tables",
    "build",
    "checked_tables",
    "on_inherited_sockets",
]
