"""Dense tensors of torch on the CPU: type, shape and bytes; the receiver's lie in memory that it may change."""

import math
from typing import Any, Final

import torch

from actors.transport.errors import Undecodable, Unsendable
from actors.transport.types.adapters import Adapter

__all__ = ["ADAPTERS"]


def _check(value: Any) -> None:
    why = ""
    if value.device.type != "cpu":
        why = f"a tensor on {value.device} does not travel; send value.cpu()"
    elif value.layout is not torch.strided or value.is_quantized:
        why = "a sparse or quantized tensor does not travel; send value.to_dense() or value.dequantize()"
    elif value.requires_grad and not value.is_leaf:
        why = "a tensor that is part of a graph does not travel; send value.detach()"
    if why:
        raise Unsendable("", value, why)


def _take_apart(value: Any) -> tuple[Any, ...]:
    _check(value)
    plain = value.detach().resolve_conj().resolve_neg().contiguous()
    name = str(value.dtype).removeprefix("torch.")
    data = memoryview(plain.reshape(-1).view(torch.uint8).numpy()) if plain.numel() else b""
    return name, list(value.shape), bool(value.requires_grad), data


def _put_together(name: Any, shape: Any, requires_grad: Any, data: Any) -> Any:
    dtype: Any = getattr(torch, str(name), None)
    fits = isinstance(dtype, torch.dtype) and min(shape, default=0) >= 0
    if not fits or math.prod(shape) * dtype.itemsize != len(data):
        raise Undecodable(
            f"{len(data)} bytes are no tensor of {name!r:.40} and shape {shape!r:.80}"
        )
    # A tensor cannot be read-only, and shared memory is.
    flat = (
        torch.frombuffer(bytearray(data), dtype=dtype) if len(data) else torch.empty(0, dtype=dtype)
    )
    return flat.reshape(tuple(shape)).requires_grad_(bool(requires_grad))


ADAPTERS: Final[dict[type, Adapter]] = {torch.Tensor: Adapter(_take_apart, _put_together)}
