"""Enlarged test images against the test images."""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from run_lib.evaluation.report import Number
from run_lib.evaluation.task import CheckpointTask
from run_lib.sample import draw
from run_lib.statistics import mean


def evaluate_restoration(task: CheckpointTask) -> None:
    """Test images made small and large again, against themselves; beside them, bicubic interpolation.

    Errors are root mean squares over images and pixels in levels (8-bit: of 255), PSNR is that of the whole
    set. ``small images`` compares what the network was given with its samples made small.
    """
    plan = task.plan
    name = "psnr/test images"
    if task.has(name):
        return
    truth = plan.data.load("test")
    count = len(truth)

    @torch.no_grad()
    def restored(rows: range) -> dict[str, np.ndarray]:
        batch = draw(plan.samples, rows)
        small = plan.task.sampling_conditions(rows, plan.device)["low_res"].cpu()
        bicubic = plan.data.to_levels(
            F.interpolate(small, plan.data.shape[1:], mode="bicubic", align_corners=False)
        )
        again = F.interpolate(plan.data.at_levels(batch.levels), small.shape[2:], mode="area")
        here = truth.read(rows).images
        levels_per_unit = (plan.data.levels - 1) / plan.data.range
        return {
            "sample": _squared_error(batch.levels, here),
            "bicubic": _squared_error(bicubic, here),
            "small": _squared_error(levels_per_unit * again, levels_per_unit * small),
            "nfe": np.full(len(rows), batch.nfe),
        }

    none = {key: np.zeros(0) for key in ("sample", "bicubic", "small", "nfe")}

    def compute(rows: range) -> dict[str, np.ndarray]:
        return task.samples(lambda: restored(rows), like=none)

    found = task.batches("restoration", count, plan.samples.settings.batch_size, compute)
    if task.lose_samples(name, found["lost"]):
        return
    peak = plan.data.levels - 1

    def psnr(name: str, key: str, note: str) -> Number:
        value, stderr = mean(found[key])
        decibels = 10 / math.log(10)
        return task.number(
            name,
            decibels * math.log(peak**2 / value),
            decibels * stderr / value,
            count=count,
            unit="dB",
            nfe=float(found["nfe"].mean()) if key == "sample" else 0,
            seconds=float(found["seconds"]),
            note=note,
        )

    square, stderr = mean(found["small"])
    task.report.add(
        psnr(name, "sample", "samples given the test images made small"),
        psnr("psnr/bicubic enlargement", "bicubic", "reference: no network"),
        task.number(
            "error of small images",
            math.sqrt(square),
            stderr / (2 * math.sqrt(square)),
            count=count,
            unit="levels",
            note="samples made small, against what the network was given",
        ),
    )


def _squared_error(a: Tensor, b: Tensor) -> np.ndarray:
    """Mean over each image, (B,)."""
    return (a.double() - b.double()).square().flatten(1).mean(1).numpy()
