"""Filters against their definition: explicit zero stuffing, filtering and convolution in numpy and scipy."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy.signal import convolve, correlate
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from models.blocks.convolution import conv
from models.blocks.fir import (
    fir_downsample,
    fir_downsample_conv,
    fir_kernel,
    fir_upsample,
    fir_upsample_conv,
)
from models.blocks.resample import Downsample, Factors, Upsample, convolve_repeated, repeated

TAPS = [(1, 3, 3, 1), (1, 2, 1), (1, 1), (1, 4, 6, 4, 1), (1, 2, 5, 1)]


def draw(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)


def taps_of(taps: tuple[int, ...], rank: int) -> np.ndarray:
    line = np.array(taps) / sum(taps)
    kernel = line
    for _ in range(rank - 1):
        kernel = np.multiply.outer(kernel, line)
    return kernel


def stuffed(x: np.ndarray, rank: int) -> np.ndarray:
    """Zeros between the values: index 2 n holds x[n]."""
    u = np.zeros([2 * size for size in x.shape])
    u[(slice(None, None, 2),) * rank] = x
    return u


def window(full: np.ndarray, start: int, shape: tuple[int, ...]) -> np.ndarray:
    return full[tuple(slice(start, start + size) for size in shape)]


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("taps", TAPS)
def test_upsampling_is_zero_stuffing_and_filtering(taps: tuple[int, ...], rank: int) -> None:
    """out[n] = 2^rank (k * u)[n + p // 2], p = len(k) - 2: StyleGAN2's phase (upsample_2d)."""
    x = draw(2, 3, *(5, 4, 3)[:rank])
    output = fir_upsample(x, fir_kernel(taps, rank).double())
    for b in range(2):
        for c in range(3):
            u = stuffed(x[b, c].numpy(), rank)
            full = convolve(u, taps_of(taps, rank) * 2**rank, mode="full", method="direct")
            # In full convolution u's trailing zeros reach past the end: their samples are zero or cropped.
            expected = window(full, (len(taps) - 2) // 2, u.shape)
            np.testing.assert_allclose(output[b, c], expected, atol=1e-7)


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("taps", TAPS)
def test_downsampling_is_filtering_and_every_second_position(taps: tuple[int, ...], rank: int) -> None:
    """Pad (p + 1) // 2 before and p // 2 after, p = len(k) - 2; valid filtering; stride 2 (downsample_2d)."""
    x = draw(2, 3, *(6, 4, 8)[:rank])
    output = fir_downsample(x, fir_kernel(taps, rank).double())
    p = len(taps) - 2
    for b in range(2):
        for c in range(3):
            padded = np.pad(x[b, c].numpy(), ((p + 1) // 2, p // 2))
            valid = convolve(padded, taps_of(taps, rank), mode="valid", method="direct")
            np.testing.assert_allclose(output[b, c], valid[(slice(None, None, 2),) * rank], atol=1e-7)


@pytest.mark.parametrize("rank", [1, 2])
@pytest.mark.parametrize("taps", TAPS)
def test_upsampling_with_convolution(taps: tuple[int, ...], rank: int) -> None:
    """Zero stuffing, filtering, convolution with w, one after the other on a signal padded so widely that
    nothing is cut off between them (crashes in the ancestor). With p = len(k) - 2 the filter's part starts at
    p // 2, as in plain up-sampling, and the 3-wide kernel is centred."""
    x, weight = draw(2, 3, *(5, 4)[:rank]), draw(4, 3, *(3,) * rank)
    output = fir_upsample_conv(x, fir_kernel(taps, rank).double(), weight)
    margin = 2 * len(taps)
    phase = (len(taps) - 2) // 2
    for b in range(2):
        filtered = []
        for c in range(3):
            u = np.pad(stuffed(x[b, c].numpy(), rank), margin)
            full = convolve(u, taps_of(taps, rank) * 2**rank, mode="full", method="direct")
            filtered.append(window(full, phase, u.shape))
        for o in range(4):
            convolved = sum(
                correlate(filtered[c], weight[o, c].numpy(), mode="same", method="direct") for c in range(3)
            )
            expected = window(convolved, margin, tuple(2 * size for size in x.shape[2:]))
            np.testing.assert_allclose(output[b, o], expected, atol=1e-6)


@pytest.mark.parametrize("taps", TAPS)
def test_downsampling_with_convolution(taps: tuple[int, ...]) -> None:
    """Filter the padded image, convolve with w, keep every second position: p = len(k) zeros in all."""
    x, weight = draw(2, 3, 6, 8), draw(4, 3, 3, 3)
    output = fir_downsample_conv(x, fir_kernel(taps, 2).double(), weight)
    p = len(taps)
    for b in range(2):
        filtered = [
            convolve(np.pad(x[b, c].numpy(), ((p + 1) // 2, p // 2)), taps_of(taps, 2), mode="valid")
            for c in range(3)
        ]
        for o in range(4):
            convolved = sum(correlate(filtered[c], weight[o, c].numpy(), mode="valid") for c in range(3))
            np.testing.assert_allclose(output[b, o], convolved[::2, ::2], atol=1e-6)


FACTORS: list[Factors] = [(2,), (2, 2), (2, 2, 2), (1, 2, 2)]


@pytest.mark.parametrize("factors", FACTORS)
def test_a_convolution_of_repeated_values_is_one_of_the_values(factors: Factors) -> None:
    """The same numbers, and derivatives by the weight, as of the convolution after the repetition."""
    layer = conv(len(factors), 3, 4).double()
    h = draw(2, 3, *(5, 4, 3)[: len(factors)])
    found, plain = convolve_repeated(h, layer, factors), layer(repeated(h, factors))
    torch.testing.assert_close(found, plain, rtol=0, atol=1e-13)
    assert layer.bias is not None
    towards = draw(*plain.shape)
    wanted = torch.autograd.grad(plain, (layer.weight, layer.bias), towards)
    for ours, theirs in zip(
        torch.autograd.grad(found, (layer.weight, layer.bias), towards), wanted, strict=True
    ):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)


def products(call: Callable[[], object]) -> int:
    with FlopCounterMode(display=False) as counted:
        call()
    return counted.get_total_flops() // 2


@pytest.mark.parametrize("factors", FACTORS)
def test_two_taps_that_meet_one_value_take_one_product(factors: Factors) -> None:
    """Along a doubled axis 4 products for each value, in place of 3 for each of the two that it becomes; of the layer's
    own convolution, and of a block's that follows."""
    rank, doubled, h = len(factors), factors.count(2), torch.zeros(1, 2, *(4,) * len(factors))
    convolving = Upsample(rank, in_channels=2, with_conv=True, keep_depth=1 in factors)
    plainly, layer = Upsample(rank, keep_depth=1 in factors), conv(rank, 2, 2)
    taken = 2 * 2 * 3**rank * 4**rank * 2**doubled * 2**doubled // 3**doubled
    assert products(lambda: convolving(h)) == products(lambda: plainly.into(h, layer)) == taken


def test_only_repetition_is_taken_into_a_convolution() -> None:
    """A filter, or a convolution of the layer's own, comes before the next one as it did."""
    h, layer = draw(1, 2, 4, 4).float(), conv(2, 2, 3)
    filtered, convolving = Upsample(2, fir=(1, 3, 3, 1)), Upsample(2, in_channels=2, with_conv=True)
    for first in (filtered, convolving, Downsample(2)):
        assert torch.equal(first.into(h, layer), layer(first(h)))


def test_a_constant_stays_constant() -> None:
    """The kernel sums to one: away from the border neither direction changes a constant."""
    x = torch.ones(1, 2, 16, 16)
    for layer in (Upsample(2, fir=(1, 3, 3, 1)), Downsample(2, fir=(1, 3, 3, 1))):
        inner = layer(x)[:, :, 2:-2, 2:-2]
        torch.testing.assert_close(inner, torch.ones_like(inner))


def test_layers_add_the_bias_after_filter_and_convolution() -> None:
    """Both filtered layers with zero weights are their bias everywhere."""
    for kind in (Upsample, Downsample):
        layer = kind(2, in_channels=2, out_channels=3, with_conv=True, fir=(1, 3, 3, 1))
        assert layer.conv is not None
        layer.conv.weight.data.zero_()
        layer.conv.bias.data = torch.tensor([1.0, 2.0, 3.0])
        output = layer(torch.randn(1, 2, 8, 8, generator=torch.Generator().manual_seed(4)))
        torch.testing.assert_close(
            output, torch.tensor([1.0, 2.0, 3.0]).reshape(1, 3, 1, 1).expand_as(output)
        )
