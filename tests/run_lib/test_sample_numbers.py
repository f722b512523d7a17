"""The numbers of samples in a report, by hand."""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from run_lib.data.rows import InMemory
from run_lib.evaluation.pixels import _label_numbers, _sample_numbers
from run_lib.evaluation.sample_sets import SampleSet
from run_lib.evaluation.task import CheckpointTask
from run_lib.metrics.recognition import Labelled


@pytest.mark.parametrize(
    ("levels", "wanted", "unit"),
    [(0, 0.0, "squared units of the data"), (3, 2 * (1 - 0.6171**0.5) ** 2, "squared levels")],
)
def test_the_fitted_gaussian_has_values_that_the_data_can_have(levels: int, wanted: float, unit: str) -> None:
    """Coordinates of 0 and 2, each as often: mean 1, deviation 1. Rounded to 0, 1 and 2, a Gaussian's variance is
    P(|z| > 1/2) = 0.6171, which is nearer than any of continuous values; of data without levels it is the data's own.
    The samples' numbers have their cost, the references none."""
    data = 2.0 * np.random.default_rng(1).integers(0, 2, (3000, 2))
    spec = SimpleNamespace(shape=(2,), levels=levels, latents=None)
    spec.shown = spec
    plan = SimpleNamespace(seed=0, data=spec)
    task: Any = SimpleNamespace(plan=plan, config_hash="", step=0, fingerprint="", arithmetic="")
    task.number = partial(CheckpointTask.number, task)
    drawn = SampleSet(InMemory(torch.zeros(1)), None, 7.0, 2.5, np.zeros(0))
    found = {one.name: one for one in _sample_numbers(task, data, data, None, drawn)}
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
    plan = SimpleNamespace(seed=0, data=data)
    task = SimpleNamespace(plan=plan, config_hash="", step=0, fingerprint="", arithmetic="")
    task.number = partial(CheckpointTask.number, task)  # type: ignore[arg-type]
    return task
