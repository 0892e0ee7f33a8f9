"""What connections are kept apart by: the keys of `Sticky`.

From the first bytes of a connection, or from its address; ``|`` takes the first that is found::

    actors.Sticky(actors.keys.cookie("sid") | actors.keys.ip())

| key | is | of what |
|---|---|---|
| `ip()` | the client's address | any connection |
| `cookie(name)`, `query(name)`, `header(name)`, `path(segments)` | in the first request | HTTP in clear |
| `sni()` | the host name asked for | TLS |
| `proxy()` | the client that a PROXY header names | what a proxy sends |
| `key(fn)` | what your function makes of the first bytes | any connection |

At most 16 KiB are looked at, for at most 2 seconds, and nothing is consumed. A connection without a
key goes where there is least to do. Under `asgi()` every request of a connection is held against its
key: one that belongs to another node is served, and the connection then closed, so that the client
comes again and is taken to the right one.
"""

from actors.routing import (
    NEED_MORE,
    Address,
    Key,
    NeedMore,
    cookie,
    header,
    ip,
    key,
    path,
    proxy,
    query,
    sni,
)

__all__ = [
    "NEED_MORE",
    "Address",
    "Key",
    "NeedMore",
    "cookie",
    "header",
    "ip",
    "key",
    "path",
    "proxy",
    "query",
    "sni",
]
