"""An application file as a topology: its tables checked, one by one and against each other.

Rule 1: nothing is imported; classes and applications stay import paths, so the parent needs none of them.
Rule 2: every error is a `BadField` with the path of what is wrong.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, TypeAlias

from actors._base.errors import InvalidSpec
from actors._base.suggestions import did_you_mean
from actors._system.admin_spec import Admin
from actors._system.application.kinds import BadField, Path, blamed, dotted
from actors._system.application.tables import TREE, sections, single_tables
from actors._system.pool_spec import PoolSpec
from actors._system.program_spec import ProgramSpec
from actors._system.topology import Topology
from actors._system.tree_specs import DynamicSpec, SupervisorSpec, TreeSpec, check_tree
from actors.nodes import NodesSpec
from actors.routing import Inet, Listener, Udp, parse_address

__all__ = ["Application", "Tables", "build", "checked_tables"]

Tables: TypeAlias = dict[str, Any]
"""What a file has: by table and name."""
_ANY_HOST: Final = ("0.0.0.0", "::")  # noqa: S104 - compared, not bound


@dataclass(frozen=True, slots=True)
class Application:
    """What an application file describes.

    Attributes:
        topology: the system.
        log: the keys of ``[log]``.
        tables: the file as plain data; `build` makes the same of it.
        order: the paths of the parts of the tree, in the order in which they start.
    """

    topology: Topology
    log: Mapping[str, Any]
    tables: Tables
    order: Sequence[Path]


def checked_tables(tables: object) -> Tables:
    """Return the tables as plain data.

    Raises:
        BadField: a table or key that there is not, or a value of another kind.
    """
    if not isinstance(tables, dict):
        raise BadField((), f"an application is made of tables, got {str(tables)[:80]!r}")
    found: Tables = {}
    known = [*single_tables(), *sections()]
    for table, content in tables.items():
        if table in single_tables():
            found[table] = single_tables()[table].checked(content, (table,))
        elif table in sections():
            found[table] = _checked_section(table, content)
        else:
            hint = did_you_mean(table, known) or f"; the tables are {', '.join(known)}"
            raise BadField((table,), f"there is no such table{hint}")
    return found


def _checked_section(table: str, content: object) -> Tables:
    if not isinstance(content, dict):
        raise BadField((table,), f"must be tables with names, such as [{table}.web]")
    if "" in content:
        raise BadField((table, ""), "a name has a letter at least")
    record = sections()[table].record
    return {name: record.checked(keys, (table, name)) for name, keys in content.items()}


def build(tables: object, order: Sequence[Path] = ()) -> Application:
    """Return the application that *tables* describe.

    Args:
        tables: as `tomllib` reads them.
        order: the paths of the parts of the tree in the order of the file, as far as it is known; others
            follow in the order of `tables.sections`.

    Raises:
        BadField: something is wrong.
    """
    plain = checked_tables(tables)
    parts: dict[Path, Any] = {
        (table, name): _made(table, name, keys)
        for table in sections()
        for name, keys in plain.get(table, {}).items()
    }
    groups = [part for part in parts.values() if isinstance(part, NodesSpec)]
    _check_groups(parts)
    _check_names(parts)
    single = {name: _single(name, plain.get(name)) for name in single_tables()}
    _check_ports(parts, single["admin"])
    listed = [path for path in order if path in parts] + [
        path for path in parts if path not in order
    ]
    tree = [path for path in listed if path[0] in TREE]
    try:
        topology = Topology(
            nodes=groups,
            children=_Tree(plain, parts, tree).under(""),
            listeners=[part for part in parts.values() if isinstance(part, Listener)],
            admin=single["admin"],
            alerts=single["alerts"],
            **single["system"],
        )
    except BadField:
        raise
    except InvalidSpec as error:
        raise blamed(("system",), plain.get("system", {}), error) from error
    return Application(topology, plain.get("log", {}), plain, tree)


def _made(table: str, name: str, keys: Mapping[str, Any]) -> Any:
    values = sections()[table].record.values(keys)
    values.pop("under", None)
    try:
        return sections()[table].make(name, values)
    except BadField:
        raise
    except InvalidSpec as error:
        raise blamed((table, name), keys, error) from error


def _single(name: str, keys: Mapping[str, Any] | None) -> Any:
    record = single_tables()[name]
    if record.make is dict:
        return record.values(keys or {})
    return None if keys is None else record.made(keys)


# -- against each other ------------------------------------------------------------------------------


def _check_groups(parts: Mapping[Path, Any]) -> None:
    """Refuse what runs on, or is served by, a group that there is not."""
    groups: dict[str, int | None] = {}
    for part in parts.values():
        if isinstance(part, NodesSpec):
            groups[part.name] = part.count
        elif isinstance(part, PoolSpec) and part.group is not None:
            groups[part.group.name] = None
    for path, part in parts.items():
        if isinstance(part, Listener):
            _check_group((*path, "nodes"), part.nodes, groups)
        elif not isinstance(part, NodesSpec) and (on := getattr(part, "on", None)) is not None:
            _check_group((*path, "on"), on, groups, with_slot=True)
        if isinstance(part, PoolSpec) and part.per_node is not None:
            _check_group((*path, "per_node"), part.per_node, groups)


def _check_group(
    path: Path, on: str, groups: Mapping[str, int | None], *, with_slot: bool = False
) -> None:
    group, slash, slot = on.partition("/")
    if group not in groups or (slash and not with_slot):
        known = ", ".join(map(repr, groups)) or "none"
        raise BadField(
            path,
            f"there is no group {on!r}; the groups are {known}{did_you_mean(group, groups)}",
        )
    count = groups[group]
    if slash and not slot.isdecimal():
        raise BadField(path, f"must be a group, or a node such as '{group}/0', got {on!r}")
    if slash and count is not None and int(slot) >= count:
        raise BadField(path, f"there is no node {on!r}: {group!r} has {count}")


def _check_names(parts: Mapping[Path, Any]) -> None:
    seen: dict[str, Path] = {}
    for path in parts:
        if path[0] in TREE:
            name = str(path[1])
            if name in seen:
                other = dotted(seen[name])
                raise BadField(path, f"{other} has that name already; names are unique")
            seen[name] = path
    for path, part in parts.items():
        group = part.group.name if isinstance(part, PoolSpec) and part.group is not None else None
        if ("nodes", group) in parts:
            raise BadField(path, f"nodes.{group} has the name that the nodes of this pool have")


def _check_ports(parts: Mapping[Path, Any], admin: Admin | None) -> None:
    """Refuse two parts that would listen on the same address."""
    taken: list[tuple[Path, object]] = []
    addresses: list[tuple[Path, object]] = [
        ((*path, "address"), parse_address(part.address))
        for path, part in parts.items()
        if isinstance(part, Listener)
    ]
    addresses += [
        ((*path, "port"), Inet(_ANY_HOST[0], port))
        for path, part in parts.items()
        if isinstance(part, ProgramSpec)
        for port in part.program.ports(part.program.instances)
    ]
    if admin is not None:
        addresses.append((("admin", "address"), parse_address(admin.address)))
    for path, where in addresses:
        for other, there in taken:
            if _overlap(where, there):
                shown = dotted(other)
                told = where.port if isinstance(where, Inet) and path[-1] == "port" else where
                raise BadField(path, f"{told} is taken by {shown} already")
        taken.append((path, where))


def _overlap(one: object, other: object) -> bool:
    if isinstance(one, Udp) and isinstance(other, Udp):
        one, other = one.inet, other.inet
    if isinstance(one, Inet) and isinstance(other, Inet):
        hosts = {one.host, other.host}
        return one.port == other.port != 0 and (
            len(hosts) == 1 or any(host in _ANY_HOST for host in hosts)
        )
    return one == other


class _Tree:
    """Puts the parts of the tree under their supervisors."""

    def __init__(self, tables: Tables, parts: Mapping[Path, Any], order: Sequence[Path]) -> None:
        self._parts = parts
        self._above = {path: tables[str(path[0])][path[1]].get("under", "") for path in order}
        self._order = order
        for path in order:
            self._check_above(path)

    def _check_above(self, path: Path) -> None:
        """Refuse a supervisor that there is not, and one that is below itself."""
        above = self._above[path]
        if not above:
            return
        where = (*path, "under")
        found: Path = ("supervisors", above.rpartition("/")[2])
        known = [self._path_of(one) for one in self._order if one[0] == "supervisors"]
        if found not in self._above or self._path_of(found, path) != above:
            raise BadField(
                where,
                f"there is no supervisor {above!r}; there are {', '.join(map(repr, known)) or 'none'}"
                + did_you_mean(above, known),
            )
        if isinstance(self._parts[found], DynamicSpec):
            raise BadField(where, f"{above!r} is dynamic: its children are added while it runs")

    def _path_of(self, supervisor: Path, asker: Path | None = None) -> str:
        """Return the path of a supervisor, by the names above it."""
        names = [str(supervisor[1])]
        while above := self._above.get(("supervisors", names[0]), ""):
            outer = above.rpartition("/")[2]
            if outer in names:
                raise BadField((*(asker or supervisor), "under"), f"{outer!r} is below itself")
            names.insert(0, outer)
        return "/".join(names)

    def under(self, above: str) -> list[TreeSpec]:
        """Return the children of a supervisor, in order."""
        return [self._complete(path, above) for path in self._order if self._above[path] == above]

    def _complete(self, path: Path, above: str) -> TreeSpec:
        """Return a part of the tree, a supervisor with its children."""
        part: TreeSpec = self._parts[path]
        if not isinstance(part, SupervisorSpec) or isinstance(part, PoolSpec):
            return part
        children = self.under(f"{above}/{part.name}" if above else part.name)
        try:
            check_tree(f"supervisor({part.name!r})", children, part.auto_shutdown)
        except InvalidSpec as error:
            raise blamed((*path, "auto_shutdown"), {}, error) from error
        return replace(part, children=tuple(children))
