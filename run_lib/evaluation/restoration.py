"""Enlarged test images against the test images."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from run_lib.data.listing import announce
from run_lib.evaluation.report import Number
from run_lib.evaluation.task import CheckpointTask
from run_lib.sample import draw
from run_lib.statistics import mean
from sde_lib.finite import finite_rows


def evaluate_restoration(task: CheckpointTask) -> None:
    """Test images made small and large again, against themselves; beside them, bicubic interpolation.

    Errors are root mean squares over images and pixels in levels (8-bit: of 255), or of continuous data in their own
    unit; PSNR is that of the whole set, against the data's range, and is left out where there is no error at all.
    ``small images`` compares what the network was given with its samples made small. Test images that are not finite
    have no number.
    """
    plan = task.plan
    name = "psnr/test images"
    if task.has(name):
        return
    truth = plan.data.load("test")
    peak, unit = (plan.data.levels - 1, "levels") if plan.data.levels else (plan.data.range, "")

    @torch.no_grad()
    def restored(rows: Sequence[int], here: Tensor) -> dict[str, np.ndarray]:
        batch = draw(plan.samples, rows)
        small = plan.task.sampling_conditions(rows, plan.device)["low_res"].cpu()
        bicubic = plan.data.to_levels(
            F.interpolate(small, plan.data.shape[1:], mode="bicubic", align_corners=False)
        )
        again = F.interpolate(plan.data.at_levels(batch.levels), small.shape[2:], mode="area")
        scale = peak / plan.data.range
        return {
            "sample": _squared_error(batch.levels, here),
            "bicubic": _squared_error(bicubic, here),
            "small": _squared_error(scale * again, scale * small),
            "nfe": np.full(len(rows), batch.nfe),
        }

    none = {key: np.zeros(0) for key in ("sample", "bicubic", "small", "nfe")}

    def compute(rows: range) -> dict[str, np.ndarray]:
        here = truth.read(rows).images
        data = finite_rows(here)
        kept = [row for row, finite in zip(rows, data.tolist(), strict=True) if finite]
        found = task.samples(lambda: restored(kept, here[data]) if kept else none, like=none)
        return {**found, "data": data.numpy()}

    found = task.batches("restoration", len(truth), plan.samples.settings.batch_size, compute)
    if task.lose_samples(name, found["lost"]):
        return
    count = int(task.lose_rows(name, found["data"], np.zeros(len(truth))).sum())
    if not count:
        return

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

    measured = [
        (name, "sample", "samples given the test images made small"),
        ("psnr/bicubic enlargement", "bicubic", "reference: no network"),
    ]
    for which, key, _ in measured:
        if not found[key].any():
            announce(f"{which} is left out: there is no error at all")
    square, stderr = mean(found["small"])
    task.report.add(
        *(psnr(*one) for one in measured if found[one[1]].any()),
        task.number(
            "error of small images",
            math.sqrt(square),
            stderr / (2 * math.sqrt(square)) if square else 0.0,
            count=count,
            unit=unit,
            note="samples made small, against what the network was given",
        ),
    )


def _squared_error(a: Tensor, b: Tensor) -> np.ndarray:
    """Mean over each image, (B,)."""
    return (a.double() - b.double()).square().flatten(1).mean(1).numpy()
