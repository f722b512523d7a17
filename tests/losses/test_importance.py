"""Importance sampling of times by the losses' second moment."""

from __future__ import annotations

import pytest
import torch

from losses.importance import LossSecondMoment
from sde_lib.discrete import DiscreteDiffusion
from sde_lib.noise import Noise
from sde_lib.schedules import cosine_betas

LOSSES = torch.tensor([8.0, 2.0, 1.0, 1.0], dtype=torch.float64)
CHAIN = DiscreteDiffusion.ddpm(cosine_betas(4))


def warm(history: int = 3, uniform: float = 0.01) -> LossSecondMoment:
    """Every level seen ``history`` times with its loss of ``LOSSES``."""
    times = LossSecondMoment(num_levels=4, history=history, uniform=uniform)
    for _ in range(history):
        times.observe(torch.arange(4), LOSSES)
    return times


def test_probabilities_follow_the_root_mean_square_of_the_last_losses() -> None:
    times = warm()
    torch.testing.assert_close(times.probabilities(), 0.99 * LOSSES / 12 + 0.01 / 4)
    times.observe(torch.tensor([1]), torch.tensor([5.0]))  # pushes the oldest of three out: 2, 2, 5
    root = torch.tensor([8, (33 / 3) ** 0.5, 1, 1], dtype=torch.float64)
    torch.testing.assert_close(times.probabilities(), 0.99 * root / root.sum() + 0.01 / 4)


def test_times_are_uniform_until_every_level_has_its_history() -> None:
    times = LossSecondMoment(num_levels=4, history=2)
    times.observe(torch.tensor([0, 1, 2, 3, 0, 1, 2]), torch.full((7,), 9.0))
    assert times.probabilities().tolist() == [0.25] * 4
    assert times.weights(torch.arange(4)).tolist() == [1.0] * 4


def test_drawn_in_proportion_and_unbiased() -> None:
    """100,000 draws: frequencies within 4 standard errors of p, and weighted losses average to the plain
    mean."""
    times, count = warm(), 100_000
    t = times.sample(CHAIN, Noise(3, range(count)))
    p = times.probabilities()
    share = torch.bincount(t, minlength=4).double() / count
    assert ((share - p).abs() < 4 * (p * (1 - p) / count).sqrt()).all()
    weighted = LOSSES[t] * times.weights(t)
    assert abs(float(weighted.mean()) - 3.0) < 4 * float(weighted.std()) / count**0.5
    # the point of it: uniform times have the standard deviation of LOSSES, 2.9
    assert float(weighted.std()) < 0.3


def test_state_survives_a_checkpoint() -> None:
    first, second = warm(), LossSecondMoment(num_levels=4, history=3, uniform=0.01)
    second.load_state_dict(first.state_dict())
    for times in (first, second):
        times.observe(torch.tensor([2, 2]), torch.tensor([4.0, 6.0]))
    assert torch.equal(first.probabilities(), second.probabilities())
    with pytest.raises(ValueError, match=r"keep model\.num_scales"):
        LossSecondMoment(num_levels=5, history=3).load_state_dict(first.state_dict())
    with pytest.raises(ValueError, match=r"set training\.times as it was"):
        first.load_state_dict({})
