"""Placement: the node and the name of every actor that the parent supervises, and the actor's start."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from actors._base.errors import InvalidSpec, NameTaken, SystemStopped
from actors._base.options import check_on
from actors._messaging.mailbox_options import MailboxOption
from actors._messaging.ref import Ref
from actors._system.node_groups import MAIN_GROUP
from actors._system.supervision_tree import first_cause
from actors._system.tree_specs import Arguments, path_of
from actors.nodes import (
    PLAIN_BACKOFF,
    LocalNode,
    RemoteNode,
    SupervisedActor,
    check_actor_options,
    describe_main,
    generated_name,
    keep_arguments,
    main_problem,
    pack_arguments,
    unpack_arguments,
)
from actors.routing import owner
from actors.supervisors import Backoff, ChildNotStarted, Exit, Restart
from actors.transport import copy_error, drop_frames

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors._base.loop import Loop
    from actors._remoting.operations import Chain
    from actors._system.node_groups import NodeGroups
    from actors._system.supervision_tree import SupervisionTree
    from actors._system.system_state import SystemState
    from actors._system.tree_specs import ActorSpec

__all__ = ["ActorRequest", "Placement"]

_IF_EXISTS: Final = ("raise", "return")


@dataclass(frozen=True, slots=True, kw_only=True)
class ActorRequest:
    """An actor to start; see `System.spawn`."""

    path: str
    cls: type | None
    arguments: Arguments
    name: str | None = None
    on: str | None = None
    restart: Restart | None = None
    backoff: Backoff | None = None
    mailbox: MailboxOption = 1024
    shutdown: float = 5.0
    if_exists: Literal["raise", "return"] = "raise"
    turn: int | None = None
    chain: Chain = ()

    def __post_init__(self) -> None:
        if self.if_exists not in _IF_EXISTS:
            raise InvalidSpec(f"if_exists must be 'raise' or 'return', got {self.if_exists!r}")
        check_on("", self.on)


class Placement:
    """Places and starts actors for the whole system, and forgets them at their end."""

    def __init__(
        self,
        state: SystemState,
        tree: SupervisionTree,
        groups: NodeGroups,
        joined: Callable[[ActorSpec[Any], SupervisedActor], None],
    ) -> None:
        self.loop: Loop = state.loop
        self._joined_pool = joined
        self._state = state
        self._tree = tree
        self._groups = groups
        self._turns = itertools.count()

    async def spawn(self, request: ActorRequest) -> Ref[Any]:
        """Start an actor under the system's dynamic supervisor, or find the one of that name."""
        state = self._state
        if state.stopping:
            raise SystemStopped("the system is stopping: it starts no more actors")
        name = request.name
        if name is None:
            return await self._start(request)
        if request.if_exists == "return":
            found = await state.registry.find(name, request.chain)
            if found is not None and found.cls_path != request.path:
                raise NameTaken(name, found, request.path)
            if found is not None:
                return found
        state.registry.claim(name)
        ref: Ref[Any] | None = None
        try:
            ref = await self._start(request)
        finally:
            # An actor that ended as soon as it had started has freed its name already.
            alive = ref is not None and ref.uid in state.supervised
            state.registry.settle(name, ref if alive else None)
        return ref

    async def _start(self, request: ActorRequest) -> Ref[Any]:
        await self.ensure_main(request.on)
        actor = self.new_actor(self.place_for(request.on, request.name, request.turn), request)
        restart, backoff = request.restart or Restart.TRANSIENT, request.backoff or PLAIN_BACKOFF
        try:
            await self._tree.add_actor(actor, restart, backoff, request.shutdown)
        except BaseException as error:
            actor.gone(Exit.KILLED)
            if isinstance(error, ChildNotStarted):
                cause = first_cause(error)
                raise cause from cause.__cause__
            raise
        return actor.ref

    def group_of(self, on: str | None) -> str:
        """Return the node or group that *on* names; the system's default for None."""
        local = self._state.local
        return on or (MAIN_GROUP if local is None else local.name)

    async def ensure_main(self, on: str | None) -> None:
        """Start the group for unplaced actors before the first of them."""
        if on in {None, MAIN_GROUP}:
            await self._groups.ensure_main()

    def place_for(
        self, on: str | None, name: str | None, turn: int | None = None
    ) -> LocalNode | RemoteNode:
        """Return where an actor goes: a node, or by its name one of a group.

        Raises:
            InvalidSpec: there is no such node or group.
            NodeDown: it is not ready.
        """
        state = self._state
        if state.local is not None and on in {None, state.local.name}:
            return state.local
        on = on or MAIN_GROUP
        node = state.nodes.get(on)
        if node is None:
            members = state.group(on)
            if not members:
                known = sorted({*state.nodes, *(item.group for item in state.nodes.values())})
                there = ", ".join(known) or "none"
                raise InvalidSpec(f"on={on!r} is no node or group; there are {there}")
            node = self._one_of(members, name if turn is None else turn)
        if not node.ready:
            raise state.host.peer(node.address).down_error(name or node.name, None)
        return node

    def _one_of(self, members: list[RemoteNode], name: str | int | None) -> RemoteNode:
        """Return the node for a name or number, which stays the same; without either, the next in turn."""
        if isinstance(name, int):
            return members[name % len(members)]
        ready = [node for node in members if node.ready] or members
        if name is None:
            return ready[next(self._turns) % len(ready)]
        slot = owner(name.encode(), [node.slot for node in ready])
        return next(node for node in ready if node.slot == slot)

    def new_actor(self, place: LocalNode | RemoteNode, request: ActorRequest) -> SupervisedActor:
        """Make a supervised actor; on the local node its mailbox takes messages from now on."""
        state = self._state
        uid = state.host.new_uid()
        name = request.name or generated_name(request.path, uid)
        if isinstance(place, LocalNode):
            actor = self._new_local_actor(place, uid, name, request)
        else:
            arguments = request.arguments
            if isinstance(arguments, tuple):
                _check_travels(request, place)
                far = bool(place.place)
                arguments = pack_arguments(state.host, *arguments, leave_machine=far)
            ref: Ref[Any] = Ref(
                state.host, uid, place.name, name, request.path, request.mailbox, request.cls
            )
            actor = SupervisedActor(
                self, place, ref, request.cls, arguments=arguments, shutdown=request.shutdown
            )
        actor.chain = tuple((number, name) for number, name in request.chain)
        state.registry.starts(name, uid)
        state.supervised[uid] = actor
        return actor

    def _new_local_actor(
        self, place: LocalNode, uid: int, name: str, request: ActorRequest
    ) -> SupervisedActor:
        host = self._state.host
        cls = request.cls or host.resolve_class(*request.path.split(":"))
        check_actor_options(cls, name, request.mailbox)  # a node may ask for any path
        arguments = request.arguments
        if isinstance(arguments, list):
            arguments = unpack_arguments(host, arguments)
        args, kwargs = keep_arguments(*arguments)
        cell = host.new_cell(uid, name, cls, request.mailbox)
        return SupervisedActor(self, place, cell.ref, cls, args, kwargs, shutdown=request.shutdown)

    def new_static_actor(self, spec: ActorSpec[Any]) -> SupervisedActor:
        """Make the supervised actor of a static child, and claim its name."""
        registry, sent = self._state.registry, spec.sent
        request = ActorRequest(
            path=path_of(spec),
            cls=spec.cls if sent is None else None,
            arguments=(spec.args, dict(spec.kwargs)) if sent is None else sent.arguments,
            name=spec.name,
            mailbox=spec.mailbox,
            shutdown=spec.shutdown,
        )
        place = self.place_for(spec.on, spec.name, spec.turn)
        registry.claim(spec.name)
        actor: SupervisedActor | None = None
        try:
            actor = self.new_actor(place, request)
        finally:
            registry.settle(spec.name, None if actor is None else actor.ref)
        if spec.pool:
            self._joined_pool(spec, actor)
        return actor

    def life_ended(self, actor: SupervisedActor, end: Exit) -> None:
        """An actor has ended for good: free its name before those who watch it are told."""
        state, ref = self._state, actor.ref
        state.supervised.pop(ref.uid, None)
        if end.error is not None and end.error.__traceback__ is not None:
            # Whoever asked for the start gets the error itself; what is remembered has no frames.
            light = copy_error(end.error, lambda part: part)
            drop_frames(light)
            end = Exit.CRASHED(light)
        state.host.remember(ref.uid, end)
        state.registry.release(ref.name, ref.uid)


def _check_travels(request: ActorRequest, place: RemoteNode) -> None:
    """Refuse a class that another process could not import, by name."""
    path = request.path
    if place.place and path.startswith("__main__"):
        stem = Path(describe_main().get("file", "main.py")).stem
        raise InvalidSpec(
            f"{path.rpartition(':')[2]} cannot run on {place.name}, on another machine: the file that was "
            f"started as __main__ stays on this one; put it in a module that all have, {stem}_actors.py say"
        )
    if "<locals>" in path:
        raise InvalidSpec(
            f"{path} is defined inside a function: "
            "a process node cannot import it; move it to a module"
        )
    of_main = path.startswith("__main__:")
    if request.cls is not None and of_main and (problem := main_problem(request.cls)):
        raise InvalidSpec(f"{path.rpartition(':')[2]} cannot run on a process node: {problem}")
    if request.cls is not None:
        check_actor_options(request.cls, None, 1)
