"""The fork server that one system of this process leaves to the next one, where that was asked for.

To start one takes 0.2 to 0.4 s of processor time: most of the price of a short test with a process node.
"""

from __future__ import annotations

import os
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

    from actors.nodes.boot.fork_server import ForkServer
    from actors.nodes.boot.launch import Launch, LaunchContext

__all__ = ["KEPT", "KeptForkServer"]


class KeptForkServer:
    """Keeps one fork server while nobody uses it; from any thread.

    One that has code of the user (`nodes(preload=)`) is never kept: another system is to get it anew.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open = 0
        self._pid = 0
        """The process that keeps it: a fork of that one would get siblings for its nodes, not children."""
        self._server: ForkServer | None = None

    @property
    def pid(self) -> int | None:
        """The process that is kept now, if there is one."""
        server = self._server
        return None if server is None else server.pid

    @property
    def fileno(self) -> int | None:
        """The descriptor by which it is kept."""
        server = self._server
        return None if server is None else server.fileno

    @contextmanager
    def keeping(self) -> Iterator[None]:
        """Keep one during the block, which may stand inside another one; end it afterwards."""
        with self._lock:
            self._open += 1
            self._pid = os.getpid()
        try:
            yield
        finally:
            with self._lock:
                self._open -= 1
                last = not self._open
            if last:
                self.drop()

    def keeps(self, server: ForkServer) -> bool:
        """Return whether `put` would keep it, if it comes to nothing else before."""
        here = self._open > 0 and self._pid == os.getpid()
        return here and server.ready and not server.has_user_code

    def put(self, server: ForkServer) -> None:
        """Keep it for the next who takes it, or end it."""
        with self._lock:
            if self._server is None and self.keeps(server) and not server.ended:
                self._server = server
                return
        server.close()

    def take(self, context: LaunchContext, launch: Launch) -> ForkServer | None:
        """Return the one that is kept if *launch* can be forked from it in that context."""
        if launch.preload or self._pid != os.getpid():
            return None
        with self._lock:
            server, self._server = self._server, None
        if server is None:
            return None
        if server.context == context and server.module == launch.module and not server.ended:
            return server
        server.close()
        return None

    def drop(self) -> None:
        """End the one that is kept, if there is one."""
        with self._lock:
            server, self._server = self._server, None
        if server is not None:
            server.close()


KEPT: Final = KeptForkServer()
"""That of this process."""
