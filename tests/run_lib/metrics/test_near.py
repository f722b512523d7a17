"""Nearest neighbours and what is counted of them, by hand and by brute force."""

from __future__ import annotations

import math

import numpy as np
import pytest

from run_lib.metrics import balls as blocks
from run_lib.metrics.balls import balls_around, deepest
from run_lib.metrics.base import InMemory
from run_lib.metrics.density_coverage import DensityCoverage
from run_lib.metrics.nearest import nearest, nearest_within
from run_lib.metrics.neighbours import Neighbours, copies, nearest_pairs
from run_lib.metrics.precision_recall import ImprovedPrecisionRecall, precision_recall

RNG = np.random.default_rng(0)


def test_precision_and_recall_know_quality_from_coverage() -> None:
    """Real data in two far clusters, half each; samples: three quarters in one of them, one quarter in
    nowhere.

    So precision is 3/4 and recall 1/2, up to points at the rims: with k = 3 a point is missed by its whole
    set about once in 100.
    """
    a, b = RNG.normal(size=(400, 2)), RNG.normal(size=(400, 2)) + 100
    found = precision_recall(
        np.concatenate([a, b]), np.concatenate([RNG.normal(size=(300, 2)), np.full((100, 2), -50.0)])
    )
    assert found.precision.value == pytest.approx(0.75, abs=0.02)
    assert found.recall.value == pytest.approx(0.5, abs=0.02)
    assert found.precision.stderr == pytest.approx(math.sqrt(0.75 * 0.25 / 400), rel=0.05)


def test_precision_and_recall_of_points_on_a_line() -> None:
    """By hand, k = 3: radii of 0..4 are 3, 2, 2, 2, 3, so real data reach [-3, 7]; fake ones at 6, 7, 8, 9
    have radii 3, 2, 2, 3 and reach [3, 12].
    """
    real, fake = np.arange(5.0)[:, None], np.arange(6.0, 10.0)[:, None]
    found = precision_recall(real, fake)
    assert found.precision.value == pytest.approx(2 / 4)
    assert found.recall.value == pytest.approx(2 / 5)


def test_precision_and_recall_in_principal_components() -> None:
    """Beyond 20 dimensions what varies counts: a difference in coordinates without variance is projected
    away.
    """
    real = np.zeros((200, 40))
    real[:, :20] = RNG.normal(size=(200, 20))
    fake = real + np.concatenate([np.zeros(20), np.full(20, 5.0)])
    found = precision_recall(real, fake)
    assert (found.precision.value, found.recall.value) == (1.0, 1.0)


def test_copies() -> None:
    """Training images on a grid of spacing 10; test images 1 to 5 away from them; copies are nearer than
    1.
    """
    train = 10 * np.arange(100.0)[:, None]
    test = train + np.linspace(1, 5, 100)[:, None]
    fake = train[:8] + np.array([0.0, 0.2, 0.9, 2.0, 3.0, -0.5, 4.0, 5.0])[:, None]
    assert copies(fake, train, test).value == 4 / 8


@pytest.mark.parametrize("rows", [7, 2048])
def test_neighbours_against_all_distances(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """In blocks of 7 as in one: distances of 50 points to 40, sorted; and among themselves without a point itself."""
    monkeypatch.setattr(blocks, "ROWS", rows)
    a, b = RNG.normal(size=(50, 3)), RNG.normal(size=(40, 3))
    table = np.linalg.norm(a[:, None] - b, axis=2)
    found = nearest(a, b, 10)
    assert (found.indices == table.argsort(1)[:, :10]).all()
    assert found.distances == pytest.approx(np.sort(table, 1)[:, :10], rel=1e-10)
    among = np.linalg.norm(a[:, None] - a, axis=2) + np.diag(np.full(50, np.inf))
    assert nearest_within(a, 4).distances == pytest.approx(np.sort(among, 1)[:, :4], rel=1e-10)
    units = RNG.uniform(0.5, 2, 40)
    deep = deepest(a, b, units, 3)
    assert (deep.indices == (table / units).argsort(1)[:, :3]).all()
    assert deep.distances == pytest.approx(np.take_along_axis(table, deep.indices, 1), rel=1e-10)
    assert (balls_around(a, b, units) == (table <= units).sum(1)).all()


def test_an_image_twice_is_at_distance_zero() -> None:
    """Of long vectors too, where products round: copies are no near misses."""
    rows = np.concatenate([RNG.normal(size=(30, 500)) * 100 + 1000] * 2)
    assert (nearest_within(rows).distances == 0).all()
    assert (balls_around(rows, rows, np.zeros(60)) == 2).all()
    assert (balls_around(rows, rows, np.zeros(60), closed=False) == 0).all()


def test_balls_are_closed_for_precision_and_open_for_density() -> None:
    """Each point of a set lies on the sphere around its neighbours' neighbours: of the reference itself, density and
    coverage are 1 with open balls (k - 1 neighbours and itself of k), as precision and recall are."""
    rows = InMemory({"features": RNG.normal(size=(200, 5)).astype(np.float32)})
    density, coverage = DensityCoverage().measure(rows, rows, 0)
    assert (density.value, coverage.value) == (1, 1)
    on_sphere, centre = np.array([[1.0]]), np.array([[0.0]])
    assert balls_around(on_sphere, centre, np.ones(1)).tolist() == [1]
    assert balls_around(on_sphere, centre, np.ones(1), closed=False).tolist() == [0]


def test_recall_with_many_balls_around_every_image() -> None:
    """100 samples on a circle around the data, k = 60: each ball has all of the data, and there are more of them than
    are remembered of an image, so that recall is 1 in each half too."""
    angles = np.linspace(0, 2 * np.pi, 100, endpoint=False)
    fake = view(100 * np.stack([np.cos(angles), np.sin(angles)], 1))
    real = view(RNG.normal(size=(100, 2)))
    precision, recall = ImprovedPrecisionRecall(neighbours=60).measure(fake, real, 0)
    assert (precision.value, recall.value) == (0, 1)


def test_samples_that_are_all_alike_recall_nothing() -> None:
    """Balls without extent hold their own image alone: of the reference, that which all samples copy."""
    real = view(RNG.normal(size=(40, 3)))
    fake = view(np.repeat(real.rows("features")[:1], 40, 0))
    precision, recall = ImprovedPrecisionRecall().measure(fake, real, 0)
    assert (precision.value, recall.value) == (1, 1 / 40)
    density, coverage = DensityCoverage().measure(fake, real, 0)
    assert density.value >= 1 / 5
    assert coverage.value < 0.5


def test_nearest_neighbours_of_copies_and_of_others() -> None:
    """Real images at 0, 1, 3, 6, ...: gaps of 1, 2, 3, ... Their nearest other one is at 1, 1, 2, 3, ..., 9. Samples at
    distance 0 (a copy) and 2.5 (nearer than those at 3 and more: 7 of 10)."""
    real = np.cumsum(np.arange(10.0))[:, None]
    fake = np.array([[3.0], [45 + 2.5]])
    found = {one.name: one for one in Neighbours().measure(view(fake), view(real), 0)}
    assert found["distance"].value == pytest.approx(1.25)
    assert found["distance of real images"].value == pytest.approx((1 + sum(range(1, 10))) / 10)
    assert found["nearer"].value == pytest.approx((1 + 0.7) / 2)
    assert found["copies"].value == 0.5
    at_ties = Neighbours().measure(view(real + 0.0), view(real + 1000.0), 0)
    assert at_ties[2].value == 0
    same = {one.name: one for one in Neighbours().measure(view(np.array([[46.0], [46.0]])), view(real), 0)}
    assert same["nearer"].value == pytest.approx((8 + 2 / 2) / 10)


def test_the_nearest_pairs_come_in_order() -> None:
    real, fake = np.array([[0.0], [10.0], [20.0]]), np.array([[13.0], [20.5], [1.0], [16.0]])
    found = nearest_pairs(fake, real, 3)
    assert found.samples.tolist() == [1, 2, 0]
    assert found.reference.tolist() == [2, 0, 1]
    assert found.distances.tolist() == [0.5, 1, 3]


def view(rows: np.ndarray) -> InMemory:
    return InMemory({"features": rows})
