"""What the keys of the full-screen `actors top` change: each asks a question first. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from actors.cli.top.pages import Facts

__all__ = ["Change", "change", "scaling"]


@dataclass(frozen=True, slots=True)
class Change:
    """Something that is done once it is confirmed.

    Attributes:
        what: it, in a few words.
        question: that is asked before.
        operation: of the control socket.
        arguments: of the operation.
    """

    what: str
    question: str
    operation: str
    arguments: dict[str, Any] = field(default_factory=dict)


_QUESTIONS = {
    ("restart", "actor"): "Restart actor {name}?",
    ("stop", "actor"): "Stop actor {name}? It is not restarted.",
    ("restart", "node"): "Replace {name} by a new process? It finishes what it has first.",
    ("stop", "node"): "Stop {name} for good? Its actors end.",
    ("reload", "node"): "Replace the nodes of {group} one after another?",
    ("restart", "program"): "Replace {name} by a new process?",
    ("stop", "program"): "Stop {name} for good?",
    ("reload", "program"): "Replace the processes of {group} one after another?",
}
_OPERATIONS = {"restart": "restart", "stop": "stop_any", "reload": "reload"}


def change(verb: str, kind: str, name: str) -> Change | str:
    """Return what a key does to what is selected, or why it does nothing.

    Args:
        verb: ``restart``, ``reload`` or ``stop``.
        kind: of what is selected.
        name: its name.
    """
    question = _QUESTIONS.get((verb, kind))
    if question is None:
        return f"{verb} is for {_kinds(verb)}: this is a {kind}"
    group = name.partition("/")[0]
    arguments: dict[str, Any] = {"nodes": [group]} if verb == "reload" else {"name": name}
    if kind == "actor":
        arguments["actor"] = True
    target = group if verb == "reload" else name
    asked = question.format(name=name, group=group)
    return Change(f"{verb} {target}", asked, _OPERATIONS[verb], arguments)


def scaling(step: int, kind: str, name: str, look: Facts) -> Change | str:
    """Return what one node or instance more or less means, or why that cannot be.

    Args:
        step: 1 or -1.
        kind: of what is selected.
        name: its name.
        look: the last look, for how many there are.
    """
    if kind not in {"node", "program"}:
        return f"scale is for nodes and programs: this is a {kind}"
    group = name.partition("/")[0]
    have = sum(one["name"].partition("/")[0] == group for one in look[f"{kind}s"])
    wanted = have + step
    if wanted < 1:
        return f"{group} has one {kind}: stop it with x"
    things = "nodes" if kind == "node" else "instances"
    question = f"Scale {group} from {have} to {wanted} {things}?"
    return Change(f"scale {group} to {wanted}", question, "scale", {"groups": {group: wanted}})


def _kinds(verb: str) -> str:
    return " and ".join(f"{kind}s" for known, kind in _QUESTIONS if known == verb)
