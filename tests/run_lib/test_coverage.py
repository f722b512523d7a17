"""What the reports' error bars cover: a value and twice its standard error, drawn many times from known laws."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats

from run_lib.evaluation.likelihood_errors import spread
from run_lib.evaluation.subset import MINIMUM, precise_enough
from run_lib.metrics.gaussians import frechet_distance
from run_lib.metrics.moments import Moments
from run_lib.metrics.precision_recall import precision_recall
from run_lib.statistics import bootstrap, mean, proportion, share, t_interval
from sde_lib.noise import Noise

NORMAL = 2 * scipy.stats.norm.cdf(2) - 1
"""0.954: of a normal estimate with a known error."""


def within(hits: list[bool], stated: float, most: float = 1.0) -> bool:
    """Whether the count of hits is one that a coverage of ``stated`` to ``most`` gives, but for one in a thousand."""
    low = scipy.stats.binom.ppf(5e-4, len(hits), stated)
    high = scipy.stats.binom.ppf(1 - 5e-4, len(hits), most)
    return bool(low <= sum(hits) <= high)


@pytest.mark.parametrize("count", [50, 100, 360])
def test_shares_at_every_truth(count: int) -> None:
    """Exactly, by summing over all outcomes: the least coverage over truths from 1e-4 to 1 - 1e-4."""
    small = np.geomspace(1e-4, 0.5, 100)
    truths, hits = np.concatenate([small, 1 - small]), np.arange(count + 1)
    found = [proportion(np.arange(count) < k) for k in hits]
    value, error = (np.array([getattr(f, name) for f in found]) for name in ("value", "stderr"))
    covered = [
        float((scipy.stats.binom.pmf(hits, count, p) * (np.abs(value - p) <= 2 * error)).sum())
        for p in truths
    ]
    assert min(covered) >= 0.919
    assert 0.95 < np.mean(covered) < 0.99


@pytest.mark.parametrize(
    ("among", "count", "least"), [(2, 50, 0.93), (10, 50, 0.88), (10, 100, 0.93), (10, 360, 0.92)]
)
def test_the_least_of_several_shares_at_every_truth(among: int, count: int, least: float) -> None:
    """Exactly: of equal classes, where selection misleads most, the least has k hits with a probability of
    P(all have k or more) - P(all have more)."""
    small = np.geomspace(1e-4, 0.5, 50)
    truths, hits = np.concatenate([small, 1 - small]), np.arange(count + 1)
    found = [share(k, count, among) for k in hits.tolist()]
    value, error = (np.array([getattr(f, name) for f in found]) for name in ("value", "stderr"))
    covered = []
    for p in truths:
        all_have = scipy.stats.binom.sf(hits - 1, count, p) ** among
        of_least = all_have - np.append(all_have[1:], 0.0)
        covered.append(float((of_least * (np.abs(value - p) <= 2 * error)).sum()))
    assert min(covered) >= least


def test_means_and_students_intervals() -> None:
    rng = np.random.default_rng(0)
    draws = rng.normal(3.0, 2.0, size=(1000, 5))
    intervals = [t_interval(row, 0.95) for row in draws]
    assert within([abs(i.mean - 3) <= i.half for i in intervals], 0.95, 0.95)
    many = [mean(row) for row in rng.exponential(size=(1000, 200))]
    assert within([abs(m.value - 1) <= 2 * m.stderr for m in many], 0.93, NORMAL)


def test_losses_at_stratified_times_have_bars_that_are_too_wide() -> None:
    """t + e with t one of 200 equal parts of [0, 1] for each value: the means scatter by the 0.1 of e alone, and
    independent times would add 1 / sqrt(12) to a value's standard deviation."""
    values = [
        Noise(seed, range(200)).strata().numpy() + 0.1 * np.random.default_rng(seed).normal(size=200)
        for seed in range(200)
    ]
    told = np.mean([mean(v).stderr for v in values]) * math.sqrt(200)
    assert told == pytest.approx(math.sqrt(0.01 + 1 / 12), rel=0.01)
    assert np.std([v.mean() for v in values]) * math.sqrt(200) == pytest.approx(0.1, rel=0.2)


def test_means_that_stop_when_they_are_precise_enough() -> None:
    """One value after another, from 32 on: at 36 on average, and at 68."""
    rng = np.random.default_rng(7)
    for target in (0.17, 0.12):
        hits = []
        for row in rng.normal(size=(500, 400)):
            count = next(n for n in range(MINIMUM, 400) if precise_enough(row[:n], target))
            found = mean(row[:count])
            hits.append(abs(found.value) <= 2 * found.stderr)
        assert within(hits, 0.935, NORMAL)


def test_peak_signal_to_noise_ratios() -> None:
    """Decibels of a mean squared error, whose error is the delta method's: 10 / ln 10 times the relative one."""
    rng, decibels = np.random.default_rng(1), 10 / math.log(10)
    found = [mean(row) for row in rng.gamma(2.0, size=(1000, 100))]
    hits = [abs(decibels * math.log(2 / m.value)) <= 2 * decibels * m.stderr / m.value for m in found]
    assert within(hits, 0.93, NORMAL)


def test_likelihoods_over_images_draws_and_probes() -> None:
    """y = image + dequantisation + probes: together of new images, draws of these images, probes of these draws."""
    rng, images, repeats, probes = np.random.default_rng(2), 60, 3, 4
    hits: dict[str, list[bool]] = {"together": [], "draws": [], "probes": []}
    for _ in range(600):
        image = rng.normal(5.0, 1.0, images)
        drawn = image + rng.normal(0, 0.7, (repeats, images))
        each = drawn[..., None] + rng.normal(0, 0.9, (repeats, images, probes))
        errors = each.std(2, ddof=1) / math.sqrt(probes)
        found = spread(each.mean(2), errors, noisy=True)
        assert found.draws is not None and found.probes is not None
        hits["together"].append(abs(found.value - 5.0) <= 2 * found.together)
        hits["draws"].append(abs(found.value - image.mean()) <= 2 * found.draws)
        hits["probes"].append(abs(found.value - drawn.mean()) <= 2 * found.probes)
    assert all(within(of, 0.935, NORMAL) for of in hits.values())


@pytest.mark.parametrize("repeats", [2, 5])
@pytest.mark.parametrize("spread_of_weights", [0.3, 2.0, 15.0])
def test_importance_weights_over_draws(repeats: int, spread_of_weights: float) -> None:
    """Of the expected log mean weight of as many draws, for these images; found from other draws of the same law."""
    rng, images = np.random.default_rng(6), 100
    weights = spread_of_weights * rng.normal(size=(600, repeats, images))
    many = spread_of_weights * rng.normal(size=(repeats, 10**6))
    truth = float((np.logaddexp.reduce(many) - math.log(repeats)).mean())
    found = [spread(w, np.zeros_like(w), noisy=True, importance_weighted=True) for w in weights]
    assert within([abs(f.value - truth) <= 2 * (f.draws or 0) for f in found], 0.91, 0.97)


@pytest.mark.parametrize(("shift", "most"), [(0.5, NORMAL), (0.0, 1.0)])
def test_frechet_distances_over_samples(shift: float, most: float) -> None:
    """Of the mean distance of so many samples; 20 resamplings tell the error to 16 %. Near zero the bar is too wide."""
    rng, reference = np.random.default_rng(3), Moments(np.zeros(2), np.eye(2))

    def distance(samples: np.ndarray) -> float:
        return frechet_distance(Moments.of(samples), reference)

    sets = [rng.normal(shift, 1.0, (200, 2)) for _ in range(120)]
    values = np.array([distance(s) for s in sets])
    errors = np.array([bootstrap(distance, s, seed) for seed, s in enumerate(sets)])
    assert within([bool(h) for h in np.abs(values - values.mean()) <= 2 * errors], 0.9, most)


def test_frechet_distances_in_many_dimensions_have_bars_that_are_too_wide() -> None:
    """A resampled set has fewer different samples, and the distance of few samples in 64 dimensions is mostly bias. The
    error of 200 samples is told as more than twice what it is: 2.7 times, which 20 sets tell to 16 %."""
    rng, reference = np.random.default_rng(5), Moments(np.zeros(64), np.eye(64))

    def distance(samples: np.ndarray) -> float:
        return frechet_distance(Moments.of(samples), reference)

    sets = [rng.normal(0.1, 1.0, (200, 64)) for _ in range(20)]
    spread_of_sets = np.std([distance(s) for s in sets], ddof=1)
    assert 2 < np.mean([bootstrap(distance, s, k) for k, s in enumerate(sets[:6])]) / spread_of_sets < 4


def test_precision_over_samples_and_recall_over_data() -> None:
    """Precision's bar covers other samples for the same data; recall's, other data for the same samples, alone."""
    rng = np.random.default_rng(4)
    real = rng.normal(size=(300, 2))
    truth = precision_recall(real, 1.3 * rng.normal(size=(20_000, 2))).precision.value
    found = [precision_recall(real, 1.3 * rng.normal(size=(200, 2))) for _ in range(100)]
    assert within([abs(f.precision.value - truth) <= 2 * f.precision.stderr for f in found], 0.92)
    recalls = np.array([f.recall.value for f in found])
    assert recalls.std() > 1.2 * np.mean([f.recall.stderr for f in found])
