"""A classifier's accuracy by noise level."""

from __future__ import annotations

import numpy as np
import torch

from run_lib.evaluation.task import CheckpointTask
from run_lib.seeds import Use, stream_seed
from run_lib.statistics import proportion
from sde_lib.finite import finite_rows
from sde_lib.noise import Noise


def evaluate_accuracy(task: CheckpointTask, levels: int) -> None:
    """Share of the chosen split that a classifier gets right, at so many times, spread evenly from the cleanest."""
    plan, settings = task.plan, task.plan.settings
    split, classifier = settings.split, plan.objective.classifier
    assert classifier is not None, "the check before any work refuses others"
    process = classifier.process
    data = plan.data.load(split)
    first, last = process.t_end, process.start
    for time in process.time(torch.linspace(first, last, levels, dtype=torch.float64)).tolist():
        name = f"accuracy/{split}, t={time:.4g}"
        if task.has(name):
            continue

        @torch.no_grad()
        def compute(rows: range, time: float = time) -> dict[str, np.ndarray]:
            noise = Noise(stream_seed(plan.seed, Use.EVAL_LOSS), rows, plan.device)
            some = data.read(rows)
            x0 = plan.data.held_out_batch(some.images.to(plan.device), noise)
            t = process.time([time] * len(rows)).to(plan.device)
            logits = classifier(process.perturb(x0, t, noise).x, t)
            return {
                "right": (logits.argmax(1).cpu() == some.labels).numpy(),
                "finite": finite_rows(logits).cpu().numpy(),
                "data": finite_rows(x0).cpu().numpy(),
            }

        found = task.batches(f"accuracy_{time:.4g}", len(data), settings.batch_size, compute)
        good = task.lose_rows(name, found["data"], np.where(found["finite"], 0.0, np.nan))
        if not good.any():
            continue
        share = proportion(found["right"][good])
        task.report.add(task.number(name, share.value, share.stderr, count=int(good.sum()), unit="", nfe=1,
                                    seconds=float(found["seconds"])))  # fmt: skip
