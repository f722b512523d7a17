"""Metrics against closed forms."""

from __future__ import annotations

import math
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from run_lib.evaluation.metrics import (
    Gaussian,
    Labelled,
    copies,
    frechet_distance,
    precision_recall,
)
from run_lib.evaluation.samples import _label_numbers, _sample_numbers
from run_lib.evaluation.task import CheckpointTask

RNG = np.random.default_rng(0)


def test_frechet_distance_of_commuting_gaussians() -> None:
    """With a common eigenbasis: |difference of means|^2 + sum (std_a - std_b)^2 = 25 + (1 + 4 + 0)."""
    basis = np.linalg.qr(RNG.normal(size=(3, 3)))[0]
    a = Gaussian(np.array([0.0, 0.0, 0.0]), basis @ np.diag([1.0, 4.0, 9.0]) @ basis.T)
    b = Gaussian(np.array([3.0, 0.0, 4.0]), basis @ np.diag([4.0, 16.0, 9.0]) @ basis.T)
    assert frechet_distance(a, b) == pytest.approx(30.0, abs=1e-9)
    assert frechet_distance(b, a) == pytest.approx(30.0, abs=1e-9)
    assert frechet_distance(a, a) == pytest.approx(0.0, abs=1e-9)


def test_frechet_distance_of_gaussians_that_do_not_commute() -> None:
    """In the plane tr sqrt(M) = sqrt(tr M + 2 sqrt(det M)), with M = A B: an expression without matrix
    roots.
    """
    A, B = np.array([[2.0, 1.0], [1.0, 3.0]]), np.array([[4.0, -1.0], [-1.0, 1.0]])
    cross = math.sqrt(np.trace(A @ B) + 2 * math.sqrt(np.linalg.det(A) * np.linalg.det(B)))
    found = frechet_distance(Gaussian(np.zeros(2), A), Gaussian(np.zeros(2), B))
    assert found == pytest.approx(np.trace(A) + np.trace(B) - 2 * cross, abs=1e-9)


def test_frechet_distance_of_singular_gaussians() -> None:
    """Pixels that are always 0 have no variance: a point mass is at distance trace + |mean|^2."""
    point = Gaussian(np.zeros(2), np.zeros((2, 2)))
    assert frechet_distance(point, Gaussian(np.array([1.0, 0.0]), np.diag([2.0, 0.0]))) == pytest.approx(3.0)


def test_fit() -> None:
    fitted = Gaussian.fit(np.array([[0.0, 0.0], [2.0, 4.0]]))
    assert fitted.mean.tolist() == [1.0, 2.0]
    assert fitted.covariance.tolist() == [[2.0, 4.0], [4.0, 8.0]]


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


@pytest.mark.parametrize(
    ("levels", "wanted", "unit"),
    [(0, 0.0, "squared units of the data"), (3, 2 * (1 - 0.6171**0.5) ** 2, "squared levels")],
)
def test_the_fitted_gaussian_has_values_that_the_data_can_have(levels: int, wanted: float, unit: str) -> None:
    """Coordinates of 0 and 2, each as often: mean 1, deviation 1. Rounded to 0, 1 and 2, a Gaussian's variance is
    P(|z| > 1/2) = 0.6171, which is nearer than any of continuous values; of data without levels it is the data's own.
    The samples' numbers have their cost, the references none."""
    data = 2.0 * np.random.default_rng(1).integers(0, 2, (3000, 2))
    spec = SimpleNamespace(shape=(2,), levels=levels)
    plan = SimpleNamespace(
        seed=0, data=spec, subject=SimpleNamespace(placement=SimpleNamespace(arithmetic=""))
    )
    task: Any = SimpleNamespace(plan=plan, config_hash="", step=0, fingerprint="")
    task.number = partial(CheckpointTask.number, task)
    found = {one.name: one for one in _sample_numbers(task, data, data, None, 7.0, 2.5)}
    reference, ours = found["frechet/fitted Gaussian"], found["frechet/coordinates"]
    assert reference.value == pytest.approx(wanted, abs=0.02)
    assert (reference.unit, ours.unit) == (unit, unit)
    assert ours.value == pytest.approx(0, abs=1e-9)
    assert [(one.nfe, one.seconds) for one in (ours, found["precision"], found["recall"])] == [(7, 2.5)] * 3
    assert (reference.nfe, reference.seconds) == (0, 0)


def test_the_class_that_is_recognised_least_is_named() -> None:
    """Real points of class 0 lie around -5, of class 1 around 5. Of four samples asked to be 0 three are there, of four
    asked to be 1 two; of four test points of either class all."""
    real = Labelled(
        np.concatenate([np.linspace(-6, -4, 20), np.linspace(4, 6, 20)])[:, None], np.arange(40) // 20
    )
    fake = Labelled(np.array([-5.0, -5.5, -4.5, 5.0, 5.0, 5.5, -5.0, -4.0])[:, None], np.arange(8) // 4)
    test = Labelled(np.array([-5.0, -5.5, -4.5, -5.0, 5.0, 5.5, 5.0, 4.5])[:, None], np.arange(8) // 4)
    found = {one.name: one for one in _label_numbers(_task(()), fake, real, test)}
    least = found["labels recognised, least"]
    assert (least.value, least.count, least.note) == (2 / 4, 4, "of class 1")
    assert (found["labels recognised"].value, found["labels recognised"].count) == (5 / 8, 8)
    assert (found["labels recognised/test"].value, found["labels recognised/test"].count) == (1, 8)


def _task(data: Any) -> Any:
    """As much of an evaluation as numbers are made of."""
    plan = SimpleNamespace(
        seed=0, data=data, subject=SimpleNamespace(placement=SimpleNamespace(arithmetic=""))
    )
    task = SimpleNamespace(plan=plan, config_hash="", step=0, fingerprint="")
    task.number = partial(CheckpointTask.number, task)  # type: ignore[arg-type]
    return task
