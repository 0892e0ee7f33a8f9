"""Parts of a tree and groups of nodes as data for a link: a node describes them, the parent starts them.

Rule 1: the classes of users go by name and their arguments packed, so that the parent needs none of them.
Rule 2: what comes over a link is made by the same functions that users call, and so is checked again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any, Final

from actors._base.errors import ActorsError, InvalidSpec
from actors._pools import FunctionWorker
from actors._system.keyed_spec import KeyedSpec, sent_keyed
from actors._system.pool_spec import PoolSpec, sent_pool
from actors._system.program_spec import ProgramSpec
from actors._system.tree_specs import (
    ActorSpec,
    DynamicSpec,
    Elsewhere,
    SentClass,
    SupervisorSpec,
    TreeSpec,
    dynamic,
    new_child,
    supervisor,
)
from actors.nodes import NodesSpec, class_path, nodes, pack_arguments
from actors.routing import Listener

if TYPE_CHECKING:
    from actors.nodes import ActorHost

__all__ = ["Sent", "nodes_from", "sent_item", "sent_nodes", "tree_item_from"]

Sent = dict[str, Any]
"""A part of a tree, or a group of nodes, as plain data."""
_DEEPEST: Final = 32
"""Supervisors inside each other, of what a node describes."""
_MOST_WORKERS: Final = 1024
_LONGEST_PATH: Final = 1024
_OF_CHILD: Final = (
    "name",
    "on",
    "restart",
    "backoff",
    "shutdown",
    "significant",
    "mailbox",
)
_OF_SUPERVISOR: Final = (
    "name",
    "strategy",
    "budget",
    "auto_shutdown",
    "restart",
    "significant",
)
_OF_DYNAMIC: Final = ("name", "budget", "max_children", "restart", "significant")
_OF_THE_PARENT: Final = ("env", "user", "cgroup", "engine", "on", "spread")
"""Options of a group of nodes that no node may give."""
_PARENTS: Final = "is for the program that made the system, and no node may ask for it"


# -- on the node that asks ---------------------------------------------------------------------------


def sent_item(host: ActorHost, item: object) -> Sent:
    """Return a part of a tree as data for the link to the parent.

    Raises:
        NotSendable: a constructor argument does not travel.
        ActorsError: only the program that made the system may start such a thing.
        InvalidSpec: it is no part of a tree.
    """
    if isinstance(item, PoolSpec):
        return _sent_pool(host, item)
    if isinstance(item, KeyedSpec):
        given = item.arguments
        arguments = given if isinstance(given, list) else pack_arguments(host, *given)
        return {"kind": "keyed", "path": item.path, "arguments": arguments, **item.sent}
    if isinstance(item, ActorSpec):
        arguments = pack_arguments(host, item.args, dict(item.kwargs))
        facts = {"path": class_path(item.cls), "arguments": arguments}
        return {"kind": "child", **facts, **_some(item, _OF_CHILD)}
    if isinstance(item, SupervisorSpec):
        children = [sent_item(host, inner) for inner in item.children]
        return {"kind": "supervisor", "children": children, **_some(item, _OF_SUPERVISOR)}
    if isinstance(item, ProgramSpec):
        raise ActorsError(f"program({item.name!r}, ...) {_PARENTS}")
    if isinstance(item, DynamicSpec):
        return {"kind": "dynamic", **_some(item, _OF_DYNAMIC)}
    if isinstance(item, Listener):
        raise ActorsError(f"listen({item.address!r}) {_PARENTS}")
    raise InvalidSpec(
        f"start() takes what child(), supervisor(), dynamic(), pool() or nodes() made, got {item!r}"
    )


def _sent_pool(host: ActorHost, spec: PoolSpec[Any]) -> Sent:
    options = dict(spec.options)
    if options.pop("env", None):
        raise ActorsError(f"pool({spec.name!r}, env=...) {_PARENTS}")
    options.pop("init", None)
    path = class_path(spec.cls or FunctionWorker)
    arguments = pack_arguments(host, spec.args, dict(spec.kwargs))
    facts = {"path": path, "arguments": arguments, "functions": spec.cls is None}
    return {"kind": "pool", **facts, "options": options}


def sent_nodes(spec: NodesSpec) -> Sent:
    """Return a group of nodes as data for the link to the parent.

    Raises:
        ActorsError: it has an environment of its own, which only the program that made the system may give.
    """
    for option in _OF_THE_PARENT:
        if getattr(spec, option):
            raise ActorsError(f"nodes({spec.name!r}, {option}=...) {_PARENTS}")
    names = [item.name for item in fields(spec) if item.name not in _OF_THE_PARENT]
    facts = {name: getattr(spec, name) for name in names}
    facts["preload"], facts["rlimits"] = list(spec.preload), dict(spec.rlimits)
    if facts["hang_after"] is ...:
        del facts["hang_after"]
    return facts


def _some(item: Any, names: Sequence[str]) -> Sent:
    return {name: getattr(item, name) for name in names}


# -- in the process that made the system -------------------------------------------------------------


def tree_item_from(sent: object) -> TreeSpec:
    """Return the part of a tree that a node has described.

    Raises:
        InvalidSpec: a value that can never work.
    """
    return _item(sent, 0)


def _item(sent: object, depth: int) -> TreeSpec:
    if depth > _DEEPEST:
        raise InvalidSpec(f"a node may describe {_DEEPEST} supervisors inside each other, not more")
    if not isinstance(sent, dict) or str(sent.get("kind")) not in _MAKERS:
        raise InvalidSpec(f"a node describes a part of a tree, got {str(sent)[:80]!r}")
    facts = dict(sent)
    make = _MAKERS[str(facts.pop("kind"))]
    try:
        return make(facts, depth)
    except (KeyError, TypeError) as error:
        raise InvalidSpec(f"what a node describes cannot be started: {error}") from error


def _child(facts: Sent, _depth: int) -> ActorSpec[Any]:
    sent = _sent_class(facts)
    return replace(new_child(Elsewhere, (), {}, **facts), sent=sent)


def _supervisor(facts: Sent, depth: int) -> SupervisorSpec:
    children = [_item(inner, depth + 1) for inner in facts.pop("children")]
    return supervisor(facts.pop("name"), children, **facts)


def _dynamic(facts: Sent, _depth: int) -> DynamicSpec:
    return dynamic(facts.pop("name"), **facts)


def _pool(facts: Sent, _depth: int) -> PoolSpec[Any]:
    sent, options = _sent_class(facts), facts["options"]
    if not isinstance(options, dict):
        raise InvalidSpec(f"a node describes the options of a pool, got {str(options)[:80]!r}")
    for option in ("size", "min", "max"):
        count = options.get(option)
        if type(count) is int and count > _MOST_WORKERS:
            what = f"a node may start {_MOST_WORKERS} workers, not more"
            raise InvalidSpec(f"pool({options.get('name')!r}): {what}; got {option}={count}")
    if options.get("env"):
        raise ActorsError(f"pool({options.get('name')!r}, env=...) {_PARENTS}")
    return sent_pool(sent, options, functions=bool(facts["functions"]))


def _keyed(facts: Sent, _depth: int) -> KeyedSpec[Any, Any]:
    sent = _sent_class(facts)
    return sent_keyed(sent.path, sent.arguments, facts)


_MAKERS: Final[dict[str, Callable[[Sent, int], TreeSpec]]] = {
    "child": _child,
    "supervisor": _supervisor,
    "dynamic": _dynamic,
    "pool": _pool,
    "keyed": _keyed,
}


def _sent_class(facts: Sent) -> SentClass:
    path, arguments = facts.pop("path"), facts.pop("arguments")
    module, colon, qualname = str(path).partition(":")
    named = [*module.split("."), *qualname.replace("<locals>", "locals").split(".")]
    short = len(str(path)) <= _LONGEST_PATH
    if not (type(path) is str and short and colon and all(part.isidentifier() for part in named)):
        raise InvalidSpec(f"a class is named by 'module:Class', got {str(path)[:80]!r}")
    return SentClass(path, arguments)


def nodes_from(sent: object) -> NodesSpec:
    """Return the group of nodes that a node has described.

    Raises:
        InvalidSpec: a value that can never work.
        ActorsError: it has an environment of its own.
    """
    if not isinstance(sent, dict) or not isinstance(sent.get("name"), str):
        raise InvalidSpec(f"a node describes a group of nodes, got {str(sent)[:80]!r}")
    facts = dict(sent)
    for option in _OF_THE_PARENT:
        if facts.get(option):
            raise ActorsError(f"nodes({facts['name']!r}, {option}=...) {_PARENTS}")
    try:
        return nodes(facts.pop("name"), **facts)
    except TypeError as error:
        raise InvalidSpec(f"nodes: {error}") from error
