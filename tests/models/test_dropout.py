"""Dropout by the samples' streams: a mask is a function of (seed, sample, layer, place) and of nothing else."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from models.blocks.dropout import Dropout, dropout_from
from sde_lib import Noise
from tests.models.test_adm import randomised, small

SHAPE = (8, 6, 5, 3)


def masked(noise: Noise, p: float = 0.3, shape: tuple[int, ...] = SHAPE) -> Tensor:
    layer = Dropout(p).train()
    with dropout_from(layer, noise):
        out: Tensor = layer(torch.ones(shape, dtype=torch.float64))
    return out


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_share_and_scale(p: float) -> None:
    """Elements are 0 or 1 / (1 - q), with q the multiple of 1 / 65536 next to p; the share of zeros is q to 5 s.e."""
    q = round(p * 65536) / 65536
    shape = (64, 4, 32, 32)
    out = masked(Noise(0, range(64)), p, shape)
    assert out.unique().tolist() == pytest.approx([0.0, 1 / (1 - q)], rel=1e-12)
    count = math.prod(shape)
    assert (out == 0).double().mean().item() == pytest.approx(q, abs=5 * math.sqrt(q * (1 - q) / count))
    # Nor is any place of a sample, or any sample, favoured.
    for dims, size in (((1, 2, 3), count // 64), ((0,), 64)):
        share = (out == 0).double().mean(dims)
        assert (share - q).abs().max() < 6 * math.sqrt(q * (1 - q) / size)


def test_a_sample_has_its_mask_in_any_batch() -> None:
    whole = masked(Noise(5, range(8)))
    assert torch.equal(masked(Noise(5, [6, 2]), shape=(2, *SHAPE[1:])), whole[[6, 2]])
    assert not torch.equal(whole[0], whole[1])
    assert not torch.equal(masked(Noise(6, range(8))), whole)


@pytest.mark.parametrize("shape", [(4, 7), (4, 3, 9), (4, 3, 5, 4), (4, 2, 3, 4, 2)])
def test_any_rank_and_memory_format(shape: tuple[int, ...]) -> None:
    layer, x = Dropout(0.4).train(), torch.randn(shape, generator=torch.Generator().manual_seed(0))
    strided = x.movedim(1, -1).contiguous().movedim(-1, 1)
    with dropout_from(layer, Noise(0, range(4))):
        once, again, other = layer(x), layer(x), layer(strided)
    assert torch.equal(once, again)
    assert torch.equal(once, other)
    assert ((once == 0) | torch.isclose(once, x / (1 - round(0.4 * 65536) / 65536))).all()


def test_gradient_passes_where_the_value_does() -> None:
    layer, x = Dropout(0.3).train().double(), torch.ones(SHAPE, dtype=torch.float64, requires_grad=True)
    with dropout_from(layer, Noise(0, range(8))):
        out = layer(x)
        (gradient,) = torch.autograd.grad(out.sum(), x)
        assert torch.equal(gradient, out)
        few = x.detach()[:, :2, :2, :1].clone().requires_grad_()
        assert torch.autograd.gradcheck(layer, few)
        assert torch.autograd.gradgradcheck(layer, few)


def test_layers_differ_and_end_with_the_block() -> None:
    network = nn.Sequential(Dropout(0.5), nn.Identity(), nn.Sequential(Dropout(0.5))).train()
    first, last = network[0], network[2][0]
    x = torch.ones(SHAPE)
    with dropout_from(network, Noise(0, range(8))):
        assert not torch.equal(first(x), last(x))
        with pytest.raises(ValueError, match="dropout for 8 samples was asked for a batch of 3"):
            first(x[:3])
    with pytest.raises(RuntimeError, match="stop"), dropout_from(network, Noise(0, range(8))):
        raise RuntimeError("stop")
    assert first.keys is None
    torch.manual_seed(1)
    ours = first(x)
    torch.manual_seed(1)
    assert torch.equal(ours, nn.functional.dropout(x, 0.5))


def test_nothing_is_dropped_outside_training() -> None:
    layer, x = Dropout(0.5).eval(), torch.ones(SHAPE)
    with dropout_from(layer, Noise(0, range(8))):
        assert layer(x) is x
    assert Dropout(0.0).train()(x) is x


@pytest.mark.parametrize("p", [-0.1, 1.0, math.nan])
def test_probabilities(p: float) -> None:
    with pytest.raises(ValueError, match=r"lies in \[0, 1\)"):
        Dropout(p)


def gradients(use_checkpoint: bool, parts: int = 1, compiled: bool = False) -> list[Tensor]:
    network = randomised(small(dropout=0.5, use_checkpoint=use_checkpoint)).double().train()
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(4, 2, 8, 8, generator=generator, dtype=torch.float64)
    labels = torch.linspace(1, 900, 4, dtype=torch.float64)
    call = torch.compile(network, backend="eager", fullgraph=True) if compiled else network
    for rows in torch.arange(4).chunk(parts):
        with dropout_from(network, Noise(9, rows)):
            call(x[rows], labels[rows]).square().sum().backward()
    return [p.grad for p in network.parameters() if p.grad is not None]


@pytest.mark.slow
def test_a_network_recomputed_compiled_or_in_parts_has_the_same_gradient() -> None:
    whole = gradients(False)
    assert all(torch.equal(a, b) for a, b in zip(whole, gradients(True), strict=True))
    assert all(torch.equal(a, b) for a, b in zip(whole, gradients(False, compiled=True), strict=True))
    for use_checkpoint in (False, True):
        for a, b in zip(whole, gradients(use_checkpoint, parts=3), strict=True):
            assert torch.allclose(a, b, rtol=1e-9, atol=1e-12 * float(a.abs().max()) + 1e-15)
