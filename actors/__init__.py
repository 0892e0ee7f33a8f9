"""Actors on threads of one loop and on processes, supervised as in Erlang, typed as Python.

Everything a user needs is here; `transport` and `supervisors` are floors below.
"""

# isort: off
from . import _floors as _floors  # the guard: before anything that would import a floor

# isort: on
from supervisors import AutoShutdown, Backoff, Budget, Exit, ExitKind, Restart, Strategy
from transport import Buffer, SharedBuffer, local, move, register

from . import errors, keys, policies
from ._actor import Actor, concurrent
from ._context import Context
from ._errors import ActorCrashed, ActorsError, ActorStopped, NodeDown
from ._on_error import OnError
from ._ref import Ref
from ._run import run
from ._system import System, current
from ._topic import Lagged
from ._topology import Topology, child, dynamic, pool, supervisor
from .nodes import Node, nodes
from .routing import LeastConnections, RoundRobin, Sticky, asgi, listen

__all__ = [
    "Actor",
    "ActorCrashed",
    "ActorStopped",
    "ActorsError",
    "AutoShutdown",
    "Backoff",
    "Budget",
    "Buffer",
    "Context",
    "Exit",
    "ExitKind",
    "Lagged",
    "LeastConnections",
    "Node",
    "NodeDown",
    "OnError",
    "Ref",
    "Restart",
    "RoundRobin",
    "SharedBuffer",
    "Sticky",
    "Strategy",
    "System",
    "Topology",
    "asgi",
    "child",
    "concurrent",
    "current",
    "dynamic",
    "errors",
    "keys",
    "listen",
    "local",
    "move",
    "nodes",
    "policies",
    "pool",
    "register",
    "run",
    "supervisor",
]
