"""A training is rehearsed before it begins: what would fail later fails at once, and nothing else is changed."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from run_lib.config import plans
from run_lib.run import Run
from run_lib.training import loop, rehearsal
from run_lib.training.checkpoints import read_checkpoint
from run_lib.training.rehearsal import undone_step
from samplers import UniPC
from samplers.ode import ODESampler
from samplers.pc import PCSampler
from tests.run_lib.planned import planned
from tests.run_lib.program import TINY, program, run
from tests.run_lib.tiny import get_config as tiny
from tests.samplers.test_editing import VP, gaussian

CHAIN: dict[str, Any] = {
    "training__sde": "ddpm",
    "sampling__predictor": "ancestral_sampling",
    "sampling__grid": "uniform",
}


def tensors(path: Path) -> dict[str, Tensor]:
    """All of a checkpoint's, by their place in it."""
    found: dict[str, Tensor] = {}

    def walk(value: Any, name: str) -> None:
        if isinstance(value, Tensor):
            found[name] = value
        elif isinstance(value, dict):
            for key, held in value.items():
                walk(held, f"{name}/{key}")

    walk(read_checkpoint(path), "")
    return found


@pytest.mark.slow
@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({"training__snapshot_sampling": True}, id="samples"),
        pytest.param({"training__precision": "float16", "model__ema_rates": (0.9,)}, id="float16"),
        pytest.param({"training__times": "importance", **CHAIN}, id="learnt times"),
        pytest.param(
            {
                "optim__optimizer": "SGD",
                "optim__momentum": 0.9,
                "data__augment": "crop",
                "training__microbatch": 3,
            },
            id="momentum",
        ),
    ],
)
def test_nothing_is_changed(fields: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights, averages, moments and learnt times are equal bit for bit, of a training that went on, too."""
    for name in ("rehearsed", "not"):
        if name == "not":
            monkeypatch.setattr(loop, "rehearse", lambda *_: None)
        run(TINY, "train", tmp_path / name, **fields, training__n_iters=3)
        run(TINY, "train", tmp_path / name, **fields, training__n_iters=6)
    ours, theirs = (
        tensors(tmp_path / name / "checkpoints/step_00000006.pt") for name in ("rehearsed", "not")
    )
    assert ours.keys() == theirs.keys() and len(ours) > 20
    assert [name for name in ours if not torch.equal(ours[name], theirs[name])] == []


def test_a_step_is_undone(tmp_path: Path) -> None:
    """Within the block all weights have moved; after it weights and an optimiser without moments are as before."""
    plan, run_ = planned(tiny(), plans.training), Run(tmp_path)
    state = run_.new_state(plan)
    before = [p.detach().clone() for p in state.network.parameters()]

    def drawn() -> tuple[float, float, float]:
        return float(torch.rand(())), float(np.random.rand()), random.random()

    states = torch.get_rng_state(), np.random.get_state(), random.getstate()
    wanted = drawn()
    torch.set_rng_state(states[0]), np.random.set_state(states[1]), random.setstate(states[2])
    with rehearsal.same_draws(torch.device("cpu")), undone_step(plan, state):
        moved = [not torch.equal(a, b) for a, b in zip(before, state.network.parameters(), strict=True)]
        assert sum(moved) > len(moved) / 2 and state.optimizer.state
        drawn()
    assert all(torch.equal(a, b) for a, b in zip(before, state.network.parameters(), strict=True))
    assert not state.optimizer.state and all(p.grad is None for p in state.network.parameters())
    assert drawn() == wanted


UNREADABLE = '''
import torch
from run_lib.training.optimisers import register_optimizer

class Own: ...

@register_optimizer
def remembering(parameters, lr: float):
    """Keeps an object that no reader of weights takes."""
    class Remembering(torch.optim.SGD):
        def step(self, closure=None):
            super().step(closure)
            for p in self.param_groups[0]["params"]:
                self.state[p]["own"] = Own()
    return Remembering(parameters, lr=lr)
'''


def test_checkpoint_that_cannot_be_read(tmp_path: Path) -> None:
    """It would be found when the run goes on, hours later. No step is taken, and no file is left."""
    (tmp_path / "mine.py").write_text(UNREADABLE)
    outcome = program(
        "--config", TINY, "--mode", "train", "--workdir", tmp_path / "run",
        plugins=tmp_path / "mine.py", optim__optimizer="remembering",
    )  # fmt: skip
    assert outcome.error.startswith("a checkpoint of this training could not be read again")
    assert [p for p in (tmp_path / "run").rglob("*") if p.is_file()] == []


def test_disk_without_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a checkpoint is too large to be tried, too: it is measured."""
    monkeypatch.setattr(rehearsal, "free_disk", lambda folder: 1000)
    outcome = program("--config", TINY, "--mode", "train", "--workdir", tmp_path)
    assert outcome.status == 1 and "checkpoints has room for 1000 bytes. Free space there" in outcome.err


def test_samples_that_cannot_be_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first picture is drawn after ``snapshot_freq`` steps; what it fails at is known before the first."""

    def fails(*_: object) -> None:
        raise ValueError("no such image to enlarge.")

    monkeypatch.setattr(rehearsal, "draw", fails)
    fields: dict[str, Any] = {"training__snapshot_sampling": True}
    assert program("--config", TINY, "--mode", "train", "--workdir", tmp_path, **fields).error == (
        "no such image to enlarge."
    )
    assert not (tmp_path / "config.json").exists()


@pytest.mark.parametrize("sampling", [True, False])
def test_what_takes_long_is_left_out(sampling: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a sample has taken all the time that there is, nothing comes after it."""
    seen: list[str] = []
    for name in ("draw_briefly", "validation_loss", "backward", "try_checkpoint"):
        monkeypatch.setattr(rehearsal, name, lambda *_, name=name: seen.append(name))
    monkeypatch.setattr(rehearsal, "SECONDS", 0.0)
    run(TINY, "train", tmp_path, training__n_iters=1, training__snapshot_sampling=sampling)
    assert seen == ["draw_briefly"] * sampling


def test_brief_samplers() -> None:
    """Two evaluations of a predictor that takes one a step; of the flow, steps as long as its solver lets them grow."""
    steps, flow = PCSampler.of(gaussian(VP), UniPC(), num_steps=50), ODESampler(gaussian(VP))
    assert steps.brief().sample((2, 2)).nfe == 2
    assert flow.brief().sample((2, 2)).nfe < flow.sample((2, 2)).nfe
