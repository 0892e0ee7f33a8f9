"""Functions and classes as values: what is sent is a name, under which every process finds the same one.

A function of a module, a builtin, a method of a class (`str.upper`, `Point.distance`, `dict.fromkeys`), and
whatever else is callable and has the name under which its module holds it, as a ufunc of numpy has. Nothing
here calls what it finds.
"""

import sys
from types import FunctionType, ModuleType
from typing import Any, Final

from actors.transport.errors import Unsendable
from actors.transport.types.class_name import check_findable, look_up
from actors.transport.types.refusals import why_not

__all__ = ["check_named", "found_in_module", "is_named", "own_name"]

_LAMBDA: Final = "a lambda has no name to import it by; make it a function of a module, with def"
_NOT_INSIDE: Final = (
    "define it in a module, or, if a decorator made it, give it its name by functools.wraps"
)


def is_named(value: object) -> bool:
    """Whether a value is one that is sent by its name, or would be if it could be found by that."""
    try:
        if isinstance(value, type):
            return True
        return callable(value) and isinstance(getattr(value, "__name__", None), str)
    except Exception:  # noqa: BLE001 - a proxy of something that is not there, perhaps
        return False


def check_named(value: Any) -> None:
    """Check that every process finds this class or function by its name.

    Raises:
        Unsendable: it does not, and why.
    """
    if isinstance(value, type):
        check_findable(value, value)
    else:
        own_name(value)


def found_in_module(function: FunctionType) -> bool:
    """Whether a function is what its module has under its name: a quick answer for most that are sent."""
    module, names = sys.modules.get(function.__module__), function.__globals__
    found = names.get(function.__qualname__) is function
    return found and module is not None and module.__dict__ is names


def own_name(function: Any) -> tuple[str, str]:
    """The module of something callable and its name in there.

    Raises:
        Unsendable: another process would not find it by that name.
    """
    if not is_named(function):
        raise Unsendable("", function, why_not(function))
    owner = getattr(function, "__self__", None)
    bound = owner is not None and not isinstance(owner, ModuleType)
    module, name = _names(function, owner if bound else None)
    found = look_up(sys.modules[module], name) if module in sys.modules else None
    # A bound method is another object each time.
    if found is not function and not (bound and found == function):
        raise Unsendable("", function, _why_not(module, name, owner if bound else None))
    return module, name


def _names(function: Any, owner: Any) -> tuple[str, str]:
    if isinstance(owner, type):  # a method of a class, such as `dict.fromkeys`
        return owner.__module__, f"{owner.__qualname__}.{function.__name__}"
    module = getattr(getattr(function, "__objclass__", function), "__module__", None)
    name = getattr(function, "__qualname__", None)
    # `random.randint` is a method of an object there.
    if owner is not None or not isinstance(name, str):
        name = function.__name__
    return str(module), name


def _why_not(module: str, name: str, owner: Any) -> str:
    """Why it is not found under that name, in words and with what to do about it."""
    if owner is not None and not isinstance(owner, type):
        method = f"{type(owner).__qualname__}.{name}"
        return f"a bound method does not travel; send functools.partial({method}, value), which sends the value"
    if name.endswith("<lambda>"):
        return _LAMBDA
    if "<locals>" in name:
        return (
            f"{name} is defined inside a function, where no other process finds it; {_NOT_INSIDE}"
        )
    if module not in sys.modules:
        return f"{name} is in no module that could be imported"
    if module == "__main__" and not hasattr(sys.modules[module], name.partition(".")[0]):
        file = getattr(sys.modules[module], "__file__", None)
        what = f"{name} is not in __main__, which is {file}"
        return f"{what}, perhaps a profiler that runs this program: put it in a module"
    why = f"no other process finds it: {name!r} in module {module} is not this function"
    return f"{why}; bind it there to the name it was made with"
