"""`faulthandler`, which a sub-interpreter refuses to import: there it is None; no other file imports it.

Who uses it runs in process nodes alone.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__all__ = ["faulthandler"]

faulthandler: Any
try:
    faulthandler = import_module("faulthandler")
except ImportError:
    faulthandler = None
