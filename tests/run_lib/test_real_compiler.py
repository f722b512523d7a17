"""With torch's own compiler, where the machine has a C++ compiler: the numbers are those without it, to rounding."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from likelihood import log_likelihood
from run_lib.computing.compiling import obstacle
from run_lib.computing.numerics import Arithmetic
from run_lib.computing.steps import Velocities
from samplers import LogProbGuidance
from samplers.predictors.ddim import DDIM
from samplers.predictors.unipc import UniPC
from sde_lib import Noise
from tests.run_lib.test_compiled_steps import COMPILED, SIZE, model, sampled
from tests.run_lib.together import Job, alone, distance, held, together

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(obstacle("cpu") is not None, reason="needs a C++ compiler"),
]
TRAINED: dict[str, Any] = {
    "training__n_iters": 2,
    "training__log_freq": 1,
    "training__eval_freq": 2,
    "training__snapshot_freq": 2,
    "training__snapshot_freq_for_preemption": 2,
    "optim__eps": 1e-6,  # by 1e-8 Adam makes whole steps of gradients that are rounding errors
    "eval__batch_size": 3,  # of which the held-out loss has no whole batches, and is not compiled beside
}
VECTORS: dict[str, Any] = {
    "data__dataset": "two_moons",
    "data__shape": (2,),
    "data__levels": 0,
    "data__uniform_dequantization": False,
    "model__name": "mlp",
    "model__num_res_blocks": 1,
}
"""Of a perceptron, for what does not depend on the network: a U-Net takes a minute to compile."""


def towards_zero(x: Tensor, t: Tensor) -> Tensor:
    return -x.square().log1p().sum(1)


@pytest.mark.parametrize("name", ["plain", "multistep", "guided by a gradient"])
def test_samples(name: str) -> None:
    by = LogProbGuidance(model(), towards_zero) if name == "guided by a gradient" else model()
    predictor = UniPC() if name == "multistep" else DDIM()
    plain, found = (sampled(predictor, by, how) for how in (Arithmetic(), COMPILED))
    for ours, theirs in zip(found, plain, strict=True):
        torch.testing.assert_close(ours.x, theirs.x, rtol=1e-5, atol=1e-5)
        assert ours.nfe == theirs.nfe


def test_likelihoods() -> None:
    x = Noise(3, range(1)).normal((1, 3)).expand(SIZE, -1).contiguous()

    def likelihood() -> Any:
        noise = Noise(4, torch.zeros(SIZE, dtype=torch.int64))
        return log_likelihood(model(), x, noise, moving=Velocities())

    plain = likelihood()
    with COMPILED.used():
        found = likelihood()
    torch.testing.assert_close(found.logp, plain.logp, rtol=1e-5, atol=0)


def weights(job: Job) -> dict[str, Tensor]:
    found: dict[str, Tensor] = held(job.folder, 2)["model"]
    return found


def test_training_with_dropout(tmp_path: Path) -> None:
    """The masks are the streams', compiled or not; others would move the weights by a hundred times as much."""
    without = Job(tmp_path / "none", {**TRAINED, "model__dropout": 0.0})
    plain, compiled = (
        Job(tmp_path / how, {**TRAINED, "model__dropout": 0.5, "compile": how}) for how in ("off", "on")
    )
    alone(without, plain, compiled)
    apart = distance(weights(compiled), weights(plain)).all
    assert apart <= 1e-5
    assert distance(weights(without), weights(plain)).all > 100 * apart


def test_training_by_two_processes(tmp_path: Path) -> None:
    """Each of half a batch, with gradients that are exchanged."""
    fields = TRAINED | VECTORS
    one, two = Job(tmp_path / "one", fields), Job(tmp_path / "two", {**fields, "compile": "on"})
    alone(one)
    together(2, [two])
    assert distance(weights(two), weights(one)).all <= 1e-5
