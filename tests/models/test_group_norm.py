"""Group normalisation in every layout of memory, precision and transformation."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from models.blocks.normalization import GroupNorm, group_norm

PRECISIONS = (torch.float64, torch.float32, torch.bfloat16)
TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-5, torch.bfloat16: 2e-2}
"""A few roundings of values of about 3; bfloat16 has 8 bits."""


def layer(channels: int, groups: int, dtype: torch.dtype = torch.float32) -> GroupNorm:
    norm = group_norm(channels, groups, eps=1e-5)
    with torch.no_grad():
        norm.weight.normal_(1, 0.1)
        norm.bias.normal_()
    return norm.to(dtype)


def features(shape: tuple[int, ...], dtype: torch.dtype, *, last: bool) -> Tensor:
    h = torch.randn(shape).mul(2).add(1).to(dtype)
    return h.movedim(1, -1).contiguous().movedim(-1, 1) if last else h


def by_definition(norm: GroupNorm, h: Tensor) -> Tensor:
    """Wu & He's equations in float64, group by group."""
    out = torch.empty(h.shape, dtype=torch.float64)
    width = h.shape[1] // norm.groups
    for sample in range(len(h)):
        for group in range(norm.groups):
            rows = slice(group * width, (group + 1) * width)
            part = h[sample, rows].double()
            out[sample, rows] = (part - part.mean()) / (part.var(unbiased=False) + norm.eps).sqrt()
    over = (-1, *[1] * (h.ndim - 2))
    return out * norm.weight.double().reshape(over) + norm.bias.double().reshape(over)


@pytest.mark.parametrize("dtype", PRECISIONS)
@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize(
    ("shape", "groups"), [((3, 24, 5), 6), ((2, 32, 6, 4), 8), ((2, 32, 4, 4), 2), ((2, 8, 2, 3, 4), 4)]
)
def test_is_the_definition_and_keeps_the_layout(
    shape: tuple[int, ...], groups: int, last: bool, dtype: torch.dtype
) -> None:
    norm, h = layer(shape[1], groups, dtype), features(shape, dtype, last=last)
    out = norm(h)
    torch.testing.assert_close(
        out.double(), by_definition(norm, h), rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype]
    )
    assert out.dtype is dtype
    if len(shape) > 3:  # of one axis, torch's has its channels first whatever it is given
        assert out.stride() == h.stride()  # the convolution after it would copy it else


def test_is_torchs_own_in_float32_bit_for_bit() -> None:
    norm, h = layer(32, 8), features((2, 32, 6, 4), torch.float32, last=True)
    theirs = nn.GroupNorm(8, 32, eps=norm.eps)
    theirs.load_state_dict(norm.state_dict())  # of the same names, in the same order
    assert list(norm.state_dict()) == list(theirs.state_dict())
    assert torch.equal(norm(h), theirs(h))


class Layouts(TorchDispatchMode):
    """Whether each feature map that torch's kernel normalises has its channels before its positions."""

    def __init__(self) -> None:
        super().__init__()
        self.before: list[bool] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.aten.native_group_norm.default:
            self.before.append(args[0].is_contiguous())
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(
    ("dtype", "width", "size", "gradient", "before"),
    [
        (torch.bfloat16, 8, 4, False, True),
        (torch.bfloat16, 16, 4, False, False),
        (torch.bfloat16, 8, 32, False, False),  # torch's kernel is quick at 1024 positions, backward excepted
        (torch.bfloat16, 8, 32, True, True),
        (torch.float32, 8, 4, False, False),
    ],
)
def test_narrow_groups_in_half_precision_have_channels_first_within(
    dtype: torch.dtype, width: int, size: int, gradient: bool, before: bool
) -> None:
    norm = layer(4 * width, 4)
    with Layouts() as seen:
        norm(features((2, 4 * width, size, size), dtype, last=True).requires_grad_(gradient))
    assert seen.before == [before]


def test_gradients_in_bfloat16_are_those_of_the_definition() -> None:
    norm, h = layer(32, 8), features((2, 32, 6, 4), torch.bfloat16, last=True).requires_grad_()
    weights = torch.randn(h.shape, dtype=torch.float64)
    inputs = (h, norm.weight, norm.bias)
    found = torch.autograd.grad((norm(h).double() * weights).sum(), inputs)
    wanted = torch.autograd.grad((by_definition(norm, h) * weights).sum(), inputs)
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one.double(), other.double(), rtol=0.02, atol=0.05)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_pullbacks_and_maps_over_samples(dtype: torch.dtype) -> None:
    norm, h = layer(16, 4), features((3, 16, 4, 4), dtype, last=True)
    cotangent = torch.randn_like(h)
    (found,) = torch.func.vjp(norm, h)[1](cotangent)
    x = h.double().requires_grad_()
    (wanted,) = torch.autograd.grad((by_definition(norm, x) * cotangent.double()).sum(), x)
    close = 1e-5 if dtype is torch.float32 else 0.05
    torch.testing.assert_close(found.double(), wanted, rtol=close, atol=close)
    mapped = torch.func.vmap(lambda one: norm(one[None])[0])(h)
    torch.testing.assert_close(mapped.double(), by_definition(norm, h), rtol=close, atol=close)


def test_has_no_numbers_on_the_meta_device() -> None:
    norm = layer(32, 8).to("meta")
    assert norm(torch.empty(2, 32, 4, 4, device="meta", dtype=torch.bfloat16)).shape == (2, 32, 4, 4)
