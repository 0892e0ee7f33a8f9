"""Nodes: where actors run. One interface, a local and a process implementation."""

from actors._remoting.actor_host import ActorHost, class_path
from actors._remoting.constructor_args import keep_arguments, pack_arguments, unpack_arguments
from actors._remoting.link import Link
from actors._remoting.peer import Peer
from actors.nodes._local import LocalNode
from actors.nodes._node import ActorPlacement, Node, NodeState
from actors.nodes._process import ProcessNode
from actors.nodes._sibling import Siblings, sibling_facts
from actors.nodes._spec import ENGINES, NodeKind, NodesSpec, nodes
from actors.nodes._thread import ThreadNode
from actors.nodes.actor_starts import generated_name
from actors.nodes.boot.descriptors import NodePipes, end_with
from actors.nodes.boot.launch import (
    PARENTS_PATH,
    Launch,
    origin_of,
    own_environment,
    python as python_command,
)
from actors.nodes.boot.launchers import Launchers
from actors.nodes.boot.main_module import (
    MainImportEnded,
    describe_main,
    importing_main,
    install_main,
    main_problem,
)
from actors.nodes.boot.output import LinesReader, PrintedOutput, WrittenRecords, read_output
from actors.nodes.boot.preload import PreloadFailed, import_modules
from actors.nodes.child_actors import ChildActors, check_actor_options, child_actors_of, child_facts
from actors.nodes.child_process import (
    BACKEND_MODULES,
    ChildProcess,
    common_environment,
    describe_code,
    last_lines_of,
)
from actors.nodes.factory import new_node
from actors.nodes.health.block_watch import BlockWatch
from actors.nodes.health.figures import LOOKED_AT, node_figures
from actors.nodes.health.inspect_process import process_figures
from actors.nodes.health.sampling import ORDERS, first_rows, matches
from actors.nodes.health.stats import handler_stats
from actors.nodes.linked_process import LinkedProcess
from actors.nodes.node_process import BOOT_FAILED, LINK_LOST, NodeProcess, boot_config
from actors.nodes.process_run import ProcessRun
from actors.nodes.process_settings import cpus_of_slot, process_settings
from actors.nodes.reaping import sweep_and_reap
from actors.nodes.remote_node import RemoteNode, RemoteNodeHost, RemoteRun
from actors.nodes.replacement import NodeReplacement
from actors.nodes.run_end import IN_ORDER, LAST_READ, NodeDied
from actors.nodes.supervised_actor import PLAIN_BACKOFF, ActorRun, StaticChild, SupervisedActor

__all__ = [
    "BACKEND_MODULES",
    "BOOT_FAILED",
    "ENGINES",
    "IN_ORDER",
    "LAST_READ",
    "LINK_LOST",
    "LOOKED_AT",
    "ORDERS",
    "PARENTS_PATH",
    "PLAIN_BACKOFF",
    "ActorHost",
    "ActorPlacement",
    "ActorRun",
    "BlockWatch",
    "ChildActors",
    "ChildProcess",
    "Launch",
    "Launchers",
    "LinesReader",
    "Link",
    "LinkedProcess",
    "LocalNode",
    "MainImportEnded",
    "Node",
    "NodeDied",
    "NodeKind",
    "NodePipes",
    "NodeProcess",
    "NodeReplacement",
    "NodeState",
    "NodesSpec",
    "Peer",
    "PreloadFailed",
    "PrintedOutput",
    "ProcessNode",
    "ProcessRun",
    "RemoteNode",
    "RemoteNodeHost",
    "RemoteRun",
    "Siblings",
    "StaticChild",
    "SupervisedActor",
    "ThreadNode",
    "WrittenRecords",
    "boot_config",
    "check_actor_options",
    "child_actors_of",
    "child_facts",
    "class_path",
    "common_environment",
    "cpus_of_slot",
    "describe_code",
    "describe_main",
    "end_with",
    "first_rows",
    "generated_name",
    "handler_stats",
    "import_modules",
    "importing_main",
    "install_main",
    "keep_arguments",
    "last_lines_of",
    "main_problem",
    "matches",
    "new_node",
    "node_figures",
    "nodes",
    "origin_of",
    "own_environment",
    "pack_arguments",
    "process_figures",
    "process_settings",
    "python_command",
    "read_output",
    "sibling_facts",
    "sweep_and_reap",
    "unpack_arguments",
]
