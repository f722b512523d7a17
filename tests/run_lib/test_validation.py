"""The held-out loss: of the averaged weights, in microbatches, on data that span the classes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from run_lib.config import plans
from run_lib.config.training import TrainingPlan
from run_lib.data.levels import Arrays
from run_lib.run import Run
from run_lib.training.state import TrainState
from run_lib.training.steps import validation_loss
from tests.run_lib.planned import planned
from tests.run_lib.tiny import get_config as tiny


def fresh(**fields: Any) -> tuple[TrainingPlan, TrainState]:
    plan: TrainingPlan = planned(tiny(), plans.training, fields)
    torch.manual_seed(0)
    for p in plan.subject.network.parameters():
        torch.nn.init.normal_(p, std=0.1)
    return plan, Run(Path("unused")).new_state(plan)


def seen(plan: TrainingPlan, state: TrainState, data: Arrays) -> tuple[float, list[int], list[Tensor]]:
    """The loss, the sizes of the parts, and the weights that were evaluated."""
    sizes: list[int] = []
    weights: list[Tensor] = []

    def note(module: torch.nn.Module, args: tuple[Tensor, ...], output: Tensor) -> None:
        sizes.append(len(args[0]))
        weights.append(next(p.detach().clone() for p in module.parameters() if p.requires_grad))

    with plan.subject.network.register_forward_hook(note):
        return validation_loss(plan, state, data), sizes, weights


@pytest.mark.parametrize("times", ["uniform", "stratified"])
def test_parts_have_the_loss_of_the_whole(times: str) -> None:
    """Four batches of 8: in batches of 8, or in microbatches of 5."""
    plan, state = fresh(training__times=times)
    data = plan.subject.data.load("test")
    whole, sizes, _ = seen(plan, state, data)
    assert sizes == [8, 8, 8, 8]
    plan, state = fresh(training__times=times, training__microbatch=5)
    parts, sizes, _ = seen(plan, state, data)
    assert sizes == [5, 5, 5, 5, 5, 5, 2]
    assert parts == pytest.approx(whole, rel=1e-6)


def test_data_span_the_classes_of_a_sorted_split(monkeypatch: pytest.MonkeyPatch) -> None:
    """100 images sorted by their 10 classes, 40 of them evaluated: 4 of each class."""
    plan, state = fresh(training__batch_size=10)
    labels = torch.arange(100) // 10
    told: list[int] = []
    task = type(plan.task)
    keep = task.network_conditions

    def noted(self: Any, x0: Tensor, y: Tensor) -> Any:
        told.extend(y.tolist())
        return keep(self, x0, y)

    monkeypatch.setattr(task, "network_conditions", noted)
    validation_loss(plan, state, Arrays(torch.zeros(100, 1, 8, 8, dtype=torch.uint8), labels).as_split())
    assert sorted(told) == sorted(list(range(10)) * 4)


def test_the_averaged_weights_are_evaluated() -> None:
    plan, state = fresh()
    for average in state.ema.shadow.values():
        average.fill_(0.01)
    _, _, weights = seen(plan, state, plan.subject.data.load("test"))
    assert all(torch.equal(w, torch.full_like(w, 0.01)) for w in weights)
