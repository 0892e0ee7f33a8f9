"""Topologies that serve the applications of `serve_apps`."""

from actors import Topology, asgi, listen, nodes

slow_end = Topology(
    nodes=[nodes("web", shutdown=20)],
    listeners=[listen(asgi("serve_apps:app"), "127.0.0.1:0")],
)
never_starts = Topology(
    nodes=[nodes("web", boot_timeout=6)],
    listeners=[listen(asgi("serve_apps:never_starts"), "127.0.0.1:0")],
)
awaits_its_start = Topology(
    nodes=[nodes("web")],
    listeners=[listen(asgi("tests.system.starting_apps:awaited_task_app"), "127.0.0.1:0")],
)
