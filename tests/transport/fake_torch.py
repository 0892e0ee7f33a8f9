"""A module `torch` with as much of a tensor as the adapter uses, over numpy; the real one is very big."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np


class dtype:  # noqa: N801 - torch calls it so
    """A type of items."""

    def __init__(self, name: str, plain: str) -> None:
        self.name = name
        self.plain = np.dtype(plain)
        self.itemsize = self.plain.itemsize

    def __str__(self) -> str:
        return f"torch.{self.name}"


class Tensor:
    """Dense, of one device; `array` holds the bytes."""

    is_quantized = False
    is_leaf = True
    requires_grad = False

    def __init__(self, array: Any, kind: dtype) -> None:
        self.array = array
        self.dtype = kind
        self.device = SimpleNamespace(type="cpu")
        self.layout = "strided"

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.array.shape)

    def numel(self) -> int:
        return int(self.array.size)

    def detach(self) -> Tensor:
        return Tensor(self.array, self.dtype)

    resolve_conj = resolve_neg = detach

    def contiguous(self) -> Tensor:
        return Tensor(np.ascontiguousarray(self.array).reshape(self.shape), self.dtype)

    def reshape(self, *shape: Any) -> Tensor:
        return Tensor(self.array.reshape(*shape), self.dtype)

    def view(self, kind: dtype) -> Tensor:
        return Tensor(self.array.view(kind.plain), kind)

    def numpy(self) -> Any:
        return self.array

    def requires_grad_(self, wanted: bool) -> Tensor:
        self.requires_grad = wanted
        return self


def _frombuffer(data: bytearray, dtype: dtype) -> Tensor:
    return Tensor(np.frombuffer(data, dtype.plain), dtype)


@contextmanager
def fake_torch() -> Iterator[Any]:
    """Have it imported as `torch`."""
    torch: Any = ModuleType("torch")
    torch.dtype, torch.Tensor, torch.strided = dtype, Tensor, "strided"
    torch.frombuffer = _frombuffer
    torch.empty = lambda size, dtype: Tensor(np.empty(size, dtype.plain), dtype)
    for name, plain in (("float32", "f4"), ("int64", "i8"), ("uint8", "u1"), ("bfloat16", "u2")):
        setattr(torch, name, dtype(name, plain))
    before = Tensor.__module__
    Tensor.__module__ = "torch"
    sys.modules["torch"] = torch
    try:
        yield torch
    finally:
        del sys.modules["torch"]
        sys.modules.pop("actors.transport.types.tensors", None)
        Tensor.__module__ = before
