"""What the dashboard's node may ask the parent: operations of the control socket, and a few of its own.

Rule 1: only the node of the group `admin` is answered, which the system itself has added.
Rule 2: whatever changes something is one event, `admin_request`, that says what and for whom.
"""

from __future__ import annotations

import os
import secrets
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

import anyio

from actors._base.errors import ActorsError, InvalidSpec
from actors._remoting import admin_operations as admin_ops
from actors._system.admin_spec import ADMIN_GROUP
from actors._system.control.looks import serving
from actors._system.control.operations import OPERATIONS
from actors._system.control.ps import NODE_TIMEOUT
from actors._system.failed_looks import telling_failures
from actors.nodes import LOOKED_AT, RemoteNode, node_figures

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from actors._base.events import Event
    from actors._system.admin_spec import Admin
    from actors._system.coordinator import Coordinator
    from actors.nodes import Link

__all__ = ["AdminServices"]

_SHOWS: Final = ("ps", "top", "stack", "profile", "serving", "children", "queued")
_CHANGES: Final = ("scale", "reload", "restart", "stop_any", "kill_any")


class AdminServices:
    """Serves the node of the dashboard; it makes the token that browsers have to show.

    Args:
        core: of the system.
        spec: what was asked for; nobody is answered without.
    """

    def __init__(self, core: Coordinator, spec: Admin | None) -> None:
        self._core = core
        self._spec = spec
        self._token = secrets.token_urlsafe(32)
        self._events: Counter[str] = Counter()
        self._own: dict[str, Callable[..., Awaitable[Any]]] = {
            "settings": self._settings,
            "figures": self._figures,
        }

    def register(self) -> None:
        """Answer from now on, and count events if anybody is answered."""
        if self._spec is not None:
            self._core.bus.subscribe(self._count)
        self._core.host.handlers.on_call(admin_ops.control, self._control)

    def access(self) -> dict[str, Any]:
        """Return where the dashboard is and the token, for `actors admin`.

        Raises:
            ActorsError: there is none, or its address is not open yet.
        """
        if self._spec is None:
            raise ActorsError("this system has no dashboard: start it with --admin 127.0.0.1:9000")
        for listening in self._core.listeners:
            if listening.spec.name == ADMIN_GROUP and listening.router is not None:
                address = str(listening.router.snapshot().address)
                scheme = "http" if listening.spec.tls is None else "https"
                return {"address": address, "scheme": scheme, "token": self._token}
        raise ActorsError("the dashboard is not open yet: ask again in a moment")

    async def _control(self, link: Link, operation: str, arguments: dict[str, Any], by: str) -> Any:
        run = self._core.runs.get(link.peer)
        if self._spec is None or run is None or run.node.spec.name != ADMIN_GROUP:
            raise ActorsError(f"only the node of the dashboard may ask for {operation!r}")
        if operation in self._own:
            return await self._own[operation](**arguments)
        if operation in _CHANGES:
            self._core.event("admin_request", {**arguments, "operation": operation, "by": by})
        elif operation not in _SHOWS:
            raise InvalidSpec(f"the dashboard has no operation {operation!r}")
        known = OPERATIONS[operation]
        if unknown := arguments.keys() - known.arguments:
            raise InvalidSpec(f"{operation} takes no {', '.join(sorted(unknown))}")
        return await known.run(self._core, **arguments)

    def _count(self, event: Event) -> None:
        self._events[event.kind] += 1

    async def _settings(self) -> dict[str, Any]:
        assert self._spec is not None
        return {"token": self._token, "hosts": list(self._spec.hosts)}

    async def _figures(self) -> dict[str, Any]:
        """Return what `/metrics` is made of."""
        core = self._core
        nodes = {name: _facts(node) for name, node in core.nodes.items()}
        async with anyio.create_task_group() as tasks:
            for name, node in core.nodes.items():
                if node.ready:
                    tasks.start_soon(_ask_figures, core, node, nodes[name])
        if core.local is not None:
            core.host.times.begin_for(LOOKED_AT, core.loop)
            figures = {**node_figures(core.host, 0.0), "serves": {}}
            nodes[core.local.name] = {
                "group": core.local.name,
                "state": core.local.state.value,
                "restarts": 0,
                "pid": os.getpid(),
                "figures": figures,
            }
        return {
            "nodes": nodes,
            **await serving(core),
            "programs": _programs(core),
            "places": core.machines.status,
            "events": dict(self._events),
        }


def _facts(node: RemoteNode) -> dict[str, Any]:
    return {
        "group": node.spec.name,
        "state": node.state.value,
        "restarts": node.restarts,
        "pid": node.pid,
        "figures": None,
    }


def _programs(core: Coordinator) -> list[dict[str, Any]]:
    """Return the facts of each instance, with its memory in bytes and CPU seconds; None if it does not run."""
    used = core.programs.usage()
    return [
        {**facts, **dict(zip(("cpu", "rss"), used.get(facts["name"], (None, None)), strict=True))}
        for facts in core.programs.facts()
    ]


async def _ask_figures(core: Coordinator, node: RemoteNode, facts: dict[str, Any]) -> None:
    with anyio.move_on_after(NODE_TIMEOUT), telling_failures(core.event, node.name):
        facts["figures"] = await node.link.call(admin_ops.figures)
