"""Images are mirrored at random in training, and nowhere else (``data.random_flip``)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from models.ema import EMA
from run_lib.config import plans
from run_lib.data.augmentation import Augmented
from run_lib.data.levels import DataSpec
from run_lib.evaluation.evaluate import check
from run_lib.evaluation.report import Report
from run_lib.evaluation.task import CheckpointTask
from run_lib.run import Run
from run_lib.training.state import Weights
from run_lib.training.steps import make_batches, training_losses, validation_loss
from sde_lib.noise import Noise
from tests.run_lib.planned import planned
from tests.run_lib.test_tasks import CLASSIFIER
from tests.run_lib.tiny import get_config as tiny

MIRRORED: dict[str, Any] = {"data__random_flip": True, "data__uniform_dequantization": False}
LOSS = {"eval__enable_loss": True, "eval__enable_bpd": False, "eval__enable_sampling": False}


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[Tensor]:
    """Every batch that is noised, as levels."""
    found: list[Tensor] = []
    for name in ("training_batch", "held_out_batch"):
        real = getattr(DataSpec, name)

        def batch(spec: DataSpec, images: Tensor, noise: Noise, real: Any = real) -> Tensor | Augmented:
            x: Tensor | Augmented = real(spec, images, noise)
            found.append(spec.to_levels(x.images if isinstance(x, Augmented) else x))
            return x

        monkeypatch.setattr(DataSpec, name, batch)
    return found


@pytest.mark.parametrize("fields", [LOSS, CLASSIFIER], ids=["loss", "accuracy"])
def test_evaluations_see_images_as_they_are(
    fields: dict[str, Any], seen: list[Tensor], tmp_path: Path
) -> None:
    """All 360 test images, in their order, at each time that they are noised to."""
    plan = planned(tiny(), plans.evaluation, {**fields, **MIRRORED, "eval__batch_size": 120})
    check(plan)
    network, images = plan.subject.network, plan.data.load("test").images
    weights = Weights(network, EMA(network, 0.9))
    task = CheckpointTask(plan, weights, Report(tmp_path / "report.json"), tmp_path / "parts")
    for evaluation in plan.evaluations:
        evaluation.evaluate(task)
    assert len(seen) in (3, 3 + 3 * 3), "of the loss, and of three accuracies"
    for first in range(0, len(seen), 3):
        assert torch.equal(torch.cat(seen[first : first + 3]), images)


def test_held_out_images_are_validated_as_they_are_and_training_images_mirrored(seen: list[Tensor]) -> None:
    """Of 200 training images in a batch, by a fair coin, 100 are mirrored, +- 4 standard errors of 7."""
    plan = planned(tiny(), plans.training, {**MIRRORED, "training__batch_size": 200})
    held_out = plan.subject.data.load("test")
    validation_loss(plan, Run(Path("unused")).new_state(plan), held_out)
    assert torch.equal(torch.cat(seen), held_out.images)
    arrays = plan.subject.data.load("train")
    training_losses(plan, make_batches(plan), 0, range(200))
    rows = {tuple(image.flatten().tolist()) for image in arrays.images}
    as_they_are = sum(tuple(x.flatten().tolist()) in rows for x in seen[-1])
    assert 72 <= as_they_are <= 128
