"""Actors on threads of one loop and on processes, supervised as in Erlang, typed as Python.

Everything a user needs is here; `transport` and `supervisors` are floors below.
"""

# isort: off
from . import _floors as _floors  # the guard: before anything that would import a floor

# isort: on
from supervisors import AutoShutdown, Backoff, Budget, Exit, ExitKind, Restart, Strategy
from transport import local, register

from . import errors
from ._actor import Actor, concurrent
from ._context import Context
from ._errors import ActorCrashed, ActorsError, ActorStopped, MailboxFull, NodeDown
from ._events import Event
from ._on_error import OnError
from ._ref import Ref
from ._run import run
from ._system import System, current
from ._topic import Lagged
from ._topology import Topology, child, dynamic, supervisor
from .nodes import Node, nodes
from .routing import LeastConnections, RoundRobin, Sticky, asgi, cookie, ip, listen, query

__all__ = [
    "Actor",
    "ActorCrashed",
    "ActorStopped",
    "ActorsError",
    "AutoShutdown",
    "Backoff",
    "Budget",
    "Context",
    "Event",
    "Exit",
    "ExitKind",
    "Lagged",
    "LeastConnections",
    "MailboxFull",
    "Node",
    "NodeDown",
    "OnError",
    "Ref",
    "Restart",
    "RoundRobin",
    "Sticky",
    "Strategy",
    "System",
    "Topology",
    "asgi",
    "child",
    "concurrent",
    "cookie",
    "current",
    "dynamic",
    "errors",
    "ip",
    "listen",
    "local",
    "nodes",
    "query",
    "register",
    "run",
    "supervisor",
]
