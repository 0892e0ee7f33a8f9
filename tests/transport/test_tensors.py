"""Tensors of torch on the CPU arrive with type, shape and items, in memory that the receiver may change."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from actors.transport import Decoder, Encoder, Mode, Undecoded, Unsendable, snapshot
from actors.transport.codec.snapshot import _COPIERS
from actors.transport.types import class_schema
from tests.transport.attachment_link import AttachmentLink
from tests.transport.fake_torch import fake_torch
from tests.transport.sample_values import carry, travel


@pytest.fixture
def torch() -> Iterator[Any]:
    class_schema._schema_for.cache_clear()
    with fake_torch() as module:
        yield module
        _COPIERS.pop(module.Tensor, None)
    class_schema._schema_for.cache_clear()


@pytest.fixture(params=["wire", "snapshot"])
def send(request: pytest.FixtureRequest) -> Callable[[Any], Any]:
    return travel if request.param == "wire" else snapshot


def test_a_tensor_arrives_with_type_shape_and_items(torch: Any, send: Callable[[Any], Any]) -> None:
    for array, kind in (
        (np.arange(6, dtype="f4").reshape(2, 3), torch.float32),
        (np.arange(6, dtype="f4").reshape(2, 3).T, torch.float32),
        (np.arange(6)[::2], torch.int64),
        (np.array(7), torch.int64),
        (np.zeros((2, 0), "u2"), torch.bfloat16),
        (np.arange(4, dtype="u2"), torch.bfloat16),
    ):
        sent = torch.Tensor(array, kind).requires_grad_(True)
        again = send([sent])[0]
        assert type(again) is torch.Tensor
        assert (again.dtype, again.shape) == (kind, sent.shape)
        assert again.array.tolist() == array.tolist()
        assert again.requires_grad is True
        assert again.array.flags.writeable
        assert not np.shares_memory(again.array, array)


def test_a_big_tensor_goes_by_shared_memory_and_is_copied_out(torch: Any) -> None:
    link = AttachmentLink()
    try:
        link.warm(80_000, 8)
        again = link.ship(torch.Tensor(np.ones(20_000, "f4"), torch.float32))
        assert link.here.modes[Mode.LEASE] == 1
        again.array[0] = 7
    finally:
        link.close()


def test_what_is_not_a_plain_tensor_is_refused_with_what_to_send(
    torch: Any, send: Callable[[Any], Any]
) -> None:
    for change, why in (
        ({"device": SimpleNamespace(type="cuda")}, r"send value.cpu\(\)"),
        ({"layout": "sparse"}, r"send value.to_dense\(\)"),
        ({"is_quantized": True}, r"value.dequantize\(\)"),
        ({"requires_grad": True, "is_leaf": False}, r"part of a graph .* send value.detach\(\)"),
    ):
        tensor = torch.Tensor(np.arange(3), torch.int64)
        vars(tensor).update(change)
        with pytest.raises(Unsendable, match=why):
            send(tensor)


def test_parts_that_make_no_tensor_are_one_error(torch: Any) -> None:
    for parts in (
        ("int64", [3], False, b"abc"), ("int64", [-1, -1], False, bytes(8)), ("Tensor", [1], False, b"a"),
        ("int64", [2**62, 4], False, b""), ("int64", 5, False, b""), (5, [1], False, b"a"), (),
    ):  # fmt: skip
        encoder = Encoder()
        encoded = encoder.encode_value(torch.Tensor(np.arange(3), torch.int64))
        forged = encoded._replace(data=encoder.batches.pack_one([0, *parts]))
        assert isinstance(carry(encoder, Decoder(), [1, forged])[1], Undecoded), parts
