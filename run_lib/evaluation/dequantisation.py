"""eval.bpd_dequantisation -> where in their bins an evaluation puts values, learned if so asked."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from likelihood import Dequantisation, UniformDequantisation, VariationalDequantisation, fit_dequantisation
from run_lib.config.evaluation import EvaluationPlan
from run_lib.evaluation.task import CheckpointTask
from run_lib.files import atomic
from run_lib.seeds import Use, stream_seed


def dequantisation(task: CheckpointTask) -> Dequantisation:
    """The dequantisation of an evaluation; a learned one is fitted to the training split, once a checkpoint."""
    plan, settings = task.plan, task.plan.settings
    low, high = plan.data.limits
    if settings.bpd_dequantisation == "uniform":
        return UniformDequantisation(plan.data.levels, low, high)
    torch.manual_seed(stream_seed(plan.seed, Use.DEQUANTISATION))
    learned = VariationalDequantisation(
        plan.data.shape, levels=plan.data.levels, low=low, high=high, width=settings.dequantisation_width
    ).to(plan.device)
    path = task.parts / "dequantisation.pt"
    if task.processes.leads and not path.is_file():
        _fit(plan, learned, path)
    task.processes.wait()
    learned.load_state_dict(torch.load(path, map_location=plan.device, weights_only=True))
    return learned.eval()


def _fit(plan: EvaluationPlan, learned: VariationalDequantisation, path: Path) -> None:
    settings, arrays = plan.settings, plan.data.load("train")

    def conditions(x: Tensor, rows: Tensor) -> dict[str, Tensor]:
        return plan.task.conditions(x, arrays.labels[rows.cpu()])

    losses = fit_dequantisation(
        learned,
        plan.samples.model,
        arrays.images.to(plan.device),
        seed=stream_seed(plan.seed, Use.DEQUANTISATION),
        steps=settings.dequantisation_steps,
        batch_size=settings.dequantisation_batch_size,
        learning_rate=settings.dequantisation_lr,
        conditions=conditions,
    )
    tenth = max(len(losses) // 10, 1)
    print(
        f"dequantisation fitted in {len(losses)} steps: its bound fell by "
        f"{float(losses[:tenth].mean() - losses[-tenth:].mean()):.3g} nats, from the first tenth to the last"
    )
    with atomic(path) as partial, partial.open("wb") as file:
        torch.save(learned.state_dict(), file)
