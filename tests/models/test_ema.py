"""Averaged weights."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from models.ema import EMA


def network(value: float) -> nn.Linear:
    linear = nn.Linear(2, 1).double()
    fill(linear, value)
    return linear


def fill(module: nn.Module, value: float) -> None:
    with torch.no_grad():
        for p in module.parameters():
            p.fill_(value)


@pytest.mark.parametrize(("warmup", "decay"), [(True, 0.5), (True, 0.9999), (False, 0.9)])
def test_average_is_the_recursion(warmup: bool, decay: float) -> None:
    """shadow <- d_k shadow + (1 - d_k) w_k, d_k = min(decay, (1 + k)/(10 + k)), k from 1 as score_sde counts.

    With decay 0.5 the warm-up ends at k = 8, inside the run.
    """
    module, shadow = network(1.0), 1.0
    ema = EMA(module, decay=decay, warmup=warmup)
    for k in range(1, 21):
        weight = math.sin(k)
        fill(module, weight)
        ema.update(module)
        d = min(decay, (1 + k) / (10 + k)) if warmup else decay
        shadow = d * shadow + (1 - d) * weight
    assert ema.num_updates == 20
    for p in ema.shadow.values():
        assert p.flatten().tolist() == pytest.approx([shadow] * p.numel(), rel=1e-12)


def test_warm_up_forgets_the_initial_weights() -> None:
    """The initial weights' share after n updates is the product of (1+k)/(10+k): 10! n! / (n+10)! (n+1)."""
    module = network(1.0)
    ema = EMA(module, decay=0.9999)
    fill(module, 0.0)
    for _ in range(20):
        ema.update(module)
    share = math.prod((1 + k) / (10 + k) for k in range(1, 21))
    assert share == pytest.approx(math.factorial(10) * math.factorial(21) / math.factorial(30), rel=1e-12)
    assert ema.shadow["bias"].item() == pytest.approx(share, rel=1e-12)


def test_module_holds_the_average_inside_the_block_only() -> None:
    module = network(1.0)
    ema = EMA(module, decay=0.5, warmup=False)
    fill(module, 3.0)
    ema.update(module)  # (1 + 3) / 2
    with ema.average(module):
        assert module.weight.flatten().tolist() == [2.0, 2.0]
    assert module.weight.flatten().tolist() == [3.0, 3.0]
    assert ema.shadow["bias"].item() == 2.0


def test_own_weights_return_after_an_exception() -> None:
    module = network(1.0)
    ema = EMA(module, decay=0.5, warmup=False)
    fill(module, 3.0)

    def fail() -> None:
        with ema.average(module):
            assert module.bias.item() == 1.0
            raise KeyError("inside")

    with pytest.raises(KeyError, match="inside"):
        fail()
    assert module.bias.item() == 3.0


def test_frozen_parameters_are_left_out() -> None:
    """A fixed Fourier embedding, as in score_sde: its list of averages does not hold it either."""
    module = network(1.0)
    module.bias.requires_grad_(False)
    assert list(EMA(module, decay=0.5).shadow) == ["weight"]


def test_state_continues_where_it_stopped() -> None:
    """Saved after 5 of 12 updates and restored into a fresh average: the same weights, bit for bit."""
    module = network(1.0)
    whole, first = EMA(module, decay=0.9), EMA(module, decay=0.9)
    restored = EMA(network(7.0), decay=0.9)
    for k in range(12):
        fill(module, math.cos(k))
        whole.update(module)
        if k < 5:
            first.update(module)
        if k == 4:
            restored.load_state_dict(first.state_dict())
        if k >= 5:
            restored.update(module)
    assert all(torch.equal(restored.shadow[name], p) for name, p in whole.shadow.items())


def test_restored_average_is_a_copy() -> None:
    """Updating it does not write into the state that it was restored from."""
    source, target = EMA(network(1.0), decay=0.5), EMA(network(2.0), decay=0.5)
    target.load_state_dict(source.state_dict())
    target.update(network(5.0))
    assert source.shadow["bias"].item() == 1.0


def test_averages_of_another_architecture_are_refused() -> None:
    ema, other = EMA(network(1.0), decay=0.5), EMA(nn.Sequential(network(1.0)), decay=0.5)
    with pytest.raises(ValueError, match=r"differing names: 0\.bias, 0\.weight, bias, weight"):
        ema.load_state_dict(other.state_dict())


@pytest.mark.parametrize("decay", [-0.1, 1.0])
def test_decay_out_of_range_is_refused(decay: float) -> None:
    with pytest.raises(ValueError, match=r"decay lies in \[0, 1\)"):
        EMA(network(1.0), decay=decay)
