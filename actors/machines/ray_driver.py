"""The process that speaks to Ray; ``python -m`` runs one beside the process that made the system.

Ray ends the process of a driver whose cluster has lost its head for a minute, and starts threads and handles
signals in it. So it is no part of a program that has its own: what is lost with this one is the places that Ray
gave, and the next one asks for others. The one file that imports `ray`, of the extra `ray`.

Rule: it decides nothing. It says on its standard output, in lines of JSON, what became of the actors that it
was told on its standard input to start; at the end of its input it ends, and Ray ends its actors with it.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from queue import SimpleQueue
from typing import Any, Final

import ray
from ray.exceptions import ActorDiedError

from actors.machines.agent import take_over_path
from actors.machines.ray_agent import RayAgent

__all__ = ["CHECK", "certain_death", "main"]

CHECK: Final = "check"
"""The argument of a process that only says what Ray thinks of the options on its standard input."""
_ENDS_WITHIN: Final = 5.0
"""Seconds that Ray has to end in order."""
_WORKER_DIED: Final = "its worker process has died"
"""What Ray says of an actor whose process its own machine has seen end."""


def certain_death(error: BaseException | None) -> bool:
    """Return whether *error*, which Ray ended an actor with, proves that its process has ended.

    That is so where the raylet of its own machine has seen the end of the process, whose nodes the kernel
    kills with it. The death of a machine is what the head concludes from silence; an actor that `ray.kill`
    was called for may run for some time, and one that is unavailable may for ever.
    """
    return isinstance(error, ActorDiedError) and _WORKER_DIED in str(error)


def _agent(options: dict[str, Any]) -> Any:
    # A lost agent is the parent's to replace: what Ray started again would be a place that nobody asked for.
    return ray.remote(max_restarts=0, max_task_retries=0, **options)(RayAgent)


class _Driver:
    """Starts and kills actors, and says how they ended."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._handles: dict[int, Any] = {}
        self._over: SimpleQueue[tuple[int, Any]] = SimpleQueue()
        # What is printed here is for people; the lines of this protocol have the pipe to themselves.
        self._out = os.fdopen(os.dup(1), "w", buffering=1, encoding="utf-8")
        os.dup2(2, 1)

    def say(self, op: str, **fields: Any) -> None:
        """Tell the parent something; from any thread."""
        line = json.dumps({"op": op, **fields})
        with self._lock:
            try:
                self._out.write(line + "\n")
            except OSError:  # the parent has ended
                os._exit(0)

    def run(self) -> None:
        """Connect, and do what is asked, until the parent is gone."""
        try:
            ray.init(log_to_driver=False, logging_level="ERROR", namespace="actors")
        except Exception as error:  # noqa: BLE001 - Ray raises what it likes; whoever asked is told
            self.say("unconnected", why=f"{type(error).__name__}: {error}")
            return
        # Daemon, because the process ends without it; Ray ends its actors then.
        threading.Thread(target=self._tell_ends, name="ends of actors", daemon=True).start()
        self.say("connected")
        for line in sys.stdin:
            record = json.loads(line)
            if record.pop("op") == "start":
                self._start(**record)
            else:
                self._kill(**record)

    def _start(self, n: int, options: dict[str, Any], join: dict[str, Any]) -> None:
        try:
            handle = self._handles[n] = _agent(options).remote()
            life = handle.live.remote(join).future()
        except Exception as error:  # noqa: BLE001 - as above
            self._handles.pop(n, None)
            self.say("gone", n=n, certain=True, why=f"{type(error).__name__}: {error}")
            return
        self.say("placed", n=n, name=handle._actor_id.hex())  # noqa: SLF001 - Ray has no other way to it
        # In a thread of Ray's, which waits for ever if it calls Ray.
        life.add_done_callback(lambda done: self._over.put((n, done)))

    def _tell_ends(self) -> None:
        while True:
            self._ended(*self._over.get())

    def _ended(self, n: int, life: Any) -> None:
        error = life.exception()
        if error is None:
            code = life.result()
            self.say("gone", n=n, certain=not code, why=f"its agent ended: exit code {code}")
        else:
            # Lines that are indented name the actor; at the end are guesses at common causes.
            lines = [line for line in str(error).splitlines() if not line.startswith("\t")]
            why = " ".join(lines).partition(" Some common causes")[0]
            self.say("gone", n=n, certain=certain_death(error), why=f"Ray says: {why}")
        self._kill(n)

    def _kill(self, n: int) -> None:
        """End an actor; one that has ended by itself holds its resources until then."""
        handle = self._handles.pop(n, None)
        if handle is not None:
            ray.kill(handle, no_restart=True)


def _check() -> None:
    """Print what Ray has against the options on standard input, or nothing."""
    try:
        _agent(json.loads(sys.stdin.read()))
    except (TypeError, ValueError) as error:
        sys.stdout.write(str(error))


def main() -> None:
    """Drive Ray for a parent, or check options."""
    # A terminal sends SIGINT to whole process groups: the parent alone decides when this ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    take_over_path()
    if sys.argv[1:] == [CHECK]:
        _check()
        return
    _Driver().run()
    # A head that is gone would be waited for; Ray ends the actors of a driver that has ended all the same.
    late = threading.Timer(_ENDS_WITHIN, os._exit, (0,))
    late.daemon = True
    late.start()
    ray.shutdown()
    os._exit(0)


if __name__ == "__main__":
    main()
