"""Pictures made smaller: uploads are served by a cluster, and resized on pools of processes.

Each of the nodes `web` serves the page and takes uploads, and has a pool of its own, whose workers decode and
resize. A picture that crashes or delays a worker costs the upload that brought it, nothing else.
"""

from actors import LeastConnections, Topology, asgi, listen, nodes, pool

from ._settings import FOLDER, POOL, cpus, folder, port

__all__ = ["topology"]

_GIB = 1 << 30


def topology() -> Topology:
    """Return the service: `actors run examples.images:topology`."""
    # A node that serves needs little of a CPU, a worker a whole one.
    count = max(1, cpus() // 2)
    return Topology(
        nodes=[nodes("web", count=count, env={FOLDER: folder()})],
        children=[
            pool(
                name=POOL,
                per_node="web",
                size=max(1, cpus() // count),
                queue=64,
                max_rss=_GIB,
            )
        ],
        listeners=[
            listen(
                asgi("examples.images.app:app", lifespan="on"),
                f"127.0.0.1:{port()}",
                nodes="web",
                policy=LeastConnections(),
            )
        ],
    )
