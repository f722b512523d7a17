"""Bits per dimension: closed forms of the conversion, and what it refuses."""

from __future__ import annotations

import math

import pytest
import torch

from likelihood.bits import bits_per_dim
from likelihood.dequantise import UniformDequantisation, importance_weighted
from sde_lib import Noise


@pytest.mark.parametrize("levels", [2, 17, 256, 65536])
@pytest.mark.parametrize("width", [1.0, 2.0])
def test_uniform_density_costs_log2_of_the_levels(levels: int, width: float) -> None:
    # The density width^-D; nothing is known of the data, so each value costs what naming one level costs.
    logp = torch.tensor([-3072 * math.log(width)], dtype=torch.float64)
    assert float(bits_per_dim(logp, 3072, levels=levels, data_range=width)) == math.log2(levels)


def test_the_same_data_cost_the_same_in_both_ranges() -> None:
    # Stretching [0, 1] to [-1, 1] halves the density of each of D dimensions.
    logp = torch.tensor([12.3, -4.5], dtype=torch.float64)
    stretched = bits_per_dim(logp - 10 * math.log(2), 10, levels=256, data_range=2.0)
    torch.testing.assert_close(
        stretched, bits_per_dim(logp, 10, levels=256, data_range=1.0), rtol=1e-14, atol=0
    )


def test_continuous_data_have_no_bits() -> None:
    with pytest.raises(ValueError, match="Continuous data"):
        bits_per_dim(torch.zeros(1), 2, levels=None, data_range=2.0)


def test_a_density_constant_on_each_bin_costs_what_its_levels_do() -> None:
    # With a density constant on each bin the bound is an equality: p = P(level) levels / range, whose cost is
    # -log2 P(level) wherever in the bin the value lies.
    probability = torch.tensor([0.1, 0.2, 0.3, 0.4], dtype=torch.float64)
    level = torch.arange(4)[:, None]
    data = UniformDequantisation(levels=4)(level, Noise(0, range(4), dtype=torch.float64))
    bin_of = ((data.x + 1) * 2).floor().long()[:, 0]
    assert bin_of.tolist() == [0, 1, 2, 3]
    cost = bits_per_dim((probability[bin_of] * 4 / 2).log() - data.log_q, 1, levels=4, data_range=2.0)
    torch.testing.assert_close(cost, -probability.log2(), rtol=1e-14, atol=1e-14)


def test_dequantised_values_fill_their_bins_uniformly() -> None:
    data = UniformDequantisation(levels=2, low=0.0, high=1.0)(torch.ones(1, 20000), Noise(3, range(1)))
    place = (data.x.double() - 0.5) * 2
    assert float(place.min()) >= 0
    assert float(place.max()) <= 1
    # Mean 1/2 and variance 1/12 within four standard errors of 20000 draws.
    assert float(place.mean()) == pytest.approx(0.5, abs=4 * math.sqrt(1 / 12 / 20000))
    assert float(place.var()) == pytest.approx(1 / 12, abs=4 * math.sqrt(1 / 180 / 20000))


@pytest.mark.parametrize(
    ("values", "match"), [([[0.5]], "continuous"), ([[17.0]], "0..16"), ([[-1.0]], "0..16")]
)
def test_values_that_are_no_levels_are_refused(values: list, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        UniformDequantisation(levels=17)(torch.tensor(values), Noise(0, range(1)))


def test_importance_weights_average_probabilities() -> None:
    # log((1/8 + 1/2 + 1/4 + 1/8) / 4) = log(1/4)
    weights = torch.tensor([1 / 8, 1 / 2, 1 / 4, 1 / 8], dtype=torch.float64).log()[:, None]
    torch.testing.assert_close(importance_weighted(weights), torch.tensor([0.25], dtype=torch.float64).log())
