"""What Ray runs: an actor of its own, whose one method is the life of an agent.

Rule: Ray finds this class by its module, so the package has to be installed where Ray's workers are.
"""

from __future__ import annotations

from typing import Any

from actors.machines.agent import run_agent
from actors.machines.engine import Join

__all__ = ["RayAgent"]


class RayAgent:
    """An agent in a process of Ray's; its nodes inherit the environment that Ray has made for it."""

    def live(self, join: dict[str, Any]) -> int:
        """Be an agent until it is over; return its exit code."""
        return run_agent(Join(**join))
