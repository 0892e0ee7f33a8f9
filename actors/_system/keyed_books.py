"""The address books of a running system, in the process that made it; and who uses them."""

from __future__ import annotations

from dataclasses import astuple
from itertools import count
from typing import TYPE_CHECKING, Any

from actors._base.errors import ActorsError, InvalidSpec
from actors._keyed import IdleWatch, Keyed, KeyedClients, check_key
from actors._remoting import directory_operations as directory
from actors._system.keyed_control import KeyedControl
from actors._system.keyed_spec import KeyedSpec
from actors._system.sent_specs import tree_item_from
from actors._system.supervision_tree import first_cause
from actors.supervisors import ChildNotStarted

if TYPE_CHECKING:
    from actors._actor.cell import Cell
    from actors._keyed import Holder, Key
    from actors._messaging.ref import Ref
    from actors._remoting.operations import Chain
    from actors._system.node_groups import NodeGroups
    from actors._system.placement import Placement
    from actors._system.supervision_tree import SupervisionTree
    from actors._system.supervisor_handle import SupervisorHandle
    from actors._system.system_state import SystemState
    from actors.nodes import Link

__all__ = ["KeyedBooks"]


class _NodeHolder:
    """A node that has addresses of books (`Holder`)."""

    def __init__(self, link: Link) -> None:
        self.link = link

    async def recall(self, book: int, key: Key, uid: int, *, idle: bool) -> bool:
        """As `Holder.recall`."""
        return await self.link.call(directory.recall_keyed, book, key, uid, idle)

    def gone(self, book: int, key: Key, uid: int) -> None:
        """As `Holder.gone`."""
        self.link.note(directory.keyed_gone, book, key, uid)

    def book_ended(self, book: int, why: str) -> None:
        """As `Holder.book_ended`."""
        self.link.note(directory.keyed_ended, book, why)


class KeyedBooks:
    """Makes and finds books, and serves the nodes that use them; the `KeyedOffice` of this process."""

    def __init__(self, state: SystemState) -> None:
        self._state = state
        self._tree: SupervisionTree
        self._groups: NodeGroups
        self._placement: Placement
        self._numbers = count(1)
        self._controls: dict[int, KeyedControl] = {}
        self._names: dict[str, KeyedControl] = {}
        self._holders: dict[str, _NodeHolder] = {}
        self._idle_watch = IdleWatch(state.host, self._idle)
        self.clients: KeyedClients = KeyedClients(state.host, self)

    def connect(self, tree: SupervisionTree, groups: NodeGroups, placement: Placement) -> None:
        """Give it what starts actors, and serve the nodes."""
        self._tree = tree
        self._groups = groups
        self._placement = placement
        groups.scaled = self._group_scaled
        self._serve()

    # -- the life of books ------------------------------------------------------------------------

    def begin(self, spec: KeyedSpec[Any, Any], handle: SupervisorHandle) -> None:
        """A book's supervisor is about to start, for the first time or again.

        Raises:
            InvalidSpec: there is another book of that name.
        """
        control = self._names.get(spec.name)
        if control is not None and control.spec is spec:
            return
        if control is not None:
            raise InvalidSpec(f"there is a keyed({spec.name!r}) already")
        number = next(self._numbers)
        made = KeyedControl(
            self._state, self._groups, self._placement, self._idle_watch, spec, number, handle
        )
        self._controls[number] = self._names[spec.name] = made

    def gone(self, spec: KeyedSpec[Any, Any]) -> None:
        """The supervisor of a book has ended for good."""
        control = self._names.get(spec.name)
        if control is None or control.spec is not spec:
            return
        del self._names[spec.name]
        number, why = control.facts.number, "it has ended"
        self._controls.pop(number, None)
        control.end(why)
        holders: list[Holder] = [self.clients, *self._holders.values()]
        for holder in holders:
            holder.book_ended(number, why)

    async def start(self, spec: KeyedSpec[Any, Any], chain: Chain = ()) -> Keyed[Any, Any]:
        """Start a book at the top of the tree, for which *chain* waits.

        Raises:
            InvalidSpec: there is one of that name.
        """
        if spec.name in self._names:
            raise InvalidSpec(f"there is a keyed({spec.name!r}) already")
        try:
            await self._tree.find("").start_child(spec, chain)
        except ChildNotStarted as error:
            cause = first_cause(error)
            raise cause from cause.__cause__
        return self.clients.book(self._fields(spec.name))

    def named(self, name: str) -> Keyed[Any, Any] | None:
        """Return the book of that name, if there is one."""
        return self.clients.book(self._fields(name)) if name in self._names else None

    def _fields(self, name: str) -> list[Any]:
        return list(astuple(self._names[name].facts))

    def _running(self, number: int) -> KeyedControl:
        control = self._controls.get(number)
        if control is None:
            raise ActorsError("this book of keyed actors has ended")
        return control

    # -- `KeyedOffice`, for the code of this process ------------------------------------------------

    def starting(self, name: str) -> Cell | None:
        """As `KeyedOffice.starting`, for actors of the local node."""
        uid = self._state.registry.starting(name)
        return None if uid is None else self._state.host.cells.get(uid)

    async def find(self, book: int, key: Key, ended: int, chain: Chain) -> Ref[Any]:
        """As `KeyedOffice.find`."""
        return await self._find(book, key, self.clients, ended, chain)

    async def stop(self, book: int, key: Key, grace: float | None, chain: Chain) -> bool:
        """As `KeyedOffice.stop`."""
        return await self._running(book).stop(key, grace, chain)

    async def keys(self, book: int) -> list[Key]:
        """As `KeyedOffice.keys`."""
        return self._running(book).keys()

    async def has(self, book: int, key: Key) -> bool:
        """As `KeyedOffice.has`."""
        return self._running(book).has(key)

    async def count(self, book: int) -> int:
        """As `KeyedOffice.count`."""
        return len(self._running(book).keys())

    async def _find(
        self, book: int, key: Key, holder: Holder, ended: int, chain: Chain
    ) -> Ref[Any]:
        control = self._running(book)
        return await control.find(key, holder, ended, chain)

    # -- what nodes ask and report -------------------------------------------------------------------

    def _serve(self) -> None:
        handlers = self._state.host.handlers
        handlers.on_call(directory.start_keyed, self._start)
        handlers.on_call(directory.keyed, self._keyed)
        handlers.on_call(directory.find_keyed, self._find_for)
        handlers.on_call(directory.stop_keyed, lambda _, *asked: self.stop(*asked))
        handlers.on_call(directory.keyed_keys, lambda _, book: self.keys(book))
        handlers.on_call(directory.has_keyed, lambda _, book, key: self.has(book, key))
        handlers.on_call(directory.count_keyed, lambda _, book: self.count(book))
        handlers.on_note(directory.keyed_idle, self._node_idle)

    async def _start(self, _link: Link, item: dict[str, Any], chain: Chain = ()) -> list[Any]:
        spec = tree_item_from(item)
        if not isinstance(spec, KeyedSpec):
            raise InvalidSpec(f"a node describes a book of keyed actors, got {str(item)[:80]!r}")
        await self.start(spec, chain)
        return self._fields(spec.name)

    async def _keyed(self, _link: Link, name: str) -> list[Any] | None:
        return self._fields(name) if name in self._names else None

    async def _find_for(
        self, link: Link, book: int, key: Key, ended: int, chain: Chain = ()
    ) -> Ref[Any]:
        check_key(self._running(book).spec.name, key)
        return await self._find(book, key, self._holder(link), ended, chain)

    def _holder(self, link: Link) -> _NodeHolder:
        holder = self._holders.get(link.peer)
        if holder is None or holder.link is not link:
            holder = self._holders[link.peer] = _NodeHolder(link)
        return holder

    def _node_idle(self, link: Link, book: int, uid: int) -> None:
        run, actor = self._state.runs.get(link.peer), self._state.supervised.get(uid)
        if run is not None and actor is not None and actor.place is run.node:
            self._idle(book, uid)

    def _idle(self, book: int, uid: int) -> None:
        control = self._controls.get(book)
        if control is not None:
            control.idle(uid)

    def node_ended(self, address: str) -> None:
        """Forget what a node had, which has ended."""
        holder = self._holders.pop(address, None)
        if holder is not None:
            for control in self._controls.values():
                control.holder_gone(holder)

    def _group_scaled(self, group: str) -> None:
        for control in self._controls.values():
            control.group_scaled(group)
