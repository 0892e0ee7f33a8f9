"""What a class is called in another process, and how that process finds it, or a function, again.

A class has the name of its module and its own. A parametrised pydantic model (``Page[int]``) may be in no
module: it is named by the model and its parameters, and parametrised again.
"""

import sys
from collections.abc import Callable
from functools import reduce
from inspect import getattr_static
from operator import or_
from types import ClassMethodDescriptorType, ModuleType, NoneType, UnionType
from typing import Any, Final, Union, get_args, get_origin

from actors.transport.errors import Unsendable

__all__ = [
    "BY_VALUE",
    "check_findable",
    "class_name",
    "find_class",
    "find_named",
    "look_up",
    "named_class",
]

BY_VALUE: Final = "__main__#"
"""How the module of a class or function begins whose definition the sender has given to the receiver."""
_UNIONS: Final[dict[Any, str]] = {UnionType: "|", Union: "Union"}
_OF_CLASSES: Final = (staticmethod, classmethod, ClassMethodDescriptorType)


def check_findable(cls: type, value: object) -> None:
    """Check that another process can find a class by its name.

    Args:
        cls: the class.
        value: an instance of it, or the class itself.

    Raises:
        Unsendable: it is defined inside a function, or bound to another name.
    """
    if _by_parameters(cls):
        return
    name = cls.__qualname__
    if "<locals>" in name:
        why = f"{name} is defined inside a function, where no other process finds it"
        raise Unsendable("", value, why)
    module = sys.modules.get(cls.__module__)
    # A module may be loaded without being in `sys.modules`, as a main file is in a node.
    if module is not None and look_up(module, name) is not cls:
        what = "it" if value is cls else "its class"
        why = (
            f"no other process finds {what}: {name!r} in module {cls.__module__} is not this class"
        )
        raise Unsendable("", value, f"{why}; bind the class there to the name it was made with")


def class_name(cls: type, rename: Callable[[str, Any], str]) -> list[Any]:
    """The name of a class as plain data: module, own name and, if there are any, the names of its parameters.

    Args:
        cls: one that `check_findable` accepts.
        rename: from the name of a module, and what is in it, to the one that other processes know it by.
    """
    if _by_parameters(cls):
        return _parametrised(cls, rename)
    return [rename(cls.__module__, cls), cls.__qualname__]


def _by_parameters(cls: type) -> bool:
    """Whether it is a parametrised pydantic model that comes out the same when parametrised again."""
    if _parameters(cls)[0] is None:
        return False
    try:
        return named_class(_parametrised(cls, _same), find_class) is cls
    except Exception:  # noqa: BLE001 - a parameter that has no name, in whatever way
        return False


def _parameters(cls: Any) -> tuple[Any, tuple[Any, ...]]:
    """The origin of a generic class, and its parameters."""
    if isinstance(cls, type) and get_origin(cls) is None:
        generic = vars(cls).get("__pydantic_generic_metadata__") or {}
        return generic.get("origin"), generic.get("args", ())
    return get_origin(cls), get_args(cls)


def _same(module: str, _named: Any) -> str:
    return module


def _parametrised(cls: Any, rename: Callable[[str, Any], str]) -> list[Any]:
    if cls in (None, NoneType):
        return []
    origin, parameters = _parameters(cls)
    if origin in _UNIONS:
        name = ["", _UNIONS[origin]]
    else:
        origin = origin or cls
        name = [rename(origin.__module__, origin), origin.__qualname__]
    return [*name, [_parametrised(parameter, rename) for parameter in parameters]]


def named_class(name: list[Any], resolve: Callable[[str, str], Any]) -> Any:
    """The class with that name.

    Args:
        name: of `class_name`.
        resolve: finds a class by its module and its own name; may raise anything.
    """
    if not name:
        return None
    module, qualname, *more = name
    parameters = tuple([named_class(parameter, resolve) for parameter in (more[0] if more else ())])
    if not module:
        return Union[parameters] if qualname == "Union" else reduce(or_, parameters)  # noqa: UP007 - the parameters are known only here
    cls = resolve(module, qualname)
    return cls[parameters] if parameters else cls


def find_class(module: str, qualname: str) -> type:
    """The class of that name in a module that is already imported; runs no `__getattr__`.

    Raises:
        LookupError: no such module or class here.
    """
    found = find_named(module, qualname)
    if not isinstance(found, type):
        raise LookupError(f"no class {module}.{qualname} in this process")  # noqa: TRY004 - a name that leads elsewhere is a name not found
    return found


def find_named(module: str, qualname: str) -> Any:
    """What has that name in a module that is already imported; runs no `__getattr__`.

    Raises:
        LookupError: no such module or name here.
    """
    loaded = sys.modules.get(module)
    found = None if loaded is None else look_up(loaded, qualname)
    if found is None:
        raise LookupError(f"no {module}.{qualname} in this process")
    return found


def look_up(module: ModuleType, qualname: str) -> Any:
    """What has that name in the module, or None; a method of a class as `Class.method` gives it."""
    found: Any = module
    for part in qualname.split("."):
        if isinstance(found, type):
            raw = getattr_static(found, part, None)
            found = raw.__get__(None, found) if isinstance(raw, _OF_CLASSES) else raw
        else:
            found = getattr(found, "__dict__", {}).get(part)
    return found
