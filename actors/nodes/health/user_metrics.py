"""The metrics that a user's code has registered with `prometheus_client` in this process, as plain data.

Rule 1: nothing is imported: a process whose code has not imported the library has no such metrics.
Rule 2: what a user's collector raises is an error of that collector; what it returns is bounded.
"""

from __future__ import annotations

import re
import sys
from itertools import islice
from typing import Any, Final

__all__ = ["user_metrics"]

_MOST_SAMPLES: Final = 20_000
"""Samples of one process; more are left out, and said."""
_LIBRARYS: Final = re.compile(r"python_info|python_gc_\w+|process_\w+")
"""What the library registers itself; the metrics of nodes say it."""
_COUNTED: Final = {"counter", "histogram", "summary", "gaugehistogram"}


def user_metrics() -> dict[str, Any]:
    """Return the user's metrics of this process.

    ``metrics`` has of each its name, type, text, the multiprocess mode of a gauge, and its samples: name,
    labels and value. ``error`` says what is not there, and why; it is "" if all is.
    """
    library = sys.modules.get("prometheus_client")
    registry: Any = getattr(library, "REGISTRY", None)
    found: list[list[Any]] = []
    error = ""
    left = _MOST_SAMPLES
    try:
        for metric in registry.collect() if registry is not None else ():
            if _LIBRARYS.fullmatch(metric.name):
                continue
            samples = list(islice(_samples(metric), left + 1))
            if len(samples) > left:
                error = f"more than {_MOST_SAMPLES} samples"
                break
            left -= len(samples)
            mode = _mode(registry, metric.name) if metric.type == "gauge" else ""
            found.append([metric.name, metric.type, metric.documentation, mode, samples])
    except Exception as raised:  # noqa: BLE001 - a user's collector must not take the others' metrics away
        error = f"{type(raised).__name__}: {raised}"
    return {"metrics": found, "error": error}


def _samples(metric: Any) -> Any:
    for sample in metric.samples:
        # When a counter was made means nothing once those of several nodes are added up.
        if not (metric.type in _COUNTED and sample.name.endswith("_created")):
            yield [sample.name, sorted(sample.labels.items()), float(sample.value)]


def _mode(registry: Any, name: str) -> str:
    """Return how the user wants a gauge of several processes shown, as the library itself would."""
    collector = getattr(registry, "_names_to_collectors", {}).get(name)
    return str(getattr(collector, "_multiprocess_mode", "all"))
