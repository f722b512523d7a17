"""The training loss of a checkpoint on data."""

from __future__ import annotations

import numpy as np
import torch

from run_lib.evaluation.task import CheckpointTask
from run_lib.seeds import Use, stream_seed
from run_lib.sharing.parts import Finds
from run_lib.statistics import mean
from sde_lib.finite import finite_rows
from sde_lib.noise import Noise


def evaluate_loss(task: CheckpointTask) -> None:
    """The training loss on the chosen split, averaged over images, times and noise."""
    plan, split = task.plan, task.plan.settings.split
    name = f"loss/{split}"
    if task.has(name):
        return
    plan.objective.learned.restore(task.weights.learned)
    data = plan.data.load(split)

    @torch.no_grad()
    def compute(rows: range) -> dict[str, np.ndarray]:
        part = (rows.start, len(data))
        noise = Noise(stream_seed(plan.seed, Use.EVAL_LOSS), rows, plan.device, part=part)
        some = data.read(rows)
        x0 = plan.data.held_out_batch(some.images.to(plan.device), noise)
        cond = plan.task.network_conditions(x0, some.labels)
        losses = plan.objective.losses(x0, noise, **cond)
        return {
            "loss": losses.values.double().cpu().numpy(),
            "data": finite_rows(x0).cpu().numpy(),
        }

    found = task.batches(
        "loss", len(data), plan.settings.batch_size, compute, finds=Finds("loss", lambda part: part["loss"])
    )
    good = task.lose_rows(name, found["data"], found["loss"])
    if not good.any():
        return
    value, stderr = mean(found["loss"][good])
    task.report.add(
        task.number(
            name, value, stderr, count=int(good.sum()), unit="", nfe=1, seconds=float(found["seconds"])
        )
    )
