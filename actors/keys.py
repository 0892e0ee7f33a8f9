"""The keys of `Sticky`: connections with the same key go to the same node.

A key is taken from the first bytes of a connection or from its address; ``a | b`` takes the key *b* if
there is no key *a*::

    actors.Sticky(actors.keys.cookie("sid") | actors.keys.ip())

| key | is | of what |
|---|---|---|
| `ip()` | the client's address | any connection |
| `cookie(name)`, `query(name)`, `header(name)`, `path(segments)` | in the first request | unencrypted HTTP |
| `sni()` | the host name asked for | TLS |
| `proxy()` | the client that a PROXY header names | connections from a proxy |
| `key(fn)` | what your function returns for the first bytes | any connection |

At most 16 KiB are looked at, for at most 2 seconds, and nothing is consumed. A connection without a
key goes to the node with the fewest connections. Under `asgi()` the key of every request is checked: a
request that belongs to another node is served, and the connection then closed, so that the client
reconnects and reaches the right node.
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
