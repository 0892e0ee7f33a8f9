"""The public names of `actors`, from the packages that define them.

`import actors` loads this module when the first of the names is used.
"""

from actors._actor.base import Actor
from actors._actor.context import Context
from actors._actor.on_error import OnError
from actors._base.errors import ActorCrashed, ActorsError, ActorStopped, NodeDown
from actors._keyed import Keyed
from actors._messaging.handler_options import batched, concurrent
from actors._messaging.mailbox_options import Bounded, Priority
from actors._messaging.ref import Ref
from actors._messaging.topic import Lagged
from actors._pools import Pool
from actors._system.blocking_system import blocking_system
from actors._system.connect import connect
from actors._system.keyed_spec import keyed
from actors._system.pool_spec import pool
from actors._system.program_spec import program
from actors._system.run import run
from actors._system.start import start
from actors._system.sticky_id import sticky_id
from actors._system.system import System, current
from actors._system.topology import Topology
from actors._system.tree_specs import child, dynamic, supervisor
from actors.nodes import Node, nodes
from actors.routing import LeastConnections, RoundRobin, Sticky, asgi, listen, wsgi
from actors.supervisors import AutoShutdown, Backoff, Budget, Exit, ExitKind, Restart, Strategy
from actors.transport import Buffer, SharedArray, SharedBuffer, local, move, register

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
