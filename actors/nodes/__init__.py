"""Nodes: where actors run. One interface, a local and a process implementation."""

from ._arguments import keep_arguments, pack_arguments, unpack_arguments
from ._child import BOOT_FAILED, ChildNode, boot_config
from ._family import NodeFamily, check_actor_options, child_facts, families
from ._kinds import new_node
from ._launcher import Launcher
from ._life import PLAIN_BACKOFF, ActorRun, Life
from ._link import Link
from ._local import LocalNode
from ._looking import process_figures
from ._main_module import EndOfImport, describe_main, importing_main, main_problem
from ._node import Node, NodeState, Place
from ._peer import Peer
from ._process import ProcessNode
from ._remote import RemoteHome, RemoteNode
from ._run import NodeDied, RemoteRun, RunNode
from ._runtime import Runtime, class_path
from ._sampling import ORDERS, busiest_first
from ._spec import NodesSpec, nodes
from ._swap import Tenure
from ._thread import ThreadNode

__all__ = [
    "BOOT_FAILED",
    "ORDERS",
    "PLAIN_BACKOFF",
    "ActorRun",
    "ChildNode",
    "EndOfImport",
    "Launcher",
    "Life",
    "Link",
    "LocalNode",
    "Node",
    "NodeDied",
    "NodeFamily",
    "NodeState",
    "NodesSpec",
    "Peer",
    "Place",
    "ProcessNode",
    "RemoteHome",
    "RemoteNode",
    "RemoteRun",
    "RunNode",
    "Runtime",
    "Tenure",
    "ThreadNode",
    "boot_config",
    "busiest_first",
    "check_actor_options",
    "child_facts",
    "class_path",
    "describe_main",
    "families",
    "importing_main",
    "keep_arguments",
    "main_problem",
    "new_node",
    "nodes",
    "pack_arguments",
    "process_figures",
    "unpack_arguments",
]
