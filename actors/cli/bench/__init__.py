"""`actors bench URL`: load on a server over HTTP or WebSockets, and what its clients wait for.

Rule 1: with a rate the loop is open: each request is due at its time, whether earlier ones were answered or
not, and waits from then on. A server that stalls is so charged for every request that came meanwhile; a client
that sends the next one only after the last answer leaves them out (Gil Tene's "coordinated omission").
Rule 2: everything is bounded by the number of connections, the seconds and the timeout.
"""

from __future__ import annotations

from actors.cli.bench.command import bench

__all__ = ["bench"]
