"""The operations between the parent and its nodes, each declared once; both sides use the declaration.

The caller names the operation (``link.call(operations.lookup, "counter")``), the side that serves it
registers a handler for it (`Handlers`); mypy checks the arguments of both against the declaration.
A call is answered by a result or an error. A note is not answered. A note with descriptors also carries
open files. All arguments are positional.
"""

# mypy: disable-error-code="empty-body"
# Declarations: only their signatures are used.

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, TypedDict

from actors._remoting.operation import Side, call as _call, fd_note as _fd_note, note as _note

if TYPE_CHECKING:
    from collections.abc import Sequence

    from actors._messaging.mailbox_options import MailboxOption
    from actors._messaging.ref import Ref
    from actors.supervisors import Backoff, ChildInfo, Count, Exit, Restart
    from actors.transport import Endpoint, SharedBuffer

__all__ = ["Chain", "SpawnOptions"]

Chain: TypeAlias = "Sequence[Sequence[Any]]"
"""The actors that wait for an answer, a number and a name each."""


class SpawnOptions(TypedDict):
    """The keywords of `System.spawn`."""

    name: str | None
    on: str | None
    restart: Restart | None
    backoff: Backoff | None
    mailbox: MailboxOption
    shutdown: float
    if_exists: Literal["raise", "return"]


_PARENT: Final = Side.PARENT
_NODE: Final = Side.NODE
_BOTH: Final = Side.BOTH
_AGENT: Final = Side.AGENT

# -- what the parent serves: actors and names ------------------------------------------------


@_call(_PARENT)
async def spawn(
    path: str, arguments: list[bytes | SharedBuffer], options: SpawnOptions, chain: Chain = (), /
) -> Ref[Any]:
    """Start an actor of the class at *path*, with packed constructor arguments; *chain* waits for it."""


@_note(_PARENT)
def adopt_actor(
    uid: int,
    path: str,
    mailbox: int | list[Any],
    restart: str | None,
    backoff: list[Any],
    shutdown: float,
    arguments: Sequence[bytes | SharedBuffer],
    /,
) -> None:
    """Supervise an actor that the node begins to start by itself, under one of the numbers it was given.

    *backoff* has the fields of a `Backoff`; it is empty for the usual one.
    """


@_note(_PARENT)
def actor_started(uid: int, /) -> None:
    """An actor that the node began to start by itself is ready."""


@_note(_PARENT)
def actor_not_started(uid: int, end: Exit, /) -> None:
    """An actor that the node began to start by itself has failed to, or is not wanted any more."""


@_call(_PARENT)
async def lookup(name: str, chain: Chain = (), /) -> Ref[Any] | None:
    """Return the living actor of that name; *chain* waits for it."""


@_note(_PARENT)
def probe_start(name: str, number: int, way: list[list[Any]], /) -> None:
    """Pass a deadlock probe on to the actor that starts with a name."""


@_call(_PARENT)
async def claim_name(ref: Ref[Any], /) -> None:
    """Take the name of *ref* for it; raise NameTaken if another living actor has it."""


@_note(_PARENT)
def release_name(name: str, uid: int, /) -> None:
    """Free the name, if the actor *uid* has it."""


@_call(_PARENT)
async def new_fence() -> int:
    """Return a number greater than those of all starts before; see `Context.fence`."""


@_note(_PARENT)
def actor_killed(uid: int, actor: str, node: str, after: float, by: str, /) -> None:
    """An actor of another node is to end in *after* seconds: see that its node hears of it."""


@_call(_PARENT)
async def actor_renewed(
    uid: int, incarnation: int, state: Sequence[bytes | SharedBuffer], /
) -> None:
    """Keep what an incarnation, which is about to end, hands over to the next one."""


@_note(_PARENT)
def unreachable(address: str, why: str, /) -> None:
    """The node could not connect to another one, as it was told to."""


@_note(_PARENT)
def link_parted(address: str, links: int, why: str, /) -> None:
    """The last of so many links to a node of another machine has ended; nothing says that the node has."""


@_call(_PARENT)
async def wait_ended(uid: int, /) -> Exit:
    """Wait for the final end of an actor that the parent supervises."""


@_note(_PARENT)
def stop_supervised(uid: int, /) -> None:
    """An actor that the parent supervises was asked to stop for good."""


@_note(_PARENT)
def actor_ended(uid: int, incarnation: int, end: Exit, voluntary: bool, /) -> None:  # noqa: FBT001 - a wire field
    """An incarnation has ended; *voluntary* if it was asked to stop by anyone but its supervisor."""


# -- what the parent serves: the whole system --------------------------------------------------


@_call(_PARENT)
async def tree() -> dict[str, Any]:
    """Return the supervision tree as plain data."""


@_call(_PARENT)
async def stop_system() -> None:
    """Begin to stop the whole system."""


# -- what the parent serves: requests for the tree and for groups of nodes ------------------------


@_call(_PARENT)
async def start_child(path: str, item: dict[str, Any], chain: Chain = (), /) -> Ref[Any] | None:
    """Start what *item* describes under the supervisor at *path*; *chain* waits for it."""


@_call(_PARENT)
async def stop_child(path: str, name: str, chain: Chain = (), /) -> None:
    """Stop a child of a supervisor for good."""


@_call(_PARENT)
async def restart_child(path: str, name: str, chain: Chain = (), /) -> Ref[Any] | None:
    """Start a stopped child of a supervisor again."""


@_call(_PARENT)
async def delete_child(path: str, name: str, /) -> None:
    """Forget a stopped child of a supervisor."""


@_call(_PARENT)
async def children(path: str, /) -> list[ChildInfo]:
    """Return the children of a supervisor; `due` is a time of `time.monotonic`."""


@_call(_PARENT)
async def count_children(path: str, /) -> Count:
    """Return how many children a supervisor has."""


@_call(_PARENT)
async def start_nodes(spec: dict[str, Any], /) -> list[str]:
    """Start the group of nodes that *spec* describes; return their names."""


@_call(_PARENT)
async def scale(group: str, count: int, chain: Chain = (), /) -> list[str]:
    """Have *count* nodes in a group; return their names."""


@_call(_PARENT)
async def reload(
    names: list[str],
    surge: bool,  # noqa: FBT001 - a wire field
    ready_timeout: float | None,
    chain: Chain = (),
    /,
) -> list[str]:
    """Renew nodes; return their names."""


@_call(_PARENT)
async def node_stats(node: str, /) -> dict[str, Any]:
    """Return the figures of another node."""


@_note(_PARENT)
def follow_events(number: int, /) -> None:
    """Keep events for the node from now on, under a number of its own."""


@_call(_PARENT)
async def next_events(number: int, /) -> list[list[Any]]:
    """Return the next events, at least one, as kind, facts and time of `time.monotonic`; none at the end."""


@_note(_PARENT)
def unfollow_events(number: int, /) -> None:
    """Keep no more events under that number."""


@_note(_PARENT)
def event(kind: str, facts: dict[str, Any], /) -> None:
    """Report an event of the node."""


@_call(_PARENT)
async def subscribe_topic(topic: str, /) -> None:
    """Note that the node has subscribers to a topic; return when every ready node knows it."""


@_note(_PARENT)
def keep_topic_value(topic: str, value: list[bytes], /) -> None:
    """Keep the last value of a topic for those who subscribe later."""


@_call(_PARENT)
async def last_topic_value(topic: str, /) -> list[bytes]:
    """Return the last value of a topic that was kept; nothing if there is none."""


@_note(_PARENT)
def unsubscribe_topic(topic: str, /) -> None:
    """The node no longer has subscribers to a topic."""


@_note(_PARENT)
def request_link(address: str, times: int, /) -> None:
    """Connect the node with the one at *address*, with whose current run it has had *times* links."""


# -- what the parent serves: the life of the node ----------------------------------------------


@_note(_PARENT)
def ready() -> None:
    """The node has booted."""


@_note(_PARENT)
def boot_failed(traceback: str, /) -> None:
    """The node could not boot."""


@_note(_PARENT)
def heartbeat(watched: bool, /) -> None:  # noqa: FBT001 - a wire field
    """The node's loop runs; unless *watched*, its silence means nothing until the next beat."""


@_note(_PARENT)
def over_rss(rss: int, /) -> None:
    """The node holds *rss* bytes, more than its limit."""


@_fd_note(_PARENT)
def stack_dump() -> None:
    """The descriptor is the file that the node writes its stacks to."""


@_fd_note(_PARENT)
def block_page() -> None:
    """The descriptor is memory in which the node says what keeps its loop."""


@_call(_PARENT)
async def stop_node(node: str, grace: float | None, chain: Chain = (), /) -> None:
    """End a node for good; if it is the one that asks, or *chain* waits there, only begin to."""


@_call(_PARENT)
async def drain_node(node: str, grace: float | None, /) -> None:
    """Give a node nothing new; return when no connection is open."""


@_note(_PARENT)
def kill_node(node: str, by: str, /) -> None:
    """Kill a node for *by*; it is restarted."""


# -- what a node serves: actors --------------------------------------------------------------------


@_call(_NODE)
async def start_actor(  # noqa: PLR0917 - wire fields
    uid: int,
    name: str,
    path: str,
    mailbox: int | list[Any],
    incarnation: int,
    fence: int,
    shutdown: float,
    arguments: Sequence[bytes | SharedBuffer],
    chain: Chain,
    state: Sequence[bytes | SharedBuffer],
    /,
) -> None:
    """Start an incarnation of an actor, for which *chain* waits; return when it is ready.

    *state* is what the last one handed over, packed as arguments are; nothing if it did not.
    """


@_note(_NODE)
def take_numbers(first: int, count: int, /) -> None:
    """Start unnamed actors by yourself under these numbers; no numbers at all: ask for every start again."""


@_note(_NODE)
def expect_actor(uid: int, name: str, path: str, mailbox: int | list[Any], /) -> None:
    """Queue messages for an actor that will be started again."""


@_note(_NODE)
def log_record(facts: dict[str, Any], /) -> None:
    """Hand a record of the parent's, which the log has, to the handlers of `logging`."""


@_call(_NODE)
async def answer() -> None:
    """Answer: what the parent had sent before has been read."""


@_note(_NODE)
def actor_unheard(address: str, uid: int, /) -> None:
    """An actor of the node at *address* was killed, and its node does not end it: nobody there will answer."""


@_note(_NODE)
def probe_starting(uid: int, number: int, way: list[list[Any]], /) -> None:
    """Take a deadlock probe of somebody who waits until an actor of this node has started."""


@_note(_NODE)
def actor_gone(uid: int, end: Exit, /) -> None:
    """An actor has ended whose own node may not say so: its thread does not turn."""


@_note(_NODE)
def stop_actor(uid: int, renew: bool, /) -> None:  # noqa: FBT001 - a wire field
    """Ask an actor to stop behind what it has queued; *renew* if it is to hand its state over."""


@_note(_NODE)
def kill_actor(uid: int, /) -> None:
    """End an actor's incarnation now."""


@_note(_NODE)
def release_actor(uid: int, end: Exit, /) -> None:
    """End an actor for good."""


@_note(_BOTH)
def interrupt_request(number: int, /) -> None:
    """Cancel the handler of an ask of the other node, which still waits for the answer."""


@_call(_NODE)
async def child_actors() -> tuple[list[dict[str, Any]], dict[int, list[dict[str, Any]]]]:
    """Return the actors the node supervises: its own, and by the number of an actor its children."""


# -- what a node serves: the other nodes -------------------------------------------------------------


@_note(_NODE)
def node_up(address: str, /) -> None:
    """Another node is ready."""


@_note(_NODE)
def node_draining(address: str, why: str, restarting: bool, patience: float, /) -> None:  # noqa: FBT001 - a wire field
    """Another node takes nothing new; messages wait *patience* seconds for its next run."""


@_note(_NODE)
def node_down(address: str, why: str, restarting: bool, patience: float, /) -> None:  # noqa: FBT001 - a wire field
    """Another node has ended; messages wait *patience* seconds for its next run."""


@_note(_NODE)
def node_seen(facts: list[Any], /) -> None:
    """What is known of a node now, in the order of `SiblingNode.FACTS`."""


@_note(_NODE)
def node_forgotten(name: str, /) -> None:
    """A node has ended for good and is none of the system's nodes any more."""


@_note(_NODE)
def node_moved(name: str, address: str, /) -> None:
    """The actors of another node are at another address from now on."""


@_note(_NODE)
def take_path(path: list[str], /) -> None:
    """The parent's `sys.path` has changed: what comes next may be found by it alone."""


@_note(_NODE)
def take_definition(data: bytes, /) -> None:
    """What was typed in the parent's `__main__`, for a node that cannot import it; see `main_values`."""


@_fd_note(_NODE)
def open_link(address: str, /) -> None:
    """The descriptor is this node's end of a new link to *address*."""


@_call(_NODE)
async def await_link(address: str, /) -> tuple[str, int, str]:
    """Let another process, which has the address *address*, connect; return host, port and ticket for that."""


@_note(_NODE)
def dial_link(
    address: str,
    host: str,
    port: int,
    ticket: str,
    material: dict[str, Any] | None,
    lease: float,
    /,
) -> None:
    """Connect to a node of another machine, which awaits it with that ticket.

    *material* is what this process shows there, None if it has its own.
    """


@_note(_NODE)
def fetch_link(address: str, run: int, number: int, /) -> None:
    """Have the agent give this node its end of the link *number*, to the run *run* of another node there."""


@_note(_AGENT)
def link_wanted(run: int, number: int, /) -> None:
    """Give the node its end of the link *number*; the other end is for the run *run*."""


@_fd_note(_NODE)
def link_end(number: int, /) -> None:
    """The descriptor is this node's end of the link *number*, which it has fetched."""


@_note(_NODE)
def clock_offset(ahead: float, error: float, /) -> None:
    """The parent's clock is so many seconds ahead of the node's, give or take *error*."""


@_note(_NODE)
def link_failed(address: str, why: str, /) -> None:
    """The link to another process, for which this one asked, could not be made."""


@_note(_NODE)
def open_thread_link(address: str, endpoint: Endpoint, /) -> None:
    """*endpoint* is this node's end of a new link to another thread; it goes by reference."""


@_call(_NODE)
async def topic_joined(topic: str, node: str, /) -> None:
    """Another node has subscribers to a topic; answered when this node knows it."""


@_note(_NODE)
def topic_interest(topic: str, node: str, wanted: bool, /) -> None:  # noqa: FBT001 - a wire field
    """Whether another node has subscribers to a topic."""


# -- what a node serves: itself ------------------------------------------------------------------------


@_call(_NODE)
async def stats() -> dict[str, Any]:
    """Return the node's figures."""


@_call(_NODE)
async def sample(seconds: float, rows: int, by: str, match: str, /) -> dict[str, Any]:
    """Return what the node does over *seconds*, and its busiest actors."""


@_call(_NODE)
async def load() -> tuple[float, int]:
    """Return the CPU seconds of the loop's thread, and how many messages are queued."""


@_call(_NODE)
async def task_stacks() -> list[dict[str, Any]]:
    """Return the stacks of the tasks of the node's loop."""


@_note(_NODE)
def leave(seconds: float, /) -> None:
    """Finish what the node has within *seconds*, connections and actors, then end."""


@_note(_NODE)
def shut_down(seconds: float, /) -> None:
    """Finish open connections within *seconds*, then end; the actors have ended already."""


@_note(_NODE)
def end_now() -> None:
    """End without finishing anything."""
