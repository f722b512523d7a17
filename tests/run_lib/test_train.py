"""The training loop: what a step does, and when it stops."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from configs.base import get_config as defaults
from losses.of_samples import Losses
from models.ema import EMA
from run_lib.config.configuration import read
from run_lib.config.training import build_optimisation
from run_lib.data.order import shuffled_rows
from run_lib.training.state import TrainState, Weights
from run_lib.training.update import update
from run_lib.training.watch import Batch
from tests.run_lib.planned import with_fields
from tests.run_lib.program import TINY, program, run

ADAM = build_optimisation(
    read(with_fields(defaults(), {"optim__lr": 0.1, "optim__warmup": 4, "optim__schedule": "cosine"}))
)


def test_learning_rate() -> None:
    """Linear warm-up to the rate at step 3, then half a cosine from step 4 (whole) over 9 (half) to 14
    (zero).
    """
    rates = [ADAM.rate(step, n_iters=14) for step in range(15)]
    assert rates[:4] == pytest.approx([0.025, 0.05, 0.075, 0.1])
    assert rates[4] == pytest.approx(0.1)
    assert rates[9] == pytest.approx(0.05)
    assert rates[14] == pytest.approx(0.0)
    assert rates[6] == pytest.approx(0.1 * 0.5 * (1 + math.cos(math.pi * 0.2)))


@pytest.mark.parametrize("clip", [1.0, 0.0])
def test_update(clip: float) -> None:
    """Adam's first step is lr times the gradient's sign, whatever its size; the norm reported is before
    clipping.

    The average with warm-up keeps (1 + 1)/(10 + 1) of the old weights at its first update (score_sde's
    count).
    """
    network = nn.Linear(2, 1, bias=False)
    nn.init.zeros_(network.weight)
    optimizer = ADAM.make_optimizer(network)
    state = TrainState(Weights(network, EMA(network, 0.999)), optimizer)
    (network.weight * torch.tensor([[3.0, -4.0]])).sum().backward()
    norm = update(state, 0.25, clip, Batch(Losses(torch.zeros(1), torch.zeros(1)), torch.tensor([True])))
    assert norm.item() == pytest.approx(5.0)
    assert network.weight[0].tolist() == pytest.approx([-0.25, 0.25], rel=1e-5)
    assert state.ema.shadow["weight"][0].tolist() == pytest.approx([-0.25 * 9 / 11, 0.25 * 9 / 11], rel=1e-5)


BROKEN = """
import torch
from run_lib.data.levels import Arrays
from run_lib.data.sources import register_dataset

@register_dataset
def broken(split):
    images = torch.zeros(40, 1, 8, 8)
    images[{rows}] = float("nan")
    return Arrays(images, torch.zeros(40, dtype=torch.int64))
"""
CONTINUOUS = {"data__dataset": "broken", "data__levels": 0, "data__uniform_dequantization": False}


def test_loss_that_stays_non_finite_stops_the_run(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text(BROKEN.format(rows=":"))
    workdir = tmp_path / "run"
    outcome = program(
        "--config",
        TINY,
        "--mode",
        "train",
        "--workdir",
        workdir,
        plugins=tmp_path / "broken.py",
        training__n_iters=20,
        training__max_nonfinite=3,
        **CONTINUOUS,
    )
    assert outcome.status == 3
    error = outcome.err.splitlines()[-1]
    assert "not finite for 3 steps in a row, to step 2" in error
    assert "nonfinite_step_2.pt" in error
    held = torch.load(workdir / "nonfinite_step_2.pt", weights_only=True)
    assert held["images"].isnan().all()
    assert held["losses"].isnan().all()
    assert held["t"].shape == (8,)
    assert ((held["t"] > 0) & (held["t"] <= 1)).all()
    assert not (workdir / "checkpoints").exists(), "a run in trouble leaves no checkpoint to go back to"


def test_single_bad_batch_is_passed_over(tmp_path: Path) -> None:
    """One image of 40 is not a number: one step in five of an epoch changes nothing, and the rest go on."""
    (tmp_path / "broken.py").write_text(BROKEN.format(rows="7"))
    workdir = tmp_path / "run"
    said = run(TINY, "train", workdir, plugins=tmp_path / "broken.py", training__n_iters=5, **CONTINUOUS).err
    place = int(np.flatnonzero(shuffled_rows(42, 0, 40, 40) == 7)[0])
    named = f"training sample 7 (place {place % 8} of the batch)"
    assert f"step {place // 8} is skipped: the data are not finite: {named}" in said
    assert "1 steps of this run were skipped" in said
    held = torch.load(workdir / "checkpoints/step_00000005.pt", weights_only=True)
    assert all(w.isfinite().all() for w in held["model"].values())
    assert held["ema"]["num_updates"] == 4
    assert held["step"] == 5


def test_nothing_to_train_in_an_exact_score(tmp_path: Path) -> None:
    from tests.run_lib.program import GAUSSIAN

    error = program("--config", GAUSSIAN, "--mode", "train", "--workdir", tmp_path).error
    assert (
        error
        == "this configuration's model is an exact score: there is nothing to train; use eval or sample."
    )
