"""guided-diffusion's own numbers for its chains: every mean, variance and loss type, 886 arrays.

``tests/fixtures/guided_diffusion/gaussian_diffusion.npz`` holds ``<schedule>|<respacing>|<mean
type>|<variance
type>|<loss type>|<quantity>`` for a chain of 40 levels, whole or respaced, with ``rescale_timesteps``, and
the
network of ``Sines``. ``loss_*`` are per sample; ``p_*`` and ``ddim_*`` hold every fourth pixel, at
x_t = q_sample(x0, t, noise), with predicted data clipped to [-1, 1].
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from losses.base import Loss
from losses.times import UniformLevels
from losses.vlb import BoundLoss, HybridLoss, OutputLoss
from models.base import Network
from models.prediction.bound import prior_term
from models.prediction.denoised import Clip, Denoised
from models.prediction.noise_model import Model, NoiseModel, Output
from models.prediction.reverse import Variance, reverse_step
from models.prediction.time_encoding import ChainIndex
from models.prediction.variances import VarianceOutput
from samplers.predictors.ddim import DDIM, ReverseDDIM
from sde_lib.base import Perturbed, expand
from sde_lib.discrete import DiscreteDiffusion
from sde_lib.gaussian import Bins
from sde_lib.noise import Noise
from sde_lib.respacing import kept_levels
from sde_lib.schedules import cosine_betas, linear_betas

FILE = Path(__file__).parents[1] / "fixtures" / "guided_diffusion" / "gaussian_diffusion.npz"
LEVELS = 40
OUTPUTS: dict[str, Output] = {"EPSILON": "eps", "START_X": "x0", "PREVIOUS_X": "previous"}
LEARNED: dict[str, VarianceOutput] = {"LEARNED": "learned", "LEARNED_RANGE": "learned_range"}
FIXED: dict[str, Variance] = {"FIXED_SMALL": "small", "FIXED_LARGE": "large"}
SCHEDULES = {"linear": linear_betas, "cosine": cosine_betas}
BINS = Bins(256, -1.0, 1.0)

with np.load(FILE) as _file:
    STORED = {name: torch.from_numpy(_file[name]) for name in _file.files if _file[name].dtype.kind in "fi"}
CASES = sorted({tuple(name.split("|")[:4]) for name in STORED if "|" in name})


class Sines(Network):
    """The fixture's network."""

    def __init__(self, learned: bool) -> None:
        super().__init__()
        self.learned = learned

    def forward(self, x: Tensor, labels: Tensor, **cond: Any) -> Tensor:
        time = expand(labels, x) / 1000
        out = torch.tanh(0.7 * x + 0.3 * x.flip(1)) * (0.3 + time)
        return torch.cat([out, torch.sin(2 * x + time)], 1) if self.learned else out


class StoredNoise(Noise):
    """Streams whose every draw is the fixture's noise."""

    def __init__(self) -> None:
        super().__init__(0, range(len(STORED["noise"])))

    def normal(self, shape: Sequence[int]) -> Tensor:
        return STORED["noise"]


@dataclass(frozen=True)
class Setup:
    """One mean type and variance type on one chain."""

    schedule: str
    respacing: str
    mean: str
    variance: str

    @cached_property
    def chain(self) -> DiscreteDiffusion:
        chain = DiscreteDiffusion.ddpm(SCHEDULES[self.schedule](LEVELS))
        return chain.respace(kept_levels(LEVELS, self.respacing)) if self.respacing else chain

    @cached_property
    def model(self) -> NoiseModel:
        kind = LEARNED.get(self.variance)
        time = ChainIndex(self.chain).rescaled()
        return NoiseModel(Sines(kind is not None), self.chain, time, OUTPUTS[self.mean], kind)

    @property
    def clipped(self) -> Model:
        return Denoised(self.model, Clip())

    @property
    def reverse_variance(self) -> Variance:
        return FIXED.get(self.variance, "learned")

    @property
    def t(self) -> Tensor:
        return STORED["t"].clamp(max=self.chain.num_levels - 1)

    @property
    def noisy(self) -> Perturbed:
        return self.chain.perturb(STORED["x0"], self.t, StoredNoise())

    def stored(self, loss: str, quantity: str) -> Tensor:
        return STORED["|".join((self.schedule, self.respacing, self.mean, self.variance, loss, quantity))]


@pytest.fixture(params=CASES, ids="|".join)
def setup(request: pytest.FixtureRequest) -> Setup:
    return Setup(*request.param)


def close(value: Tensor, expected: Tensor) -> None:
    """1e-5 of each element, or of the samples' unit scale where an element is smaller."""
    torch.testing.assert_close(value, expected, rtol=1e-5, atol=1e-5, check_dtype=False)


def test_nothing_of_the_fixture_is_left_out() -> None:
    """What the tests below read, counted by kind, is all there is."""
    quantities = [name.split("|")[5] for name in STORED if "|" in name]
    assert {q: quantities.count(q) for q in quantities} == {
        "loss_loss": 288, "loss_mse": 144, "loss_vb": 72, "p_mean": 72, "p_log_variance": 72, "p_xstart": 72,
        "ddim_reverse": 72, "ddim_eta0": 72, "prior_bpd": 12,
    }  # fmt: skip
    assert len(STORED) == 886


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_schedules(schedule: str) -> None:
    torch.testing.assert_close(
        SCHEDULES[schedule](1000), STORED[f"betas_{schedule}_1000"], rtol=1e-12, atol=0
    )


@pytest.mark.parametrize(
    ("respacing", "levels"),
    [("ddim50", 1000), ("ddim25", 1000), ("250", 1000), ("1000", 1000), ("10,15,20", 300)],
)
def test_kept_timesteps(respacing: str, levels: int) -> None:
    assert kept_levels(levels, respacing) == STORED[f"space_{respacing}"].tolist()


def test_predicted_data_are_clipped_for_every_output(setup: Setup) -> None:
    close(setup.clipped(setup.noisy.x, setup.t).x0[:, :, ::4, ::4], setup.stored("MSE", "p_xstart"))


def test_reverse_steps(setup: Setup) -> None:
    # Where the network gives the mean of x_{t-1} itself, guided-diffusion does not let clipping change it.
    model = setup.model if setup.mean == "PREVIOUS_X" else setup.clipped
    step = reverse_step(
        setup.chain, model(setup.noisy.x, setup.t), setup.t, setup.t - 1, setup.reverse_variance
    )
    close(step.mean[:, :, ::4, ::4], setup.stored("MSE", "p_mean"))
    log_variance = step.log_variance.expand(STORED["x0"].shape)
    close(log_variance[:, :, ::4, ::4], setup.stored("MSE", "p_log_variance"))


def test_ddim_steps(setup: Setup) -> None:
    x = DDIM().update_fn(setup.clipped, setup.noisy.x, setup.t, setup.t - 1, StoredNoise()).x
    close(x[:, :, ::4, ::4], setup.stored("MSE", "ddim_eta0"))


def test_reverse_ddim_steps(setup: Setup) -> None:
    inside = setup.t < setup.chain.num_levels - 1
    x, expected = setup.noisy.x, setup.stored("MSE", "ddim_reverse")
    s = torch.where(inside, setup.t + 1, setup.t)
    up = ReverseDDIM().update_fn(setup.clipped, x, setup.t, s, StoredNoise()).x
    # Past the chain's last level guided-diffusion goes to pure noise; our steps end with the chain.
    there = torch.where(expand(inside, x).bool(), up, setup.clipped(x, setup.t).eps)
    close(there[:, :, ::4, ::4], expected)


def test_losses(setup: Setup) -> None:
    times, learned = UniformLevels(), setup.variance in LEARNED
    output = OutputLoss(times, OUTPUTS[setup.mean])

    def of(loss: Loss) -> Tensor:
        noisy = setup.noisy
        return loss.values(setup.chain, setup.model(noisy.x, setup.t), STORED["x0"], noisy, setup.t)

    for name, weight in (("MSE", None), ("RESCALED_MSE", 0.001)):
        close(of(output), setup.stored(name, "loss_mse"))
        whole = HybridLoss(times, OUTPUTS[setup.mean], BINS, weight) if learned else output
        close(of(whole), setup.stored(name, "loss_loss"))
        if learned:
            close(of(whole) - of(output), setup.stored(name, "loss_vb"))
    for name, rescale in (("KL", False), ("RESCALED_KL", True)):
        bound = BoundLoss(times, BINS, setup.reverse_variance, rescale)
        close(of(bound), setup.stored(name, "loss_loss"))


def test_prior_term(setup: Setup) -> None:
    last = torch.full_like(setup.t, setup.chain.num_levels - 1)
    if "|".join((setup.schedule, setup.respacing, setup.mean, setup.variance, "MSE", "prior_bpd")) in STORED:
        bits = prior_term(setup.chain, STORED["x0"], last) / np.log(2)
        close(bits, setup.stored("MSE", "prior_bpd"))
