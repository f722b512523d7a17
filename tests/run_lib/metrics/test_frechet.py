"""Fréchet distances of Gaussians against closed forms, their bias and their limit."""

from __future__ import annotations

import math

import numpy as np
import pytest

from run_lib.metrics.base import InMemory, Measured, NoRowsError, Output, View
from run_lib.metrics.frechet import Frechet, SpatialFrechet
from run_lib.metrics.gaussians import Target, frechet_distance
from run_lib.metrics.moments import Moments

RNG = np.random.default_rng(0)


def test_frechet_distance_of_commuting_gaussians() -> None:
    """With a common eigenbasis: |difference of means|^2 + sum (std_a - std_b)^2 = 25 + (1 + 4 + 0)."""
    basis = np.linalg.qr(RNG.normal(size=(3, 3)))[0]
    a = Moments(np.array([0.0, 0.0, 0.0]), basis @ np.diag([1.0, 4.0, 9.0]) @ basis.T)
    b = Moments(np.array([3.0, 0.0, 4.0]), basis @ np.diag([4.0, 16.0, 9.0]) @ basis.T)
    assert frechet_distance(a, b) == pytest.approx(30.0, abs=1e-9)
    assert frechet_distance(b, a) == pytest.approx(30.0, abs=1e-9)
    assert frechet_distance(a, a) == pytest.approx(0.0, abs=1e-9)


def test_frechet_distance_of_gaussians_that_do_not_commute() -> None:
    """In the plane tr sqrt(M) = sqrt(tr M + 2 sqrt(det M)), with M = A B: an expression without matrix
    roots.
    """
    A, B = np.array([[2.0, 1.0], [1.0, 3.0]]), np.array([[4.0, -1.0], [-1.0, 1.0]])
    cross = math.sqrt(np.trace(A @ B) + 2 * math.sqrt(np.linalg.det(A) * np.linalg.det(B)))
    found = frechet_distance(Moments(np.zeros(2), A), Moments(np.zeros(2), B))
    assert found == pytest.approx(np.trace(A) + np.trace(B) - 2 * cross, abs=1e-9)


def test_frechet_distance_of_singular_gaussians() -> None:
    """Pixels that are always 0 have no variance: a point mass is at distance trace + |mean|^2."""
    point = Moments(np.zeros(2), np.zeros((2, 2)))
    assert frechet_distance(point, Moments(np.array([1.0, 0.0]), np.diag([2.0, 0.0]))) == pytest.approx(3.0)


def test_frechet_distance_from_few_points() -> None:
    """4 points in 30 dimensions have 27 eigenvalues of zero but for rounding, some below: moved, they are at
    |offset|^2; doubled about their mean, at the trace of their covariance."""
    rows = RNG.normal(size=(4, 30))
    target = Target.of(Moments.of(rows))
    assert target.distance(Moments.of(rows + 0.5)) == pytest.approx(30 / 4)
    spread = rows + (rows - rows.mean(0))
    assert target.distance(Moments.of(spread)) == pytest.approx(np.trace(np.cov(rows.T)))


def test_what_a_member_adds_is_the_derivative_by_its_weight() -> None:
    """Against central differences of the distance of weighted sets; 4 members in 6 dimensions have a singular
    covariance, whose derivative within its range is as good."""
    for count in (4, 30):
        rows, target = RNG.normal(size=(count, 6)), Target.of(Moments.of(RNG.normal(size=(50, 6)) * 2 + 1))

        def weighted(weights: np.ndarray, rows: np.ndarray = rows, target: Target = target) -> float:
            weights = weights / weights.sum()
            mean = weights @ rows
            return target.distance(
                Moments(mean, (rows - mean).T @ ((rows - mean) * weights[:, None]), len(rows))
            )

        even = np.full(count, 1 / count)
        mean = rows.mean(0)
        covariance = (rows - mean).T @ (rows - mean) / count
        found = target.linearised(Moments(mean, covariance, count))
        assert found.distance == pytest.approx(weighted(even), rel=1e-9)
        step = 3e-3 / count
        slopes = [(weighted(even + e) - weighted(even - e)) / (2 * step) for e in step * np.eye(count)]
        influence = found.influence(rows)
        assert influence - influence.mean() == pytest.approx(np.array(slopes), rel=1e-3, abs=1e-3)


@pytest.mark.parametrize("scales", [(1.0, 1.0, 1.0), (3.0, 1.0, 0.5), (2.0, 1.0, 0.0)])
def test_the_bias_of_few_samples(scales: tuple[float, ...]) -> None:
    """The mean distance of 2,000 sets of 200 from their own Gaussian, within four of its errors; of a standard Gaussian
    in D dimensions the bias is by hand (D + D (D + 1) / 4) / N. The next order is 1/N of it."""
    target = Target.of(Moments(np.zeros(3), np.diag(np.square(scales))))
    if scales == (1, 1, 1):
        assert target.bias(200) == pytest.approx((3 + 3) / 200)
    sets = np.random.default_rng(1).normal(size=(2000, 200, 3)) * scales
    found = np.array([target.distance(Moments.of(rows)) for rows in sets])
    error = found.std() / math.sqrt(len(found))
    assert found.mean() == pytest.approx(target.bias(200), abs=4 * error + target.bias(200) / 100)
    assert error < target.bias(200) / 20


def test_two_halves_of_one_set() -> None:
    """The floor of a distance: both halves of N / 2 have their own errors, so its mean is twice the bias of N / 2."""
    sets = np.random.default_rng(2).normal(size=(1500, 2, 150, 2))
    found = np.array([frechet_distance(Moments.of(a), Moments.of(b)) for a, b in sets])
    wanted = 2 * (2 + 2 * 3 / 4) / 150
    error = found.std() / math.sqrt(len(found))
    assert found.mean() == pytest.approx(wanted, abs=4 * error + wanted / 50)
    assert error < wanted / 25


def measured(samples: np.ndarray, reference: np.ndarray, seed: int = 0) -> dict[str, Measured]:
    found = Frechet().measure(InMemory({"features": samples}), InMemory({"features": reference}), seed)
    return {one.name: one for one in found}


def test_the_limit_of_many_samples_takes_the_bias_away() -> None:
    """120 sets of 60 in 4 dimensions, of the reference's own law: the mean distance is the bias of 60 (by Target.bias),
    that of the limit nothing, within four errors and a tenth of the bias, which is of the next order."""
    rng = np.random.default_rng(3)
    rows = rng.normal(size=(4000, 4))
    found = [measured(rng.normal(size=(60, 4)), rows) for _ in range(120)]
    limits = np.array([one["infinity"].value for one in found])
    bias = Target.of(Moments.of(rows)).bias(60)
    assert np.mean([one[""].value for one in found]) == pytest.approx(bias, rel=0.15)
    assert limits.mean() == pytest.approx(0, abs=4 * limits.std() / math.sqrt(120) + bias / 10)
    assert "too large for want of samples" in found[0][""].note


def test_the_seed_cuts_the_set() -> None:
    a, b = RNG.normal(size=(100, 2)), RNG.normal(size=(300, 2))
    assert measured(a, b, 1) == measured(a, b, 1)
    assert measured(a, b, 1)["infinity"].value != measured(a, b, 2)["infinity"].value
    assert measured(a, b, 1)[""].value == measured(a, b, 2)[""].value


@pytest.mark.parametrize(
    ("count", "words"), [(5, "5 samples of 6 features have a singular"), (20, "biased: 20 samples")]
)
def test_too_few_samples_are_told(count: int, words: str) -> None:
    found = measured(RNG.normal(size=(count, 6)), RNG.normal(size=(500, 6)))
    assert words in found[""].note
    assert list(found) == [""]
    assert found[""].stderr is not None and found[""].stderr > 0


def test_many_samples_far_away_need_no_warning() -> None:
    assert not measured(RNG.normal(size=(2000, 2)) + 5, RNG.normal(size=(500, 2)))[""].note


def test_sets_of_which_moments_alone_are_known() -> None:
    """The same distance, without an error."""
    a, b = RNG.normal(size=(50, 3)), RNG.normal(size=(60, 3)) + 1
    (found,) = Frechet().measure(OnlyMoments(a), OnlyMoments(b), 0)
    assert found.value == pytest.approx(measured(a, b)[""].value, rel=1e-12)
    assert found.stderr is None


def test_spatial_features_are_read_by_sfid_alone() -> None:
    a, b = ({"features": RNG.normal(size=(50, 2)), "spatial": RNG.normal(size=(50, 3))} for _ in range(2))
    found = SpatialFrechet().measure(InMemory(a), InMemory(b), 0)[0]
    assert found.value == pytest.approx(frechet_distance(Moments.of(b["spatial"]), Moments.of(a["spatial"])))


class OnlyMoments(View):
    labels = None

    def __init__(self, rows: np.ndarray) -> None:
        self._moments = Moments.of(rows)

    @property
    def count(self) -> int:
        return self._moments.count

    def moments(self, output: Output) -> Moments:
        return self._moments

    def rows(self, output: Output) -> np.ndarray:
        raise NoRowsError("only moments are known")
