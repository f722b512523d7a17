"""Estimates and their errors against closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats

from run_lib.statistics import bootstrap, mean, proportion, share, t_interval

RNG = np.random.default_rng(0)


def test_mean() -> None:
    """scipy's standard error; none of a single value."""
    values = np.array([1.0, 2.0, 4.0, 3.5])
    assert mean(values) == (2.625, pytest.approx(scipy.stats.sem(values)))
    alone = mean([3.0])
    assert alone.value == 3
    assert math.isnan(alone.stderr)


def test_bootstrap() -> None:
    """The mean of n numbers of deviation s has the error s / sqrt(n); of 200 repeats within 20 %."""
    x = 3 * RNG.normal(size=(400, 1))
    assert bootstrap(lambda s: float(s.mean()), x, seed=1, repeats=200) == pytest.approx(3 / 20, rel=0.2)
    assert bootstrap(lambda s: float(s.mean()), x, seed=1) == bootstrap(lambda s: float(s.mean()), x, seed=1)


def test_proportion() -> None:
    found = proportion(np.array([True, False, False, False]))
    assert found.value == 0.25
    assert found.stderr == pytest.approx(math.sqrt(3 / 8 * 5 / 8 / 8))
    assert proportion(np.ones(96, dtype=bool)) == (1.0, pytest.approx(0.0139999, rel=1e-4))


def test_share_that_was_selected() -> None:
    """Alone it is a proportion. Of ten, z = 2.8373 has a tenth of the probability beyond two: of 3 hits of 4,
    z^2 = 8.0503, q = (3 + 4.0251) / 12.0503 = 0.58299, and half of z sqrt(q (1 - q) / 12.0503) is 0.20150."""
    assert share(1, 4) == proportion(np.array([True, False, False, False]))
    assert math.erfc(2.8373 / math.sqrt(2)) == pytest.approx(math.erfc(math.sqrt(2)) / 10, rel=1e-3)
    assert share(3, 4, among=10) == (0.75, pytest.approx(0.20150, rel=1e-4))


def test_interval_is_students() -> None:
    """scipy's, of which ours is the half width."""
    held = np.array([1.0, 2.0, 4.0, 3.5])
    low, high = scipy.stats.t.interval(0.9, 3, held.mean(), scipy.stats.sem(held))
    found = t_interval(held, 0.9)
    assert (found.mean - found.half, found.mean + found.half) == pytest.approx((low, high))


def test_interval_of_a_single_value() -> None:
    found = t_interval([3.0], 0.9)
    assert found.mean == 3
    assert math.isnan(found.half)
