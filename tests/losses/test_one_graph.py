"""No objective breaks the compiler's graph, whatever times it draws, and none is traced anew at every training step."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from losses import (
    ClassifierLoss,
    Loss,
    UniformTimes,
    register_objective,
    register_times,
    register_weighting,
    uncertain,
)
from losses.of_samples import Losses
from models.prediction.classifier import NoisyClassifier
from models.prediction.conventions import convention
from models.prediction.noise_model import NoiseModel
from models.prediction.time_encoding import ChainIndex, Time
from sde_lib import VDM, VPSDE, DiscreteDiffusion, Noise, Process
from sde_lib.discrete import ddpm_chain
from sde_lib.gaussian import Bins
from tests.device.subjects import NoMarginal
from tests.graphs import Traced, quick_and_slow

LEVELS = 20


class Linear(nn.Module):
    """Weights of the state and of the label; with ``outputs`` times the channels."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.linspace(-0.3, 0.4, 2 * outputs * 2).reshape(2 * outputs, 2))

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        return x @ self.weights.T + 0.01 * labels[:, None]


def chain_model(learned: bool) -> NoiseModel:
    process = ddpm_chain(N=LEVELS)
    return NoiseModel(
        Linear(1 + learned), process, ChainIndex(process), "eps", "learned_range" if learned else None
    )


def made(factory: Any, process: Process, learned: bool = False, **given: Any) -> Any:
    """A registered objective, or a distribution of times, from what the program gives by name."""
    offered = {
        "process": process, "times": given.get("times"), "weighting": register_weighting["eps"](), "output": "eps",
        "bins": Bins(256, -1.0, 1.0), "learned": learned, **given,
    }  # fmt: skip
    return factory(
        **{name: offered[name] for name in inspect.signature(factory).parameters if name in offered}
    )


def check(loss: Loss, model: NoiseModel) -> None:
    """Eight steps, each with its own draws: one graph, the same bits of losses, times and gradients."""

    def steps(call: Any) -> list[Tensor]:
        found: list[Tensor] = []
        for step in range(8):
            noise = Noise(step, range(4))
            with model.counting_anew():
                losses: Losses = call(model, x0, noise)
            model.zero_grad()
            losses.values.mean().backward()
            found += [losses.values.detach(), losses.t, noise.bits(1)]
            found += [p.grad.clone() for p in model.parameters() if p.grad is not None]
        return found

    x0 = Noise(99, range(4)).uniform((4, 2)) * 2 - 1

    def whole(model: NoiseModel, x0: Tensor, noise: Noise) -> Losses:
        return loss(model, x0, noise)

    traced = Traced()
    compiled, plain = steps(traced(whole)), steps(whole)
    assert len(plain) == 8 * 4, "losses, times, what is drawn next, a gradient"
    assert all(torch.equal(a, b) for a, b in zip(compiled, plain, strict=True))
    assert traced.graphs == 1


OBJECTIVES = {
    f"{name}{', learned' * learned}": (name, learned)
    for name in register_objective
    for learned in (0, 1)
    if name != "elbo"
}


@pytest.mark.parametrize("case", quick_and_slow(OBJECTIVES, "denoising", "hybrid, learned"))
def test_an_objective_is_one_graph(case: str) -> None:
    name, learned = OBJECTIVES[case]
    model = chain_model(bool(learned or name == "hybrid"))
    times = made(register_times["uniform"], model.process)
    check(made(register_objective[name], model.process, bool(learned), times=times), model)


@pytest.mark.slow
def test_the_bound_in_continuous_time_is_one_graph() -> None:
    model = convention(VDM()).model(Linear(1))
    times = made(register_times["least_variance"], model.process)
    check(made(register_objective["elbo"], model.process, times=times), model)


@pytest.mark.slow
def test_an_uncertain_loss_is_one_graph() -> None:
    model = convention(VPSDE()).model(Linear(1))
    check(uncertain(made(register_objective["denoising"], model.process, times=UniformTimes()), model), model)


TIMES = {
    **{f"{name} of a chain": (name, True) for name in register_times if name != "least_variance"},
    **{f"{name} of an SDE": (name, False) for name in register_times if name != "importance"},
}


@pytest.mark.parametrize("case", quick_and_slow(TIMES, "importance of a chain"))
def test_times_are_drawn_in_the_graph(case: str) -> None:
    """Those in proportion to the losses too, once every level has its losses; before, see the next test."""
    name, chain = TIMES[case]
    model = chain_model(False) if chain else convention(VPSDE()).model(Linear(1))
    times = made(register_times[name], model.process)
    for _ in range(10):
        times.observe(torch.arange(LEVELS), torch.arange(LEVELS) + 1.0)
    check(made(register_objective["simple"], model.process, times=times), model)


@pytest.mark.slow
def test_times_of_levels_without_losses_are_drawn_in_the_graph() -> None:
    model = chain_model(False)
    times = made(register_times["importance"], model.process)
    check(made(register_objective["simple"], model.process, times=times), model)


@pytest.mark.parametrize("name", quick_and_slow(register_weighting, "likelihood"))
def test_a_weighting_is_in_the_graph(name: str) -> None:
    model = convention(VPSDE()).model(Linear(1))
    weighting = register_weighting[name]()
    check(
        made(register_objective["denoising"], model.process, times=UniformTimes(), weighting=weighting), model
    )


@pytest.mark.slow
def test_a_process_without_a_marginal_is_simulated_in_the_graph() -> None:
    process = NoMarginal()
    model = NoiseModel(Linear(1), process, Time(process), "score")
    check(made(register_objective["denoising"], process, times=UniformTimes()), model)


def test_the_loss_of_a_classifier_is_one_graph() -> None:
    process: DiscreteDiffusion = ddpm_chain(N=LEVELS)
    model = NoisyClassifier(Linear(2), process, ChainIndex(process))
    loss = ClassifierLoss(made(register_times["uniform"], process))
    x0, y = torch.linspace(-1, 1, 8).reshape(4, 2), torch.tensor([0, 3, 1, 2])

    def whole(x0: Tensor, noise: Noise) -> Tensor:
        return loss(model, x0, noise, y=y).values

    traced = Traced()
    compiled = traced(whole)
    for step in range(8):
        assert torch.equal(compiled(x0, Noise(step, range(4))), whole(x0, Noise(step, range(4))))
    assert traced.graphs == 1
