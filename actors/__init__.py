"""Actors on threads of one loop and on processes, supervised as in Erlang, typed as Python.

Everything a user needs is here. `actors.errors`, `actors.keys` and `actors.policies` have the rest by name.

The first use of one of these names loads them all, from `actors._public`: commands such as `actors ps`
use none of them and so start without the engine.
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

import actors._base  # noqa: F401 - refuses to be imported on a platform that cannot run actors

if TYPE_CHECKING:
    from actors import errors as errors, keys as keys, policies as policies
    from actors._public import *

__all__ = [
    "Actor",
    "ActorCrashed",
    "ActorStopped",
    "ActorsError",
    "AutoShutdown",
    "Backoff",
    "Bounded",
    "Budget",
    "Buffer",
    "Context",
    "Exit",
    "ExitKind",
    "Keyed",
    "Lagged",
    "LeastConnections",
    "Node",
    "NodeDown",
    "OnError",
    "Pool",
    "Priority",
    "Ref",
    "Restart",
    "RoundRobin",
    "SharedArray",
    "SharedBuffer",
    "Sticky",
    "Strategy",
    "System",
    "Topology",
    "asgi",
    "batched",
    "blocking_system",
    "child",
    "concurrent",
    "connect",
    "current",
    "dynamic",
    "keyed",
    "listen",
    "local",
    "move",
    "nodes",
    "pool",
    "program",
    "register",
    "run",
    "start",
    "sticky_id",
    "supervisor",
    "wsgi",
]


_MODULES = ("errors", "keys", "policies")
"""What `import actors` gives beside these names."""


class _Package(ModuleType):
    """This package as an object: loads the public names when the first of them is used."""

    def __getattr__(self, name: str) -> Any:
        if name in _MODULES:
            return import_module(f"actors.{name}")
        if name not in __all__:
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        public = import_module("actors._public")
        self.__dict__.update({known: getattr(public, known) for known in __all__})
        return self.__dict__[name]

    def __setattr__(self, name: str, value: Any) -> None:
        # The import system stores each imported submodule as an attribute of its package. For users
        # `actors.nodes` is the function, so the package of that name is not stored.
        if name != "nodes" or not isinstance(value, ModuleType):
            super().__setattr__(name, value)

    def __dir__(self) -> list[str]:
        return sorted({*self.__dict__, *__all__, *_MODULES})


sys.modules[__name__].__class__ = _Package
