"""An array as a model would have it, of as many MiB as the environment says; nodes import it beforehand."""

import os
from typing import Final

import numpy as np

__all__ = ["ARRAY", "MIB"]

MIB: Final = "BENCHMARK_ARRAY_MIB"
"""The variable with its size."""
ARRAY: Final = np.ones(int(os.environ.get(MIB, "0")) * 2**20, dtype=np.uint8)
