"""A step's gradient is that of the mean over all its samples, however they are split, with dropout."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from run_lib.config import plans
from run_lib.config.settings import TrainSettings
from run_lib.run import Run
from run_lib.training.steps import backward, make_batches
from tests.run_lib.planned import planned
from tests.run_lib.program import TINY, program, run
from tests.run_lib.test_tasks import CHAIN
from tests.run_lib.tiny import get_config as tiny

SPLITS: dict[str, dict[str, int]] = {
    "one by one": {"training__microbatch": 1},
    "3, 3, 2": {"training__microbatch": 3},
    "two batches": {"training__batch_size": 4, "training__accumulate": 2},
    "four batches, one by one": {
        "training__batch_size": 2, "training__accumulate": 4, "training__microbatch": 1,
    },
    "two batches of 3 and 1": {
        "training__batch_size": 4, "training__accumulate": 2, "training__microbatch": 3,
    },
}  # fmt: skip
DROPPED = {"model__dropout": 0.3}


def step(fields: dict[str, Any]) -> tuple[Tensor, Tensor]:
    """Gradient and losses of the fourth training step, after times that learn have learnt."""
    plan = planned(tiny(), plans.training, {**DROPPED, **fields})
    torch.manual_seed(0)
    for p in plan.subject.network.parameters():
        torch.nn.init.normal_(p, std=0.1)
    if plan.times.learns:
        levels = torch.arange(20).repeat(10)
        plan.times.observe(levels, 1 + levels.double())
    state = Run(Path("unused")).new_state(plan)
    batch = backward(state, plan, make_batches(plan), 3)
    if plan.times.learns:
        assert batch.losses.weights is not None
        assert batch.losses.weights.unique().numel() > 1
    found = [p.grad.flatten() for p in plan.subject.network.parameters() if p.grad is not None]
    return torch.cat(found).double(), batch.losses.values.double()


SETTINGS: dict[str, dict[str, Any]] = {
    **{
        f"{weighting}, {times}": {**CHAIN, "training__times": times, "training__weighting": weighting}
        for weighting in ("eps", "min_snr")
        for times in ("uniform", "stratified", "importance")
    },
    "hybrid, importance": {
        **CHAIN, "training__times": "importance", "training__objective": "hybrid",
        "model__variance": "learned_range", "model__output": "eps",
    },
    "SDE, v, log-normal": {"training__times": "log_normal", "training__weighting": "v"},
}  # fmt: skip


QUICK = ("eps, uniform", "min_snr, stratified", "hybrid, importance", "SDE, v, log-normal")


@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in SETTINGS]
)
def test_a_split_changes_nothing(name: str) -> None:
    """Float32 rounds additions in another order to some 1e-7."""
    gradient, losses = step(SETTINGS[name])
    for split in SPLITS.values():
        other, others = step({**SETTINGS[name], **split})
        assert float((other - gradient).norm() / gradient.norm()) < 1e-6
        assert float((others - losses).abs().max() / losses.abs().max()) < 1e-6


def test_dropout_is_there() -> None:
    """Else the test above says nothing of it; and masks are others in other steps."""
    with_it, without = (step({**CHAIN, "model__dropout": p})[1] for p in (0.3, 0.0))
    assert float((with_it - without).abs().min()) > 0


def test_rows_of_a_step() -> None:
    fields = {"training__batch_size": 5, "training__accumulate": 2, "training__microbatch": 3}
    settings: TrainSettings = planned(tiny(), plans.training, fields).settings
    assert settings.samples_per_step == 10
    assert [(rows.start, rows.stop) for rows in settings.microbatches()] == [(0, 3), (3, 5), (5, 8), (8, 10)]


@pytest.mark.slow
def test_training_goes_on_with_as_many_samples_a_step(tmp_path: Path) -> None:
    """Eight samples at once or two batches of four: one training. Another number is refused."""
    run(TINY, "train", tmp_path, training__n_iters=2)
    more: dict[str, Any] = {"training__n_iters": 4, "training__accumulate": 2}
    error = program("--config", TINY, "--mode", "train", "--workdir", tmp_path, **more).error
    assert "training.batch_size=16 (was 8)" in error
    said = run(TINY, "train", tmp_path, training__batch_size=4, **more).err
    assert "continues with training.accumulate=2 (was 1), training.n_iters=4 (was 2)" in said
