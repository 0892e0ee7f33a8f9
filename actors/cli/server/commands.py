"""`actors run` and `actors serve`: the commands that run a system in the foreground."""

from __future__ import annotations

import os
from argparse import Namespace
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

from actors._base.std_logging import join_logging
from actors._system.application import on_inherited_sockets
from actors._system.topology import Topology
from actors.cli._failure import WRONG, CommandFailed
from actors.cli.application import (
    COMMANDS as APPLICATION_COMMANDS,
    DEFAULT_FILE,
    check_imports,
    in_fork,
    read_application,
)
from actors.cli.server.env_file import load_variables
from actors.cli.server.join import join
from actors.cli.server.reloads import ReloadTriggers
from actors.cli.server.run import (
    override_admin,
    override_alerts,
    override_counts,
    override_log,
    override_preload,
    run_topology,
)
from actors.cli.server.serve import serve_topology
from actors.cli.server.sources import watched_sources
from actors.cli.target import import_from_here, load_topology
from actors.routing import inherited_names

__all__ = ["COMMANDS"]


_FILE: Final = ".toml"
"""How the name of an application file ends."""
_LOG: Final = {"level": "ACTORS_LOG", "format": "ACTORS_LOG_FORMAT"}


def _run(options: Namespace) -> None:
    target: str = options.target
    if target.endswith(_FILE):
        topology = _of_file(target, options.profile)
        _begin_log(options)  # behind what the file says of the log, which options override
        target = ""
    elif options.profile is not None:
        raise CommandFailed(f"--profile goes with an application file, not with {target!r}", WRONG)
    else:
        _begin_log(options)
        import_from_here()
        topology = load_topology(target)
    topology = override_counts(topology, options.nodes)
    topology = override_admin(override_preload(topology, options.preload), options)
    topology = override_alerts(topology, options)
    topology = override_log(topology, options)
    watched = watched_sources(target, options)
    run_topology(topology, ReloadTriggers(on_hangup=True, watched=watched))


def _of_file(name: str, profile: str | None) -> Topology:
    """Return the topology of an application file; what it names is imported in another process."""
    if name == DEFAULT_FILE and not Path(name).exists():
        raise CommandFailed(
            f"there is no {DEFAULT_FILE} here: name an application file, or pkg.mod:attr", WRONG
        )
    file = read_application(name, profile)
    import_from_here(str(file.folder))
    in_fork(partial(check_imports, file, applications=False))
    for key, variable in _LOG.items():
        if key in file.application.log:
            os.environ[variable] = file.application.log[key]
    return on_inherited_sockets(file.application.topology, inherited_names())


def _serve(options: Namespace) -> None:
    for file in options.env_file:
        load_variables(file)
    _begin_log(options)
    import_from_here(options.app_dir)
    topology = override_alerts(override_admin(serve_topology(options), options), options)
    topology = override_log(topology, options)
    watched = watched_sources(options.app, options)
    run_topology(topology, ReloadTriggers(on_hangup=True, watched=watched))


def _begin_log(options: Namespace) -> None:
    if options.log_level is not None:
        os.environ["ACTORS_LOG"] = options.log_level
    join_logging(both_ways=False)


COMMANDS: Final[dict[str, Callable[[Namespace], None]]] = {
    **APPLICATION_COMMANDS,
    "join": join,
    "run": _run,
    "serve": _serve,
}
