"""A channel layer for Django Channels: groups across the nodes of a system, without a Redis beside it.

In Django's settings::

    CHANNEL_LAYERS = {"default": {"BACKEND": "actors.channels.TopicLayer"}}

The channel of a consumer lives on the node of the consumer, and so does its place in a group; what is sent to
a group is a topic, which only nodes with members of it get. A channel whose name belongs to no process is
a queue of an actor, from which each message goes to one receiver.

Rule: as in every channel layer a message arrives once or not at all. A full channel of another node loses
messages without an error, as do the members of a group that are full.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections import deque
from contextlib import suppress
from copy import deepcopy
from typing import TYPE_CHECKING, Any, Final

import anyio
from channels.exceptions import ChannelFull
from channels.layers import BaseChannelLayer

from actors._actor.base import Actor
from actors._base.errors import ActorCrashed, ActorsError, DeadlineExceeded, NodeDown
from actors._messaging.handler_options import concurrent
from actors._system.system import System, current

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors._messaging.ref import Ref
    from actors._messaging.topic import Topic

__all__ = ["TopicLayer"]

_log: Final = logging.getLogger("actors.channels")
_AGAIN: Final = 0.05
"""Seconds after which a queue is asked again whose node has died."""

Content = dict[str, Any]


class _Inbox:
    """The messages of one channel that wait for a receiver."""

    def __init__(self) -> None:
        self.messages: deque[tuple[float, Content]] = deque()
        self.receivers = 0
        self.arrived = anyio.Event()

    def drop_expired(self) -> bool:
        """Drop messages that nobody took in time; return whether there were any."""
        now, before = time.time(), len(self.messages)
        while self.messages and self.messages[0][0] <= now:
            self.messages.popleft()
        return len(self.messages) < before


class _Inboxes:
    """The channels of one process, each with a bounded number of messages.

    Args:
        unread: called with the name of a channel whose messages nobody takes.
    """

    def __init__(self, unread: Callable[[str], object] = lambda _: None) -> None:
        self.channels: dict[str, _Inbox] = {}
        self._unread = unread
        self._next_sweep = 0.0

    def put(self, channel: str, expires: float, message: Content, capacity: int) -> bool:
        """Add a message; return whether there was room. It is dropped at *expires*, a time of day."""
        if time.monotonic() >= self._next_sweep:
            self._next_sweep = time.monotonic() + max(0.0, expires - time.time())
            self._sweep()
        inbox = self.channels.setdefault(channel, _Inbox())
        if inbox.drop_expired():
            self._unread(channel)
        if len(inbox.messages) >= capacity:
            return False
        inbox.messages.append((expires, message))
        inbox.arrived.set()
        return True

    async def get(self, channel: str) -> Content:
        """Wait for the next message."""
        inbox = self.channels.setdefault(channel, _Inbox())
        inbox.receivers += 1
        try:
            inbox.drop_expired()
            while not inbox.messages:
                if inbox.arrived.is_set():
                    inbox.arrived = anyio.Event()
                await inbox.arrived.wait()
                inbox.drop_expired()
            return inbox.messages.popleft()[1]
        finally:
            inbox.receivers -= 1
            self._forget_idle(channel, inbox)

    def _forget_idle(self, channel: str, inbox: _Inbox) -> None:
        if not (inbox.messages or inbox.receivers) and self.channels.get(channel) is inbox:
            del self.channels[channel]

    def _sweep(self) -> None:
        """Forget the channels whose receivers have gone; done once in the time that a message lives."""
        for channel, inbox in list(self.channels.items()):
            if inbox.drop_expired():
                self._unread(channel)
            self._forget_idle(channel, inbox)


class ChannelQueues(Actor):
    """The channels that belong to no process: each message of one goes to one receiver on any node."""

    def __init__(self) -> None:
        self._inboxes = _Inboxes()

    async def put(self, channel: str, expires: float, message: Content, capacity: int) -> bool:
        """Add a message to a channel; return whether there was room."""
        return self._inboxes.put(channel, expires, message, capacity)

    @concurrent
    async def take(self, channel: str) -> Content:
        """Return the next message of a channel, when there is one."""
        return await self._inboxes.get(channel)

    async def flush(self) -> None:
        """Drop all messages."""
        self._inboxes.channels.clear()


class _Group:
    """The members of a group that are channels of this process; a subscriber of the group's topic."""

    def __init__(self, name: str, here: _Here) -> None:
        self.name = name
        self.members: dict[str, float] = {}
        """When each has joined, by the monotonic clock."""
        self.queues: Ref[ChannelQueues] | None = None
        self._topic = here.topic("group", name)
        self._here = here
        self._lock = asyncio.Lock()
        self._joined = False

    async def join(self) -> None:
        """Return when every node knows that this one has members."""
        async with self._lock:
            if not self._joined:
                await self._topic.join(self)
                self._joined = True

    def leave(self) -> None:
        """Take part no more: there are no members."""
        self._topic.leave(self)

    def put(self, value: Any) -> None:
        """Take what was sent to the group, or the name of a channel that was discarded from it."""
        if isinstance(value, str):
            self._here.discard(self, value)
            return
        expires, message = value
        oldest = time.monotonic() - self._here.group_expiry
        for channel, since in list(self.members.items()):
            if since < oldest:
                self._here.discard(self, channel)
            elif channel in self.members:  # none that was found unread just now
                self._here.deliver(channel, expires, deepcopy(message), self.queues)

    def miss(self, count: int) -> None:
        """Take note of messages that were lost."""
        _log.error("%d messages to %s were lost: this node was too slow", count, self._topic)


class _Here:
    """What this process has of a layer; a subscriber of the topic of its own channels."""

    def __init__(self, system: System, layer: TopicLayer) -> None:
        self.system = system
        self.id = uuid.uuid4().hex
        self.group_expiry: float = layer.group_expiry
        self.groups: dict[str, _Group] = {}
        self.inboxes = _Inboxes(self._discard_everywhere)
        self._tasks: set[asyncio.Task[None]] = set()
        self._layer = layer
        self._joined = False
        self._lock = asyncio.Lock()

    def topic(self, *parts: str) -> Topic:
        """Return a topic of the layer."""
        return self.system.topic("/".join(("channels", self._layer.prefix, *parts)))

    async def join(self) -> None:
        """Return when every node can reach the channels of this one."""
        async with self._lock:
            if not self._joined:
                await self.topic("of", self.id).join(self)
                self._joined = True

    def put(self, value: Any) -> None:
        """Take a message for a channel of this process, or a group that one has been added to."""
        channel, expires, what = value
        if expires:
            self.deliver(channel, expires, what, None)
        else:
            task = asyncio.get_running_loop().create_task(self._layer.group_add(what, channel))
            self._tasks.add(task)
            task.add_done_callback(self._added)

    def _added(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            _log.error("a channel was not added to a group", exc_info=task.exception())

    def miss(self, count: int) -> None:
        """Take note of messages that were lost."""
        _log.error("%d messages to channels of this node were lost: it was too slow", count)

    def deliver(
        self, channel: str, expires: float, message: Content, queues: Ref[ChannelQueues] | None
    ) -> None:
        """Add a message to a channel, unless that is full."""
        capacity = self._layer.get_capacity(channel)
        if _owner(channel):
            self.inboxes.put(channel, expires, message, capacity)
        elif queues is not None:
            with suppress(ActorsError):  # full, or its node is away: as if the channel was full
                queues.tell_nowait(ChannelQueues.put, channel, expires, message, capacity)

    def discard(self, group: _Group, channel: str) -> None:
        """Remove a channel from a group of this process."""
        group.members.pop(channel, None)
        if not group.members and self.groups.get(group.name) is group:
            del self.groups[group.name]
            group.leave()

    def _discard_everywhere(self, channel: str) -> None:
        for group in list(self.groups.values()):
            if channel in group.members:
                self.discard(group, channel)


class TopicLayer(BaseChannelLayer):
    """The channel layer; ``CONFIG`` in the settings has its arguments.

    Args:
        expiry: seconds for which a message waits for a receiver.
        group_expiry: seconds for which a channel stays in a group.
        capacity: messages that wait in one channel; `send` to one that is full raises `ChannelFull`.
        channel_capacity: other capacities, by patterns of channel names.
        prefix: layers with the same one belong together.
    """

    extensions = ("groups", "flush")

    def __init__(
        self,
        expiry: float = 60,
        group_expiry: float = 86_400,
        capacity: int = 100,
        channel_capacity: dict[Any, int] | None = None,
        *,
        prefix: str = "default",
    ) -> None:
        super().__init__(expiry=expiry, capacity=capacity)
        self.channel_capacity = self.compile_capacities(channel_capacity or {})
        self.group_expiry = group_expiry
        self.prefix = prefix
        self._opened: _Here | None = None

    def _here(self) -> _Here:
        """Return what this process has; a node that was forked, or another system, has its own."""
        system = current()
        here = self._opened
        if here is None or here.system is not system:
            here = self._opened = _Here(system, self)
        return here

    async def _queues(self) -> Ref[ChannelQueues]:
        system = self._here().system
        group = system.node.name.rpartition("/")[0] or system.node.name
        return await system.spawn(
            ChannelQueues, name=f"channels-{self.prefix}", on=group, if_exists="return"
        )

    async def new_channel(self, prefix: str = "specific") -> str:
        """Return the name of a new channel of this process."""
        here = self._here()
        await here.join()
        return f"{prefix.rstrip('.')}.{here.id}!{uuid.uuid4().hex}"

    async def send(self, channel: str, message: Content) -> None:
        """Send a message to a channel.

        Raises:
            ChannelFull: there is no room in it; never for a channel of another node.
            TypeError: *channel* is no name of a channel, or *message* no dict.
        """
        self._check(message)
        self.require_valid_channel_name(channel)
        here, owner = self._here(), _owner(channel)
        expires, capacity = time.time() + self.expiry, self.get_capacity(channel)
        if not owner:
            queues = await self._queues()
            taken = await queues.ask(ChannelQueues.put, channel, expires, message, capacity)
        elif owner == here.id:
            taken = here.inboxes.put(channel, expires, deepcopy(message), capacity)
        else:
            taken = True
            here.topic("of", owner).publish((channel, expires, message))
        if not taken:
            raise ChannelFull(channel)

    async def receive(self, channel: str) -> Content:
        """Wait for the next message of a channel, which is one of this process or of none.

        Raises:
            TypeError: *channel* is no name of a channel.
            ValueError: it is a channel of another process.
        """
        self.require_valid_channel_name(channel)
        here, owner = self._here(), _owner(channel)
        if owner:
            if owner != here.id:
                raise ValueError(
                    f"only the process that made a channel receives from it: {channel!r}"
                )
            return await here.inboxes.get(channel)
        while True:
            queues = await self._queues()
            try:
                return await queues.ask(ChannelQueues.take, channel)
            except (ActorCrashed, DeadlineExceeded, NodeDown):
                await asyncio.sleep(_AGAIN)

    async def group_add(self, group: str, channel: str) -> None:
        """Add a channel to a group; when this returns, the next message to the group reaches it.

        For a channel of another process it reaches it soon.
        """
        self.require_valid_group_name(group)
        self.require_valid_channel_name(channel)
        here, owner = self._here(), _owner(channel)
        if owner and owner != here.id:
            here.topic("of", owner).publish((channel, 0, group))
            return
        of_group = here.groups.get(group)
        if of_group is None:
            of_group = here.groups[group] = _Group(group, here)
        of_group.members[channel] = time.monotonic()
        if not owner:
            of_group.queues = await self._queues()
        await of_group.join()
        if not of_group.members:  # they were discarded meanwhile
            of_group.leave()

    async def group_discard(self, group: str, channel: str) -> None:
        """Remove a channel from a group, if it is in it."""
        self.require_valid_group_name(group)
        self.require_valid_channel_name(channel)
        here = self._here()
        if _owner(channel) != here.id:
            here.topic("group", group).publish(channel)
        elif (of_group := here.groups.get(group)) is not None:
            here.discard(of_group, channel)

    async def group_send(self, group: str, message: Content) -> None:
        """Send a message to all channels of a group, on whichever node they are.

        Raises:
            TypeError: *group* is no name of a group, or *message* no dict.
        """
        self._check(message)
        self.require_valid_group_name(group)
        self._here().topic("group", group).publish((time.time() + self.expiry, message))

    async def flush(self) -> None:
        """Drop all messages and groups of this process, and those of the channels that belong to none."""
        here = self._here()
        for group in list(here.groups.values()):
            group.members.clear()
            here.discard(group, "")
        here.inboxes.channels.clear()
        await (await self._queues()).ask(ChannelQueues.flush)

    async def close(self) -> None:
        """Do nothing: what the layer has ends with its system."""

    @staticmethod
    def _check(message: object) -> None:
        if not isinstance(message, dict):
            raise TypeError(f"a message is a dict, got {message!r}")


def _owner(channel: str) -> str:
    """Return which process a channel belongs to; an empty text if it belongs to none."""
    return channel.partition("!")[0].rpartition(".")[2] if "!" in channel else ""
