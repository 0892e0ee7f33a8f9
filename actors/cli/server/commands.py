"""`actors run` and `actors serve`: the commands that run a system in the foreground."""

from __future__ import annotations

import os
from argparse import Namespace
from collections.abc import Callable
from typing import Final

from actors.cli.server.env_file import load_variables
from actors.cli.server.reloads import ReloadTriggers
from actors.cli.server.run import (
    override_admin,
    override_alerts,
    override_counts,
    override_preload,
    run_topology,
)
from actors.cli.server.serve import serve_topology
from actors.cli.server.sources import watched_sources
from actors.cli.server.target import import_from_here, load_topology

__all__ = ["COMMANDS"]


def _run(options: Namespace) -> None:
    import_from_here()
    topology = override_counts(load_topology(options.target), options.nodes)
    topology = override_admin(override_preload(topology, options.preload), options)
    topology = override_alerts(topology, options)
    watched = watched_sources(options.target, options)
    run_topology(topology, ReloadTriggers(on_hangup=True, watched=watched))


def _serve(options: Namespace) -> None:
    for file in options.env_file:
        load_variables(file)
    if options.log_level is not None:
        os.environ["ACTORS_LOG"] = options.log_level
    import_from_here(options.app_dir)
    topology = override_alerts(override_admin(serve_topology(options), options), options)
    watched = watched_sources(options.app, options)
    run_topology(topology, ReloadTriggers(on_hangup=True, watched=watched))


COMMANDS: Final[dict[str, Callable[[Namespace], None]]] = {"run": _run, "serve": _serve}
