"""The tables of an application file: which keys each has, and what it stands for.

The same tables check a file, make the system that it describes, and are its JSON schema.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from functools import cache, partial
from typing import Any, Final, TypeAlias

from actors._base.cpus import usable_cpus
from actors._base.errors import InvalidSpec
from actors._messaging.mailbox_options import Bounded
from actors._system.admin_spec import Admin
from actors._system.alerts_spec import ALERTS, Alerts
from actors._system.application.derived_keys import derived_keys, meanings
from actors._system.application.kinds import (
    Anything,
    Choice,
    Either,
    Entries,
    Flag,
    Items,
    Kind,
    Parsed,
    Record,
    Size,
    Text,
    Whole,
)
from actors._system.keyed_spec import keyed, sent_keyed
from actors._system.pool_spec import pool, sent_pool
from actors._system.program_spec import program
from actors._system.topology import Topology
from actors._system.tree_specs import (
    ActorSpec,
    DynamicSpec,
    Elsewhere,
    SentClass,
    SupervisorSpec,
    TreeSpec,
    child,
    dynamic,
    new_child,
    supervisor,
)
from actors.nodes import ENGINES, NodesSpec, nodes
from actors.routing import Asgi, Listener, Sticky, key_from, listen, policy_from
from actors.supervisors import Backoff, Restart

__all__ = ["TREE", "Section", "sections", "single_tables"]

TREE: Final = ("supervisors", "programs", "pools", "keyed", "children")
"""The tables whose parts are children of supervisors."""

Values: TypeAlias = dict[str, Any]
"""What the keys of a table stand for."""
_CLASS: Final = Text.import_path("shop.actors:Counter")
_TEXTS: Final = Entries(Text())
_MAILBOX: Final = Either(
    (
        Whole(),
        Record({"messages": Whole(), "bytes": Size()}, Bounded, docs=partial(meanings, Bounded)),
    ),
    "a number of messages, or a table with messages and bytes",
)
_COUNT: Final = Either((Whole(), Choice({"max": "max"})), "a whole number, or 'max'")
_LIMITS: Final = Either((Whole(), Items(Whole())), "a whole number, or a list of them")
_CONSTRUCTOR: Final[dict[str, Kind]] = {
    "class": _CLASS,
    "args": Items(Anything()),
    "kwargs": Entries(Anything()),
}
_OF_NODES: Final[Mapping[str, Kind]] = {
    "count": _COUNT,
    "max_rss": Size(),
    "engine": Choice({name: name for name in ENGINES}),
    "on": Entries(Anything()),
}
_OF_ACTORS: Final[Mapping[str, Kind]] = {"mailbox": _MAILBOX}
_OF_POOLS: Final[Mapping[str, Kind]] = {"mailbox": _MAILBOX, "max_rss": Size()}
_OF_PROGRAMS: Final[Mapping[str, Kind]] = {
    "command": Items(Text()),
    "cwd": Text(),
    "health": Either((Text(), Items(Text())), "a URL, or a command as a list"),
    "max_memory": Size(),
}
_OF_SYSTEMS: Final[Mapping[str, Kind]] = {
    "largest": Size(),
    "lend_per_node": Size(),
    "log_config": Text(),
    "join_secret": Text(),
    "tls": _TEXTS,
}
_OF_TOPOLOGY: Final = ("nodes", "children", "listeners", "admin", "alerts")
"""What tables of their own stand for."""
_OWN_DOCS: Final = {
    "class": "import path of the actor class",
    "args": "positional arguments of its constructor",
    "kwargs": "arguments of its constructor by name",
    "under": "path of the supervisor above it, such as `guests` or `outer/inner`; the top if not given",
    "dynamic": "children are added while it runs, and do not affect each other",
    "max_children": "the most children of a dynamic supervisor",
    "app": "import path of the ASGI or WSGI application",
    "handler": "import path of an `async def handle(stream)`, in place of `app`",
    "sticky": "the key by which connections stay on a node, such as `ip` or `cookie:sid`, in place of `policy`",
    "sticky_across": "what is done with a connection whose key belongs to another machine",
    "sticky_learn": "session ids of the application that are remembered for `sticky`",
    "headers": "headers of every response, beside those of the application",
    "level": "the lowest level of lines: debug, info, warning or error",
    "format": "json or console",
}


def _docs(*made_by: Callable[..., Any]) -> Mapping[str, str]:
    found: dict[str, str] = {}
    for one in made_by:
        found |= meanings(one)
    return found | _OWN_DOCS


# -- what each table stands for ----------------------------------------------------------------------


def _nodes(name: str, given: Values) -> NodesSpec:
    if given.get("count") == "max":
        given = {**given, "count": usable_cpus()}
    return nodes(name, **given)


def _listener(name: str, given: Values) -> Listener:
    app, handler = given.pop("app", None), given.pop("handler", None)
    if (app is None) == (handler is None):
        raise InvalidSpec("either app or handler must be given")
    names = [item.name for item in fields(Asgi)]
    of_app = {key: given.pop(key) for key in names if key in given}
    if handler is not None and of_app:
        raise InvalidSpec(f"{next(iter(of_app))} is of an app, and a handler has none")
    if "headers" in of_app:
        of_app["headers"] = tuple(of_app["headers"].items())
    key = given.pop("sticky", None)
    options = {
        option: given.pop(f"sticky_{option}")
        for option in ("across", "learn")
        if f"sticky_{option}" in given
    }
    if key is not None:
        if "policy" in given:
            raise InvalidSpec("policy and sticky are two ways to say the same: give one of them")
        given["policy"] = Sticky(key, **options)
    elif options:
        raise InvalidSpec(f"sticky_{next(iter(options))} goes with sticky")
    return listen(handler if app is None else Asgi(app=app, **of_app), name=name, **given)


def _class(given: Values) -> SentClass:
    arguments = (given.pop("args", ()), given.pop("kwargs", {}))
    return SentClass(given.pop("class"), arguments)


def _child(name: str, given: Values) -> ActorSpec[Any]:
    sent = _class(given)
    defaults: Values = {"on": None, "shutdown": 5.0, "mailbox": 1024}
    return replace(new_child(Elsewhere, (), {}, name=name, **defaults | given), sent=sent)


def _pool(name: str, given: Values) -> TreeSpec:
    if "class" not in given:
        if "args" in given or "kwargs" in given:
            raise InvalidSpec("args and kwargs are of a class, and there is none")
        return pool(name=name, **given)
    sent = _class(given)
    return sent_pool(sent, {"name": name, **given}, functions=False)


_BOOK: Final[Values] = {
    "on": None,
    "idle": 300.0,
    "limit": 10_000,
    "mailbox": 1024,
    "shutdown": 5.0,
    "restart": Restart.TRANSIENT,
    "backoff": Backoff(),
}


def _keyed(name: str, given: Values) -> TreeSpec:
    path, keywords = given.pop("class"), given.pop("kwargs", {})
    options = {"name": name, **_BOOK, **given}
    options["each"] = options.pop("restart")
    return sent_keyed(path, ((), keywords), options)


_OF_DYNAMIC: Final = ("budget", "max_children", "restart", "significant")


def _supervisor(name: str, given: Values) -> SupervisorSpec | DynamicSpec:
    if given.pop("dynamic", False):
        if other := [key for key in given if key not in _OF_DYNAMIC]:
            raise InvalidSpec(f"{other[0]} is of a supervisor that is not dynamic")
        return dynamic(name, **given)
    if "max_children" in given:
        raise InvalidSpec("max_children goes with dynamic = true")
    return supervisor(name, (), **given)


@dataclass(frozen=True, slots=True)
class Section:
    """A table of tables: ``[nodes.web]`` is one of ``nodes``.

    Attributes:
        record: the keys of each.
        make: called with its name, and what its keys stand for.
        of_tree: whether it is a child of a supervisor.
    """

    record: Record
    make: Callable[[str, Values], Any]
    of_tree: bool = False


_UNDER: Final[dict[str, Kind]] = {"under": Text()}


@cache
def sections() -> Mapping[str, Section]:
    """Return the tables of tables, in the order in which their parts start."""
    return {
        "nodes": _section(_nodes, derived_keys(nodes, without=["name"], own=_OF_NODES), nodes),
        "supervisors": _section(_supervisor, _supervisor_keys(), dynamic, supervisor, of_tree=True),
        "programs": _section(
            lambda name, given: program(name, **given),
            derived_keys(program, without=["name"], own=_OF_PROGRAMS) | _UNDER,
            program,
            of_tree=True,
            needs=("command",),
        ),
        "pools": _section(
            _pool,
            _CONSTRUCTOR
            | derived_keys(pool, without=["cls", "args", "name", "init"], own=_OF_POOLS)
            | _UNDER,
            pool,
            of_tree=True,
        ),
        "keyed": _section(
            _keyed,
            {key: _CONSTRUCTOR[key] for key in ("class", "kwargs")}
            | derived_keys(keyed, without=["cls", "name"], own=_OF_ACTORS)
            | _UNDER,
            keyed,
            of_tree=True,
            needs=("class",),
        ),
        "children": _section(
            _child,
            _CONSTRUCTOR
            | derived_keys(child, without=["cls", "args", "name"], own=_OF_ACTORS)
            | _UNDER,
            child,
            of_tree=True,
            needs=("class",),
        ),
        "listeners": _section(_listener, _listener_keys(), Asgi, listen),
    }


def _section(
    make: Callable[[str, Values], Any],
    keys: Mapping[str, Kind],
    *made_by: Callable[..., Any],
    of_tree: bool = False,
    needs: tuple[str, ...] = (),
) -> Section:
    return Section(Record(keys, needs=needs, docs=partial(_docs, *made_by)), make, of_tree)


def _supervisor_keys() -> dict[str, Kind]:
    return {
        **derived_keys(supervisor, without=["name", "children"]),
        **derived_keys(dynamic, without=["name", "budget", "restart", "significant"]),
        "dynamic": Flag(),
        **_UNDER,
    }


def _listener_keys() -> dict[str, Kind]:
    return {
        "app": Text.import_path("shop.web:app"),
        "handler": Text.import_path("shop:handle"),
        **derived_keys(
            listen,
            without=["handler", "name"],
            own={"policy": Parsed(policy_from), "max_connections": _LIMITS},
        ),
        "sticky": Parsed(key_from),
        "sticky_across": Choice({"pass": "pass", "serve": "serve"}),
        "sticky_learn": Whole(),
        **derived_keys(Asgi, without=["app"], own={"headers": _TEXTS, "max_head": Size()}),
    }


@cache
def single_tables() -> Mapping[str, Record]:
    """Return the tables that there is one of."""
    return {
        "system": Record(
            derived_keys(Topology, without=_OF_TOPOLOGY, own=_OF_SYSTEMS),
            docs=partial(_docs, Topology),
        ),
        "admin": Record(derived_keys(Admin), Admin, needs=("address",), docs=partial(_docs, Admin)),
        "alerts": Record(
            derived_keys(Alerts, own={"memory": Size()}),
            Alerts,
            needs_one_of=ALERTS,
            docs=partial(_docs, Alerts),
        ),
        "log": Record(
            {
                "level": _words("debug", "info", "warning", "error"),
                "format": _words("json", "console"),
            },
            docs=_docs,
        ),
    }


def _words(*words: str) -> Choice:
    return Choice({word: word for word in words})
