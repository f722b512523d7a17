"""Distributions of times for flow matching, against their distribution functions."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats

from losses import LogitNormalTimes, ModeTimes
from sde_lib import EDM, Flow, Noise

COUNT = 4096


def draws(times: LogitNormalTimes | ModeTimes, process: object = Flow()) -> np.ndarray:
    return times.sample(process, Noise(5, range(COUNT))).numpy()  # type: ignore[arg-type]


@pytest.mark.parametrize(("mean", "std"), [(0.0, 1.0), (0.5, 0.6), (-1.0, 1.4)])
def test_logits_are_normal(mean: float, std: float) -> None:
    """Kolmogorov and Smirnov's distance; of 4096 draws it exceeds 0.03 once in a thousand times."""
    t = draws(LogitNormalTimes(logit_mean=mean, logit_std=std))
    assert scipy.stats.kstest(np.log(t / (1 - t)), scipy.stats.norm(mean, std).cdf).statistic < 0.03


def mode_cdf(t: np.ndarray, scale: float) -> np.ndarray:
    """P(T <= t) = 1 - u at the u of t = f(u), f falling (Esser et al. 2024, eq. 20), by bisection."""
    f = lambda u: 1 - u - scale * (np.cos(math.pi / 2 * u) ** 2 - 1 + u)  # noqa: E731
    low, high = np.zeros_like(t), np.ones_like(t)
    for _ in range(60):
        middle = (low + high) / 2
        low, high = np.where(f(middle) > t, middle, low), np.where(f(middle) > t, high, middle)
    return 1 - low


@pytest.mark.parametrize("scale", [-1.0, 0.0, 0.81, 1.29, 2 / (math.pi - 2)])
def test_mode_times_have_the_papers_distribution(scale: float) -> None:
    t = draws(ModeTimes(scale))
    assert scipy.stats.kstest(t, lambda t: mode_cdf(t, scale)).statistic < 0.03
    if scale == 0:
        assert scipy.stats.kstest(t, "uniform").statistic < 0.03


def test_they_are_in_units_of_the_processs_time() -> None:
    process = EDM()
    logit = draws(LogitNormalTimes(), process)
    assert logit.max() < 80
    assert np.median(logit) == pytest.approx(40, rel=0.1)
    assert np.median(draws(ModeTimes(), process)) == pytest.approx(40, rel=0.1)


def test_none_lies_outside_those_of_training() -> None:
    process = Flow(t_min=0.2)
    for times in (LogitNormalTimes(logit_mean=-2.0), ModeTimes(-1.0)):
        assert draws(times, process).min() == pytest.approx(0.2)


@pytest.mark.parametrize("scale", [-1.01, 1.76])
def test_a_scale_that_turns_back_is_refused(scale: float) -> None:
    with pytest.raises(ValueError, match="mode_scale"):
        ModeTimes(scale)
