"""Repeated sets of samples: by hand, and what their intervals cover, drawn many times from known laws."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats

from run_lib.metrics.base import Measured
from run_lib.metrics.repeats import (
    Difference,
    OverSets,
    difference_of_single_sets,
    over_sets,
    paired_difference,
    unpaired_difference,
)

TRIALS, RARE = 1000, 1e-4


def sets(values: np.ndarray, errors: np.ndarray | float | None = None) -> OverSets:
    given = [None] * len(values) if errors is None else np.broadcast_to(errors, len(values)).tolist()
    return over_sets([Measured("", float(v), e) for v, e in zip(values, given, strict=True)])


def within(hits: int, low: float, high: float, trials: int = TRIALS) -> bool:
    """Whether so many hits are what a probability of ``low`` to ``high`` gives, but for two in ten thousand."""
    least, most = scipy.stats.binom.ppf([RARE, 1 - RARE], trials, [low, high])
    return bool(least <= hits <= most)


def test_by_hand() -> None:
    """t_3 at 97.5 % is 3.18245; the variance of 1, 2, 4, 5 is 10/3. Errors of 1 and 2 have a mean square of 5/2."""
    found = sets(np.array([4.0, 2.0, 5.0, 1.0]), np.array([1.0, 2.0, 1.0, 2.0]))
    assert found.mean == 3
    assert found.stderr == pytest.approx(math.sqrt(10 / 12))
    assert found.high - 3 == pytest.approx(3.182446 * math.sqrt(10 / 12), rel=1e-6)
    assert 3 - found.low == pytest.approx(found.high - 3)
    assert found.least == 2, "of the first three"
    assert found.spread == pytest.approx(math.sqrt(10 / 3))
    assert found.within == pytest.approx(math.sqrt(5 / 2))
    assert found.between == pytest.approx(math.sqrt(10 / 3 - 5 / 2))
    assert found.note == "a set's standard deviation is 1.8 over 4 sets, 1.6 by the errors of single sets"


def test_two_sets_have_no_minimum_of_three_and_sets_without_errors_no_parts() -> None:
    found = sets(np.array([1.0, 3.0]))
    assert found.least is None and found.within is None and found.between is None
    assert not found.exceeds
    assert found.note == "a set's standard deviation is 1.4 over 2 sets"
    assert sets(np.array([1.0, 1.1]), 3.0).between == 0, "no negative variance"


def test_a_number_that_is_not_finite_is_refused() -> None:
    with pytest.raises(ValueError, match="is not finite"):
        sets(np.array([1.0, math.nan, 2.0]))


@pytest.mark.parametrize("repeats", [2, 3, 10])
def test_interval_covers_the_expectation_of_a_set(repeats: int) -> None:
    drawn = np.random.default_rng(0).normal(5.0, 2.0, (TRIALS, repeats))
    hits = [found.low <= 5 <= found.high for found in map(sets, drawn)]
    assert within(sum(hits), 0.95, 0.95)


def test_interval_covers_the_expectation_of_a_skewed_number() -> None:
    """Squared distances of means are chi^2 of as many degrees of freedom as there are features, here 8."""
    drawn = np.random.default_rng(1).chisquare(8, (TRIALS, 5))
    hits = [found.low <= 8 <= found.high for found in map(sets, drawn)]
    assert within(sum(hits), 0.93, 0.95)


def test_variance_within_and_between_sets() -> None:
    """Sets differ by a spread of 2 beside errors of 1, which each tells to within 16 %: 5 = 1 + 4 on average. Sets
    without anything between them are said to exceed their errors once in a hundred times."""
    rng = np.random.default_rng(2)
    errors = np.sqrt(rng.chisquare(20, (TRIALS, 4)) / 20)
    noise, apart = rng.normal(size=(2, TRIALS, 4))
    found = [sets(v, e) for v, e in zip(7 + 2 * apart + noise, errors, strict=True)]
    parts = np.array([f.spread**2 - (f.within or 0) ** 2 for f in found])
    assert parts.mean() == pytest.approx(4, abs=4 * parts.std() / math.sqrt(TRIALS))
    assert np.mean([f.exceeds for f in found]) > 0.4
    alike = [sets(v, e) for v, e in zip(7 + noise, errors, strict=True)]
    assert within(sum(f.exceeds for f in alike), 0.01, 0.02)
    assert "which are too small" in sets(np.array([1.0, 9.0, 5.0]), 0.1).note


def covers(found: Difference, truth: float) -> bool:
    return found.low <= truth <= found.high


@pytest.mark.parametrize("repeats", [3, 10])
def test_paired_difference_covers_the_truth_and_what_seeds_share_cancels(repeats: int) -> None:
    """Noise of 10 that both have, of 1 and 0.1 of their own."""
    rng = np.random.default_rng(3)
    shared = rng.normal(0, 10, (TRIALS, repeats))
    a = 2 + shared + rng.normal(0, 1, (TRIALS, repeats))
    b = 1.5 + shared + rng.normal(0, 0.1, (TRIALS, repeats))
    found = [paired_difference(x, y) for x, y in zip(a.tolist(), b.tolist(), strict=True)]
    assert within(sum(covers(f, 0.5) for f in found), 0.95, 0.95)
    assert np.median([f.stderr for f in found]) < 1.1 / math.sqrt(repeats)
    assert found[0].how == f"paired over {repeats} sets of the same seeds"


@pytest.mark.parametrize(("sizes", "spreads"), [((5, 5), (1, 1)), ((3, 10), (1, 5)), ((10, 4), (0.1, 3))])
def test_unpaired_difference_covers_the_truth(sizes: tuple[int, int], spreads: tuple[float, float]) -> None:
    """Welch's level is nominal to within a hundredth and a half."""
    rng = np.random.default_rng(4)
    a, b = (rng.normal(0, s, (TRIALS, n)) for s, n in zip(spreads, sizes, strict=True))
    found = [unpaired_difference(x, 1 + y) for x, y in zip(a, b, strict=True)]
    assert within(sum(covers(f, -1) for f in found), 0.935, 0.965)


def test_differences_by_hand() -> None:
    """Of 1, 3 and 2, 2, 5: -1, variances 2 and 3, of the means 1 and 1; 4 / (1 / 1 + 1 / 2) degrees of freedom."""
    apart = unpaired_difference([1.0, 3.0], [2.0, 2.0, 5.0])
    half = scipy.stats.t.ppf(0.975, 8 / 3) * math.sqrt(2)
    assert (apart.mean, apart.stderr) == (-1, pytest.approx(math.sqrt(2)))
    assert (apart.low, apart.high) == (pytest.approx(-1 - half), pytest.approx(-1 + half))
    assert not apart.told_apart
    together = paired_difference([1.0, 3.0, 2.0], [2.0, 4.1, 2.9])
    assert together.mean == pytest.approx(-1)
    assert together.told_apart
    assert not unpaired_difference([1.0, 1.0], [1.0, 1.0]).told_apart
    assert unpaired_difference([1.0, 1.0], [2.0, 2.0]).told_apart


def test_difference_of_single_sets() -> None:
    """Errors of 3 and 4 are 5 together."""
    found = difference_of_single_sets(Measured("", 10.0, 3.0), Measured("", 0.0, 4.0))
    assert found is not None
    assert (found.mean, found.stderr) == (10, 5)
    assert found.high == pytest.approx(10 + 1.959964 * 5)
    assert difference_of_single_sets(Measured("", 10.0, None), Measured("", 0.0, 4.0)) is None
