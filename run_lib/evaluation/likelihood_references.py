"""What a likelihood can be compared with: the density itself, a uniform one, independent pixels."""

from __future__ import annotations

import math

import numpy as np

from run_lib.data.levels import Arrays
from run_lib.evaluation.report import Number
from run_lib.evaluation.task import CheckpointTask
from run_lib.statistics import mean


def references(task: CheckpointTask, arrays: Arrays, shown: np.ndarray) -> list[Number]:
    """Numbers beside those of a split's images ``shown``, as far as the data have them."""
    plan, split = task.plan, task.plan.settings.split
    numbers = []
    if plan.data.density is not None:
        images = arrays.images[shown].to(plan.device)
        labels = plan.task.conditions(images, arrays.labels[shown]).get("y")
        exact = -plan.data.density.log_density(images, labels).cpu().numpy()
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
                note="log2(levels)",
            ),
            task.number(
                f"bpd/pixel histograms, {split}",
                *_histogram_bpd(plan.data.load("train"), arrays, plan.data.levels),
                count=len(arrays),
                unit="bits/dim",
                note="independent pixels, fitted to the training split",
            ),
        ]
    return numbers


def _histogram_bpd(train: Arrays, test: Arrays, levels: int) -> tuple[float, float]:
    """Bits/dim of a model with independent pixels: each one's histogram over training images, plus one count."""
    fitted, asked = (a.images.flatten(1).long().numpy() for a in (train, test))
    counts = np.stack([np.bincount(column, minlength=levels) + 1.0 for column in fitted.T])
    bits = -np.log2(counts / counts.sum(1, keepdims=True))
    return mean(bits[np.arange(fitted.shape[1]), asked].mean(1))
