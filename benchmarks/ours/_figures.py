"""Prints figures for the harness."""

import json

__all__ = ["figure"]


def figure(metric: str, payload: str, value: float) -> None:
    """Print one figure as a line of JSON."""
    print(json.dumps({"metric": metric, "payload": payload, "value": value}), flush=True)
