"""eval.bpd_dequantisation -> where in their bins an evaluation puts values, learned if so asked."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from likelihood import Dequantisation, UniformDequantisation, VariationalDequantisation, fit_dequantisation
from models.checkpoints.damage import DamagedCheckpointError
from models.checkpoints.reader import read_payload
from run_lib.evaluation.likelihoods import LearnedDequantisation
from run_lib.evaluation.task import CheckpointTask
from run_lib.files import write_tensors
from run_lib.seeds import Use, stream_seed
from sde_lib.words import digits

if TYPE_CHECKING:
    from run_lib.config.evaluation import EvaluationPlan


def dequantisation(task: CheckpointTask, learning: LearnedDequantisation | None) -> Dequantisation:
    """The dequantisation of an evaluation; a learned one is fitted to the training split, once a checkpoint."""
    plan = task.plan
    low, high = plan.data.limits
    if learning is None:
        return UniformDequantisation(plan.data.levels, low, high)
    torch.manual_seed(stream_seed(plan.seed, Use.DEQUANTISATION))
    learned = VariationalDequantisation(
        plan.data.shape, levels=plan.data.levels, low=low, high=high, width=learning.width
    ).to(plan.device)
    path = task.parts / "dequantisation.pt"
    if task.processes.is_main and _fitted(path) is None:
        _fit(plan, learning, learned, path)
    task.processes.barrier()
    learned.load_state_dict(read_payload(path))
    return learned.eval()


def _fitted(path: Path) -> dict[str, Tensor] | None:
    """What an evaluation before this one has fitted; None where there is nothing, or a damaged file, which is said."""
    if not path.is_file():
        return None
    try:
        held: dict[str, Tensor] = read_payload(path)
    except DamagedCheckpointError as error:
        print(f"note: {path} {error.reason}: it is fitted again", file=sys.stderr)
        return None
    return held


def _fit(
    plan: EvaluationPlan, learning: LearnedDequantisation, learned: VariationalDequantisation, path: Path
) -> None:
    arrays = plan.data.load("train")

    def conditions(x: Tensor, rows: Tensor) -> dict[str, Tensor]:
        return plan.task.conditions(x, arrays.labels[rows.cpu()])

    losses = fit_dequantisation(
        learned,
        plan.samples.model,
        arrays.images.to(plan.device),
        seed=stream_seed(plan.seed, Use.DEQUANTISATION),
        steps=learning.steps,
        batch_size=learning.batch_size,
        learning_rate=learning.lr,
        conditions=conditions,
    )
    tenth = max(len(losses) // 10, 1)
    fallen = float(losses[:tenth].mean() - losses[-tenth:].mean())
    print(
        f"dequantisation fitted in {len(losses)} steps: its bound fell by {digits(fallen, 3)} nats, from the first "
        f"tenth to the last"
    )
    write_tensors(path, learned.state_dict())
