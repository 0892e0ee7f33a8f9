"""The authority of the users, in place of one of the system's own: one certificate for each machine.

Nothing is signed here, and no key leaves a machine but by the standard input of an agent that "hosts" starts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from actors.machines.material import Material

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

__all__ = ["UsersAuthority"]


class UsersAuthority:
    """Gives everybody the certificate of this machine.

    Args:
        files: `ca`, `certificate` and `key`, and the name of all servers as `server`, if they have one.

    Raises:
        InvalidSpec: a file cannot be read, or they are not good for each other; it says which.
    """

    issues = False
    """Whether each process gets a certificate of its own."""

    def __init__(self, files: Mapping[str, str | os.PathLike[str]]) -> None:
        server = files.get("server")
        self._material = Material.from_files(
            files["ca"],
            files["certificate"],
            files["key"],
            server=None if server is None else str(server),
        )

    def issue(self, _name: str, /) -> Material:
        """Return what this machine shows."""
        return self._material
