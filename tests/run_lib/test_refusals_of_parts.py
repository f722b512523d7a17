"""What a part of the program refuses on its own, whoever else refuses it too; and the edges of what it takes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from losses.importance import LossSecondMoment
from losses.named_times import register_times
from run_lib.config import plans
from run_lib.config.roles import FIXED
from run_lib.training.optimisers import LossScaling
from run_lib.training.tasks import Classification, classifier
from run_lib.tuning.scorers import AgainstData
from tests.run_lib.planned import planned
from tests.run_lib.program import TINY, program, run
from tests.run_lib.test_guidance import FREE
from tests.run_lib.test_tasks import CHAIN, CLASSIFIER
from tests.run_lib.tiny import get_config as tiny


def test_a_classifier_of_one_class() -> None:
    assert classifier(2) == Classification(2)
    with pytest.raises(ValueError, match="at least 2 classes"):
        classifier(1)


def test_samples_of_a_classifier() -> None:
    """Refused when a plan is made, and by the task itself, which a preview of training asks."""
    with pytest.raises(ValueError, match="a classifier has no samples"):
        Classification(10).sampling_conditions([0], torch.device("cpu"))
    with pytest.raises(ValueError, match="a classifier has no samples"):
        planned(tiny(), plans.sampling, CLASSIFIER)


def test_averages_of_other_rates(tmp_path: Path) -> None:
    few = {"training__n_iters": 1, "model__ema_rates": "(0.5,)"}
    run(TINY, "train", tmp_path, **few)
    error = program("--config", TINY, "--mode", "sample", "--workdir", tmp_path, training__n_iters=1).error
    assert "averages of the rates [0.5] beside the first, the configuration []" in error


def test_too_few_samples_for_a_covariance() -> None:
    """Of 3 features: 4 samples have one, 3 have not."""
    real = np.random.default_rng(0).normal(size=(50, 3))
    AgainstData(real, 4)
    with pytest.raises(ValueError, match=r"tune\.num_samples=3 cannot give a covariance of 3 features"):
        AgainstData(real, 3)


@pytest.mark.parametrize(
    ("planner", "field", "wrong", "edge", "more"),
    [
        ("training", "training__loss_scale_growth", 0.0, 1.0, {"training__precision": "float16"}),
        ("training", "training__loss_scale_growth", 1.5, 1e-3, {"training__precision": "float16"}),
        ("training", "optim__warmup", -1, 0, {"optim__schedule": "cosine"}),
        ("training", "optim__warmup", -1, 0, {"optim__schedule": "constant"}),
        ("training", "optim__warmup", -1, 0, {"optim__schedule": "linear"}),
        ("training", "optim__eps", -1e-8, 0.0, {}),
        ("training", "optim__weight_decay", -0.1, 0.0, {}),
        ("training", "optim__beta1", 1.0, 0.0, {}),
        ("training", "optim__beta2", 1.0, 0.0, {}),
        ("training", "model__num_scales", 0, 1, {}),
        ("training", "training__batch_size", 0, 1, {}),
        ("training", "training__label_dropout", -0.1, 0.0, {"model__num_classes": 10}),
        ("training", "training__label_dropout", 1.0, 0.5, {"model__num_classes": 10}),
        ("evaluation", "eval__bpd_probes", 0, 1, {}),
        ("evaluation", "eval__bpd_max_steps", 0, 1, {}),
        ("evaluation", "eval__bpd_rtol", 0.0, 1e-9, {}),
        ("evaluation", "eval__bpd_repeats", 0, 1, {}),
        ("evaluation", "eval__bpd_num_images", -1, 0, {}),
        ("sampling", "guidance__labels", (0, 10), (0, 9), FREE),
        ("sampling", "guidance__labels", (-1, 9), (9, 0), FREE),
    ],
)
def test_edges_of_ranges(planner: str, field: str, wrong: Any, edge: Any, more: dict[str, Any]) -> None:
    """The edge is taken, what lies beyond it is refused by the field's name."""
    make = getattr(plans, planner)
    planned(tiny(), make, {**more, field: edge})
    with pytest.raises(ValueError, match=field.split("__")[1]):
        planned(tiny(), make, {**more, field: wrong})


def test_defaults_are_those_of_the_papers() -> None:
    """Ten losses of each level and a share of 0.001 (Nichol & Dhariwal 2021, section 3.3); no probes of the exact
    trace; scaling of the loss that does nothing unless it is asked for."""
    times = planned(tiny(), plans.training, {**CHAIN, "training__times": "importance"}).times
    assert isinstance(times, LossSecondMoment)
    assert times.state_dict()["losses"].shape == (20, 10)
    assert times.uniform == 0.001
    bpd = planned(
        tiny(), plans.evaluation, {"eval__bpd_divergence": "exact", "data__image_size": 8}
    ).evaluations[1]
    assert (bpd.flow.trace.probes, bpd.flow.trace.rank) == (0, 0)
    assert LossScaling(False, 20.0, 1e-3).make_scaler(torch.device("cpu")).get_scale() == 1


def test_distributions_of_times_and_who_takes_a_filter() -> None:
    assert {"uniform", "stratified", "importance", "log_normal"} <= set(register_times)
    assert "model.fir" in FIXED["network"].fields("ncsnpp")
    assert "model.fir" not in FIXED["network"].fields("adm")
