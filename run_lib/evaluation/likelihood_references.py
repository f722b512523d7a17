"""What a likelihood can be compared with: the density itself, a uniform one, independent pixels."""

from __future__ import annotations

import math

import numpy as np

from run_lib.data.split import Split
from run_lib.evaluation.report import Number
from run_lib.evaluation.task import CheckpointTask
from run_lib.statistics import mean


def references(task: CheckpointTask, data: Split, shown: np.ndarray) -> list[Number]:
    """Numbers beside those of a split's images ``shown``, as far as the data have them."""
    plan, split = task.plan, task.plan.settings.split
    numbers = []
    density = plan.data.density or data.density
    if density is not None:
        some = data.read(shown)
        images = some.images.to(plan.device)
        labels = plan.task.conditions(images, some.labels).get("y")
        exact = -density.log_density(images, labels).cpu().numpy()
        what = "p(x)" if labels is None else "p(x | labels)"
        numbers.append(
            task.number(
                f"nats/{split}, exact",
                *mean(exact),
                count=len(shown),
                unit="nats",
                note=f"reference: {what} in closed form, of the same samples",
            )
        )
    if plan.data.levels:
        numbers += [
            task.number(
                "bpd/uniform density",
                math.log2(plan.data.levels),
                None,
                count=0,
                unit="bits/dim",
                note="reference: log2(levels)",
            ),
            task.number(
                f"bpd/pixel histograms, {split}",
                *_histogram_bpd(plan.data.load("train"), data, plan.data.levels),
                count=len(data),
                unit="bits/dim",
                note="reference: independent pixels, fitted to the training split",
            ),
        ]
    return numbers


def _histogram_bpd(train: Split, test: Split, levels: int) -> tuple[float, float]:
    """Bits/dim of a model with independent pixels: each one's histogram over training images, plus one count."""
    size = math.prod(train.rows.shape)
    counts = np.ones((size, levels))
    for _, images in train.rows.chunks():
        for column, held in zip(images.flatten(1).long().numpy().T, counts, strict=True):
            held += np.bincount(column, minlength=levels)
    bits = -np.log2(counts / counts.sum(1, keepdims=True))
    asked = (images.flatten(1).long().numpy() for _, images in test.rows.chunks())
    return mean(np.concatenate([bits[np.arange(size), some].mean(1) for some in asked]))
