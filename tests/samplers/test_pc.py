"""The predictor-corrector loop: what it counts, what a sample depends on, where it runs."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import Tensor

from models.base import Network
from models.exact.mixtures import GaussianScore
from models.prediction.noise_model import NoiseModel
from models.prediction.time_encoding import Time
from samplers import Constraint, Corrector, PCSampler, Predictor, Step
from samplers.correctors.ald import AnnealedLangevin
from samplers.correctors.langevin import Langevin
from samplers.correctors.none import NoneCorrector
from samplers.predictors.ancestral_sampling import AncestralSampling
from samplers.predictors.ddim import DDIM, ReverseDDIM
from samplers.predictors.euler_maruyama import EulerMaruyama
from samplers.predictors.none import NonePredictor
from samplers.predictors.reverse_diffusion import ReverseDiffusion
from sde_lib import Noise, Process
from sde_lib.grids import Uniform
from tests.oracles import CASES

PREDICTORS: list[Predictor] = [
    EulerMaruyama(),
    EulerMaruyama(probability_flow=True),
    ReverseDiffusion(),
    ReverseDiffusion(probability_flow=True),
    AncestralSampling(),
    DDIM(),
    DDIM(eta=1.0),
    NonePredictor(),
]
CORRECTORS: list[Corrector] = [NoneCorrector(), Langevin(), Langevin(norm="batch"), AnnealedLangevin()]
MATRIX = [
    (name, predictor, corrector)
    for name, predictor, corrector in itertools.product(
        ["vp", "subvp", "ve", "flow", "ddpm", "smld"], PREDICTORS, CORRECTORS
    )
    if isinstance(CASES[name].process, predictor.needs)
]


def exact(process: Process) -> NoiseModel:
    return NoiseModel(GaussianScore(process=process, mean=0.3, std=0.5), process, Time(process), "score")


def sampler(name: str, steps: int = 20, **options: Any) -> PCSampler:
    process = CASES[name].process
    settings = {"predictor": ReverseDiffusion(), "corrector": Langevin(), **options}
    return PCSampler(exact(process), times=Uniform().times(process, steps), **settings)


@pytest.mark.parametrize("noise_removal", [True, False])
@pytest.mark.parametrize("predictor", [ReverseDiffusion(), NonePredictor()])
@pytest.mark.parametrize("corrector", [NoneCorrector(), Langevin()])
def test_nfe_is_the_number_of_calls(corrector: Corrector, predictor: Predictor, noise_removal: bool) -> None:
    """Counted by a hook on the network, whatever ran: not N (n_steps + 1)."""
    run = sampler("vp", predictor=predictor, corrector=corrector, n_steps_each=2, noise_removal=noise_removal)
    calls: list[int] = []
    run.model.network.register_forward_hook(lambda *_: calls.append(1))  # type: ignore[attr-defined]
    assert run.sample((2, 8), Noise(0, range(2))).nfe == len(calls)
    steps, closing = 19, int(noise_removal)
    per_time = 2 * (corrector != NoneCorrector())
    assert len(calls) == steps * (per_time + (predictor != NonePredictor())) + closing * (per_time + 1)


@pytest.mark.parametrize("shape", [(5,), (3, 7), (3, 4, 6), (2, 3, 4, 5)])
@pytest.mark.parametrize("name", ["vp", "smld"])
def test_a_sample_is_the_same_alone_and_in_any_batch(name: str, shape: tuple[int, ...]) -> None:
    """Any rank, height and width unequal; float32 rounding may differ between batch sizes."""
    run = sampler(name)
    together = run.sample((4, *shape), Noise(1, [4, 5, 6, 7])).x
    shuffled = run.sample((3, *shape), Noise(1, [9, 6, 1])).x
    alone = run.sample((1, *shape), Noise(1, [6])).x
    assert torch.allclose(together[2], alone[0], rtol=0, atol=1e-5)
    assert torch.allclose(shuffled[1], alone[0], rtol=0, atol=1e-5)


def test_seed_decides_the_samples() -> None:
    run = sampler("vp")
    x = run.sample((2, 8), Noise(1, range(2))).x
    assert torch.equal(x, run.sample((2, 8), Noise(1, range(2))).x)
    assert (x - run.sample((2, 8), Noise(2, range(2))).x).abs().min() > 1e-6


def test_last_step_is_the_result() -> None:
    """``iterate`` yields one state a later time and the closing estimate; ``sample`` returns the last."""
    run = sampler("ve", steps=10)
    noise = Noise(0, range(2))
    steps = list(run.iterate(run.model.process.prior_sampling((2, 8), noise), noise))
    assert len(steps) == 10
    assert torch.equal(steps[-1].x, run.sample((2, 8), Noise(0, range(2))).x)
    assert torch.equal(steps[-1].x, steps[-1].mean)


@pytest.mark.parametrize(("name", "predictor", "corrector"), MATRIX)
def test_a_step_never_asks_the_device(name: str, predictor: Predictor, corrector: Corrector) -> None:
    """On the meta device there are no values: reading one, or a table left on the CPU, is an error.

    So a run that passes has no host-device synchronisation, and everything it indexes moved with the model.
    """
    process = copy.deepcopy(CASES[name].process)
    times = Uniform().times(process, 2)  # a grid is checked where its process lies, before it moves
    model = exact(process).to("meta")
    run = PCSampler(model, predictor, corrector, times)
    x = run.sample((2, 3, 8, 8), Noise(0, torch.arange(2, device="meta"), device="meta")).x
    assert x.is_meta
    assert x.shape == (2, 3, 8, 8)


class Labelled(Network):
    """The score of N(y, I) for class y."""

    def forward(self, x: Tensor, labels: Tensor, **cond: Any) -> Tensor:
        return cond["y"].to(x.dtype)[:, None] - x


def test_conditioning_reaches_every_call() -> None:
    """With the score y - x at all times, correctors alone settle around y: 0.82^99 of the way is left."""
    process = CASES["ve"].process
    model = NoiseModel(Labelled(), process, Time(process), "score")
    run = PCSampler(
        model, NonePredictor(), Langevin(snr=0.3), Uniform().times(process, 100), noise_removal=False
    )
    *_, last = run.iterate(torch.zeros(2, 4096), Noise(0, range(2)), y=torch.tensor([-2, 3]))
    # Standard error of a mean of 4096 values of std 1.04: 0.016; five of them.
    assert last.x.mean(1).tolist() == pytest.approx([-2, 3], abs=0.08)


@dataclass(frozen=True)
class Halves(Constraint):
    """Writes -7 in the first column of ``x`` and +7 in that of ``mean``; notes the times."""

    seen: list[float] = field(default_factory=list)

    def project(self, step: Step, process: Process, t: Tensor, noise: Noise) -> Step:
        self.seen.append(float(t[0]))
        x, mean = step.x.clone(), step.mean.clone()
        x[:, 0], mean[:, 0] = -7, 7
        return Step(x, mean)


def test_constraints_project_after_every_sub_step() -> None:
    """At the prior, after each corrector and predictor sub-step at that sub-step's time, and at the end."""
    halves = Halves()
    run = sampler("vp", steps=3, constraints=[halves])
    x = run.sample((2, 4), Noise(0, range(2))).x
    T, middle, end = run.times.tolist()
    assert halves.seen == [T, T, middle, middle, end, end, 0.0]
    assert (x[:, 0] == -7).all()


def test_step_keeps_state_and_mean_apart() -> None:
    halves = Halves()
    run = sampler("vp", steps=3, constraints=[halves], noise_removal=False, corrector=NoneCorrector())
    noise = Noise(0, range(2))
    *_, last = run.iterate(torch.zeros(2, 4), noise)
    assert (last.x[:, 0] == -7).all()
    assert (last.mean[:, 0] == 7).all()
    # Without its fresh noise: the two differ elsewhere too.
    assert (last.x[:, 1:] - last.mean[:, 1:]).abs().min() > 0


def wrong(options: dict[str, Any]) -> Sequence[Any]:
    return [options.get("predictor", DDIM()), NoneCorrector(), options["times"]]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"times": torch.tensor([0.1, 0.9])}, "times must fall"),
        ({"times": torch.tensor([0.9, 0.9])}, "times must fall"),
        (
            {"times": torch.tensor([0.9, 0.1]), "predictor": ReverseDDIM()},
            "rise for a predictor that encodes",
        ),
    ],
)
def test_times_in_the_wrong_direction_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PCSampler(exact(CASES["vp"].process), *wrong(options))


def test_no_corrector_steps_is_refused_with_what_to_do() -> None:
    with pytest.raises(ValueError, match="at least 1, got 0; for none, corrector 'none'"):
        sampler("vp", n_steps_each=0)


@pytest.mark.parametrize("eta", [-0.1, 1.1])
def test_eta_out_of_range_is_refused(eta: float) -> None:
    with pytest.raises(ValueError, match=r"in \[0, 1\]"):
        DDIM(eta=eta)
