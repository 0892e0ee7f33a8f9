"""Actors that are supervised on their own node: the children of an actor, and a node's own actors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from actors._actor.base import Actor
from actors._base.errors import InvalidSpec
from actors._messaging.deadlock import waiting_chain
from actors._messaging.mailbox_options import check_mailbox
from actors._remoting.constructor_args import keep_arguments
from actors.nodes.supervised_actor import PLAIN_BACKOFF, ActorRun, SupervisedActor
from actors.supervisors import (
    Backoff,
    ChildInfo,
    ChildNotStarted,
    ChildSpec,
    DynamicSupervisor,
    Exit,
    Restart,
)

if TYPE_CHECKING:
    from anyio.abc import TaskGroup

    from actors._base.loop import Loop
    from actors._messaging.mailbox_options import MailboxOption
    from actors._messaging.ref import Ref
    from actors._remoting.actor_host import ActorHost
    from actors.nodes._local import LocalNode

__all__ = ["ChildActors", "check_actor_options", "child_actors_of", "child_facts"]


def check_actor_options(
    cls: object,
    name: object,
    mailbox: object,
    *,
    restart: object = None,
    backoff: object = None,
    shutdown: object = 0.0,
) -> None:
    """Refuse what can never be an actor, or a policy for one, before anything starts.

    Raises:
        InvalidSpec: naming the bad value.
    """
    if not isinstance(cls, type) or not issubclass(cls, Actor) or cls is Actor:
        hint = ""
        if isinstance(cls, Actor):
            hint = f": give its class and arguments, spawn({type(cls).__name__}, ...)"
        raise InvalidSpec(f"spawn takes a subclass of actors.Actor, got {cls!r}{hint}")
    if name is not None and (not isinstance(name, str) or not name):
        raise InvalidSpec(f"{cls.__name__}: name must be a non-empty text, got {name!r}")
    check_mailbox(cls.__name__, mailbox)
    for what, value, kind in (("restart", restart, Restart), ("backoff", backoff, Backoff)):
        if value is not None and not isinstance(value, kind):
            raise InvalidSpec(f"{cls.__name__}: {what} must be a {kind.__name__}, got {value!r}")
    if isinstance(shutdown, bool) or not isinstance(shutdown, int | float) or not shutdown >= 0:
        raise InvalidSpec(f"{cls.__name__}: shutdown must be 0 or more seconds, got {shutdown!r}")


def child_facts(info: ChildInfo) -> dict[str, Any]:
    """Return the information of a supervisor about a child as plain data."""
    facts: dict[str, Any] = {
        "name": info.name,
        "kind": info.kind,
        "state": info.state.value,
        "restart": info.restart.value,
        "restarts": info.restarts,
        "last_exit": None if info.last_exit is None else str(info.last_exit),
    }
    if isinstance(info.child, ActorRun):
        ref = info.child.ref
        # The address of a run that took over from another has a number behind the node's name.
        node = ref.node.partition("~")[0]
        facts |= {"kind": "actor", "node": node, "class": ref.cls_path, "uid": ref.uid}
    return facts


def child_actors_of(
    host: ActorHost, own: ChildActors | None
) -> tuple[list[dict[str, Any]], dict[int, list[dict[str, Any]]]]:
    """Return who is supervised on this node.

    Args:
        host: the node.
        own: those that are the node's own, if there are any.

    Returns:
        The node's own, and by the number of an actor its children.
    """
    parents = [
        (uid, cell.incarnation) for uid, cell in host.cells.items() if cell.incarnation is not None
    ]
    children = {uid: run.children for uid, run in parents if run.children is not None}
    below = {uid: actors.describe() for uid, actors in children.items()}
    return ([] if own is None else own.describe()), below


class ChildActors:
    """A dynamic supervisor of actors on this node; they end with the node at the latest."""

    def __init__(self, host: ActorHost, local: LocalNode, name: str, tasks: TaskGroup) -> None:
        self.loop: Loop = host.loop
        self._runtime = host
        self._local = local
        self._supervisor = DynamicSupervisor(name, tasks=tasks, report=host.report)

    async def open(self) -> ChildActors:
        """Start the supervisor, without any actors."""
        await self._supervisor.start()
        return self

    async def spawn(
        self,
        cls: type,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        /,
        *,
        name: str | None = None,
        restart: Restart | None = None,
        backoff: Backoff | None = None,
        mailbox: MailboxOption = 1024,
        **_options: Any,
    ) -> Ref[Any]:
        """Start an actor here and return its ref when it is ready."""
        check_actor_options(cls, name, mailbox, restart=restart, backoff=backoff)
        host = self._runtime
        args, kwargs = keep_arguments(args, kwargs)
        uid = host.new_uid()
        key = name or f"{cls.__name__}-{uid & 0xFFFFFFFF}@{host.name}"
        cell = host.new_cell(uid, key, cls, mailbox)
        try:
            if name is not None:
                await host.services.claim(cell.ref)
            life = SupervisedActor(
                self, self._local, cell.ref, cls, args, kwargs, named=name is not None
            )
            spec = ChildSpec(
                name=key,
                start=life.new_run,
                restart=restart or Restart.TRANSIENT,
                backoff=backoff or PLAIN_BACKOFF,
                gone=life.gone,
            )
            life.supervisor = self._supervisor
            life.chain = waiting_chain()
            host.supervised[uid] = life
            await self._supervisor.start_child(spec)
        except BaseException as error:
            cell.end_for_good(Exit.KILLED)
            host.supervised.pop(uid, None)
            if isinstance(error, ChildNotStarted) and error.__cause__ is not None:
                raise error.__cause__ from error.__cause__.__cause__
            raise
        return cell.ref

    def life_ended(self, life: SupervisedActor, _end: Exit) -> None:
        """Forget it; its cell frees its name."""
        self._runtime.supervised.pop(life.ref.uid, None)

    def uids(self) -> list[int]:
        """Return the uids of its actors."""
        runs = [info.child for info in self._supervisor.children()]
        return [run.ref.uid for run in runs if isinstance(run, ActorRun)]

    def describe(self) -> list[dict[str, Any]]:
        """Return the current children in start order; their own children are in other `ChildActors`."""
        return [child_facts(info) for info in reversed(self._supervisor.children())]

    async def aclose(self, *, kill: bool = False) -> None:
        """End all its actors together: stop them, or kill them, also if stopping has begun."""
        (self._supervisor.kill if kill else self._supervisor.stop)()
        await self._supervisor.wait()
