"""The type of `Context.system`, which is made many layers above: checkers read it in the stub beside this file.

Rule: nothing is imported here when a program runs.
"""

from typing import Any, TypeAlias

__all__ = ["System"]

System: TypeAlias = Any
