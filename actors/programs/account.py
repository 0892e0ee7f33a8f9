"""The account of the operating system that a program runs as."""

from __future__ import annotations

import os
import pwd
from dataclasses import dataclass

from actors._base.errors import InvalidSpec

__all__ = ["Account", "account_of"]


@dataclass(frozen=True, slots=True)
class Account:
    """A user with its groups.

    Attributes:
        user: its number.
        group: of its main group.
        groups: of all its groups.
        variables: those that its programs expect to be its own.
    """

    user: int
    group: int
    groups: tuple[int, ...]
    variables: dict[str, str]


def account_of(where: str, user: str | None) -> Account | None:
    """Return the account called *user*; None for that of this process.

    Raises:
        InvalidSpec: there is no such user, or this process may not start programs as another one.
    """
    if user is None:
        return None
    if type(user) is not str:
        raise InvalidSpec(f"{where}: user must be the name of a user, got {user!r}")
    try:
        entry = pwd.getpwnam(user)
    except (KeyError, ValueError):
        raise InvalidSpec(f"{where}: there is no user {user!r}") from None
    if entry.pw_uid == os.geteuid():
        return None
    if os.geteuid() != 0:
        own = _name(os.geteuid())
        raise InvalidSpec(
            f"{where}: user={user!r} needs a system that runs as root, and this one runs as {own}"
        )
    variables = {"HOME": entry.pw_dir, "USER": user, "LOGNAME": user}
    groups = tuple(os.getgrouplist(user, entry.pw_gid))
    return Account(entry.pw_uid, entry.pw_gid, groups, variables)


def _name(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)
