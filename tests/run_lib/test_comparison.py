"""The level and the power of the comparison of settings with the best of them, simulated from known laws.

Bounds: a count of N trials, each a hit with a probability of at most p, exceeds ``binom.ppf(1 - 1e-5, N, p)`` once in
100,000 times.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import numpy as np
import pytest
import scipy.integrate
import scipy.stats

from run_lib.tuning.comparison import Comparison, compare, simultaneous_factor

TRIALS, RARE = 1000, 1e-5
SIZES = [(2, 3), (2, 5), (2, 10), (10, 3), (10, 5), (10, 10), (30, 3), (30, 5), (30, 10)]
"""Settings and repeats."""


def spreads(name: str, settings: int) -> np.ndarray:
    """Standard deviations of the settings' own noise: equal, of two kinds, in equal ratios up to a thousand, or one
    that diverges beside good ones."""
    return {
        "equal": np.ones(settings),
        "two kinds": np.where(np.arange(settings) % 2, 1.0, 0.2),
        "ratios": np.geomspace(1, 1000, settings),
        "one diverges": np.r_[1e4, np.ones(settings - 1)],
    }[name]


def drawn(rng: np.random.Generator, spread: np.ndarray, repeats: int, shared: float) -> np.ndarray:
    """Losses (trials, settings, repeats) of mean zero: noise of each setting, and noise that a seed has in all."""
    own = rng.normal(size=(TRIALS, len(spread), repeats)) * spread[:, None]
    return own + shared * rng.normal(size=(TRIALS, 1, repeats))


def at_most(hits: int, probability: float) -> bool:
    return bool(hits <= scipy.stats.binom.ppf(1 - RARE, TRIALS, probability))


@pytest.mark.parametrize("kind", ["equal", "two kinds", "ratios", "one diverges"])
@pytest.mark.parametrize("shared", [0.0, 100.0])
@pytest.mark.slow
def test_no_truly_best_setting_is_told_from_the_best_but_once_in_twenty_times(
    kind: str, shared: float
) -> None:
    """All settings are equal, whatever their spreads and what the seeds share."""
    rng = np.random.default_rng(5)
    for settings, repeats in SIZES:
        losses = drawn(rng, spreads(kind, settings), repeats, shared)
        assert at_most(sum(not all(compare(one, 0.95).equal) for one in losses), 0.05), (settings, repeats)


@pytest.mark.parametrize("kind", ["exponential", "chi^2 of 8", "t of 3"])
def test_the_level_holds_of_settings_whose_scores_are_skewed_alike_or_have_heavy_tails(kind: str) -> None:
    """Differences of two draws of one law are symmetric, whatever the law."""
    rng = np.random.default_rng(10)
    for settings, repeats in [(2, 5), (10, 5), (10, 10)]:
        shape = (TRIALS, settings, repeats)
        laws: dict[str, Any] = {
            "exponential": rng.exponential,
            "chi^2 of 8": partial(rng.chisquare, 8),
            "t of 3": partial(rng.standard_t, 3),
        }
        losses = laws[kind](size=shape)
        assert at_most(sum(not all(compare(one, 0.95).equal) for one in losses), 0.05), (settings, repeats)


def test_some_truly_best_among_worse_ones() -> None:
    """The second half of the settings is truly best; the others are worse by 0, 1, ... of their standard errors."""
    rng = np.random.default_rng(6)
    for settings, repeats in SIZES:
        worse = np.r_[np.arange(settings // 2), np.zeros(settings - settings // 2)] / math.sqrt(repeats)
        losses = drawn(rng, np.ones(settings), repeats, 3.0) + worse[:, None]
        missed = sum(not all(compare(one, 0.95).equal[settings // 2 :]) for one in losses)
        assert at_most(missed, 0.05), (settings, repeats)


@pytest.mark.parametrize("kind", ["equal", "ratios"])
def test_true_differences_to_the_selected_setting_lie_above_all_lower_ends_at_once(kind: str) -> None:
    """Also where means differ: 0, 1, ... of the standard errors of a setting of spread one."""
    rng = np.random.default_rng(7)

    def errs(found: Comparison, truth: np.ndarray) -> bool:
        lower = np.array([d.mean - d.half for d in found.differences])
        return bool((lower > truth - truth[found.best] + 1e-9).any())

    for settings, repeats in SIZES:
        truth = np.arange(settings) / math.sqrt(repeats)
        losses = drawn(rng, spreads(kind, settings), repeats, 1.0) + truth[:, None]
        assert at_most(sum(errs(compare(one, 0.95), truth) for one in losses), 0.05), (settings, repeats)


@pytest.mark.parametrize(("settings", "least"), [(2, 0.05), (10, 0.015), (30, 0.01)])
def test_the_level_is_used(settings: int, least: float) -> None:
    """Of two settings it is exact. Of 10 and 30 equal ones of one spread the sum over settings counts what happens
    together more than once: a third of the level is left, of 30 a fifth."""
    rng, hits = np.random.default_rng(8), 0
    for _ in range(4):
        losses = drawn(rng, np.ones(settings), 5, 0.0)
        hits += sum(not all(compare(one, 0.95).equal) for one in losses)
    assert hits >= scipy.stats.binom.ppf(RARE, 4 * TRIALS, least)


@pytest.mark.parametrize("diverging", [0.0, 1e6])
def test_power_against_worse_settings_is_that_of_the_noncentral_t(diverging: float) -> None:
    """The best is far ahead in the noise of the others, whose differences to it are normal, of spread one and mean
    m: each is told from it with the probability that a noncentral t exceeds the factor. Another setting that
    diverges, by the way, changes nothing."""
    rng, settings, repeats = np.random.default_rng(9), 10, 5
    for mean in (3.0, 6.0):
        losses = drawn(rng, np.r_[1e-6, np.ones(settings - 1)], repeats, 50.0) + mean
        losses[:, 0] -= mean
        losses[:, 1] += diverging * rng.normal(size=(TRIALS, repeats)) ** 2
        told = np.array([[not same for same in compare(one, 0.95).equal] for one in losses])
        factor = simultaneous_factor(settings, repeats, 0.95)
        power = scipy.stats.nct.sf(factor, repeats - 1, mean * math.sqrt(repeats))
        low, high = scipy.stats.binom.ppf([RARE, 1 - RARE], TRIALS, power)
        assert low <= told[:, 2].sum() <= high
        assert 0.2 < power < 0.99


@pytest.mark.parametrize("confidence", [0.5, 0.95, 0.9999])
@pytest.mark.parametrize("repeats", [2, 5, 100])
def test_factor_of_two_settings_is_students(repeats: int, confidence: float) -> None:
    students = scipy.stats.t.ppf((1 + confidence) / 2, repeats - 1)
    assert simultaneous_factor(2, repeats, confidence) == pytest.approx(students, rel=1e-6)


@pytest.mark.parametrize(("settings", "repeats"), [(3, 2), (10, 3), (10, 5), (30, 10), (30, 1000)])
def test_factor_solves_its_equation(settings: int, repeats: int) -> None:
    """(K - 1) E min(1, K Q(c sqrt(V))) by an integral over V; and it lies below Bonferroni's."""
    c, free = simultaneous_factor(settings, repeats, 0.95), repeats - 1

    def integrand(v: float) -> float:
        inside = min(1.0, settings * scipy.stats.norm.sf(c * math.sqrt(v / free)))
        return float(inside * scipy.stats.chi2.pdf(v, free))

    kink = free * (max(scipy.stats.norm.isf(1 / settings), 0) / c) ** 2
    area = sum(
        scipy.integrate.quad(integrand, a, b, limit=500)[0]
        for a, b in [(0, kink), (kink, free), (free, 40 * free)]
    )
    assert (settings - 1) * area == pytest.approx(0.05, rel=1e-4)
    bonferroni = scipy.stats.t.isf(0.05 / (settings * (settings - 1)), free)
    assert bonferroni / 8 < c <= bonferroni * (1 + 1e-9)


@pytest.mark.parametrize("confidence", [1e-6, 1 - 1e-9])
def test_factor_of_every_confidence_and_number(confidence: float) -> None:
    """It grows with the number of settings, and is zero for one."""
    for repeats in (2, 5, 10_000):
        found = [simultaneous_factor(k, repeats, confidence) for k in (1, 2, 3, 30, 1000)]
        assert found[0] == 0
        assert found == sorted(found)
        assert math.isfinite(found[-1])


def test_a_loss_that_is_not_finite_is_no_setting_to_compare() -> None:
    """The others are compared as if it were not there."""
    losses = np.random.default_rng(0).normal(size=(4, 5))
    losses[1, 3] = math.inf
    losses[3] += 2
    found, without = compare(losses, 0.95), compare(losses[[0, 2, 3]], 0.95)
    assert not found.equal[1] and math.isnan(found.differences[1].mean)
    assert found.best == [0, 2, 3][without.best]
    assert [found.differences[k] for k in (0, 2, 3)] == list(without.differences)
    assert [found.equal[k] for k in (0, 2, 3)] == list(without.equal)
