"""EDM: what its preconditioning promises (Karras et al. 2022, appendix B.6), its training and its process."""

from __future__ import annotations

import math
from typing import Any

import pytest
import scipy.stats
import torch
from torch import Tensor

from losses import DenoisingLoss, EDMWeighting, LogNormalTimes, register_weighting
from models import register_model
from models.base import Network
from models.networks.edm import EDMPreconditioned
from models.prediction.conventions import convention
from models.prediction.noise_model import NoiseModel
from samplers import ODESampler
from sde_lib import EDM, VESDE, Noise
from sde_lib.base import register_sde
from sde_lib.grids import register_grid

SIGMAS = torch.tensor([0.002, 0.1, 0.5, 3.0, 80.0], dtype=torch.float64)


class Affine(Network):
    """F(u, c) = slope u + shift + label c; remembers what it was given."""

    def __init__(self, slope: float = 0.0, shift: float = 0.0, label: float = 0.0) -> None:
        super().__init__()
        self.slope, self.shift, self.label = slope, shift, label

    def forward(self, x: Tensor, labels: Tensor, **cond: Any) -> Tensor:
        self.given, self.told, self.cond = x, labels, cond
        return self.slope * x + self.shift + self.label * labels[:, None]


class Ideal(Network):
    """The F whose denoiser is the posterior mean of N(mean, std^2), solved for by hand."""

    def __init__(self, mean: float, std: float, sigma_data: float) -> None:
        super().__init__()
        self.mean, self.std, self.sigma_data = mean, std, sigma_data

    def forward(self, x: Tensor, labels: Tensor, **cond: Any) -> Tensor:
        sigma, d2 = (4 * labels[:, None]).exp(), self.sigma_data**2
        root = (sigma**2 + d2).sqrt()
        state = root * x  # the state before scaling
        denoised = (self.std**2 * state + sigma**2 * self.mean) / (self.std**2 + sigma**2)
        return (denoised - d2 / (sigma**2 + d2) * state) * root / (sigma * self.sigma_data)


def edm_model(network: Network, process: EDM | None = None) -> NoiseModel:
    return convention("edm", process or EDM()).training.model(network)


@pytest.mark.parametrize("sigma_data", [0.5, 1.7])
def test_what_the_network_sees_and_what_it_learns_have_unit_variance(sigma_data: float) -> None:
    """The four coefficients, read off a wrapped network, against the conditions that define them.

    With data of variance d^2: c_in^2 (d^2 + s^2) = 1; the target (y - c_skip (y + n)) / c_out has variance
    ((1 - c_skip)^2 d^2 + c_skip^2 s^2) / c_out^2 = 1, stationary in c_skip; and lambda c_out^2 = 1.
    """
    ones, zeros = (
        torch.ones(len(SIGMAS), 1, dtype=torch.float64),
        torch.zeros(len(SIGMAS), 1, dtype=torch.float64),
    )
    silent, constant = Affine(), Affine(shift=1.0)
    c_skip = EDMPreconditioned(silent, sigma_data=sigma_data)(ones, SIGMAS)[:, 0]
    c_out = EDMPreconditioned(constant, sigma_data=sigma_data)(zeros, SIGMAS)[:, 0]
    c_in, c_noise = silent.given[:, 0], silent.told

    d2, s2 = sigma_data**2, SIGMAS**2
    one = torch.ones_like(SIGMAS)
    torch.testing.assert_close(c_in**2 * (d2 + s2), one)
    torch.testing.assert_close(((1 - c_skip) ** 2 * d2 + c_skip**2 * s2) / c_out**2, one)
    torch.testing.assert_close((1 - c_skip) * d2, c_skip * s2)
    torch.testing.assert_close(c_noise, SIGMAS.log() / 4)
    weight_of_eps = EDMWeighting(sigma_data).weight(EDM(), ones, SIGMAS, SIGMAS)
    torch.testing.assert_close(weight_of_eps / s2 * c_out**2, one)


def test_silence_is_right_for_gaussian_data() -> None:
    """For N(0, sigma_data^2) the posterior mean is c_skip x: F = 0 is exact, its score -x / (s^2 + d^2)."""
    x = torch.linspace(-2, 2, 5, dtype=torch.float64)[:, None]
    model = edm_model(EDMPreconditioned(Affine(), sigma_data=0.7))
    torch.testing.assert_close(model(x, SIGMAS).score, -x / (SIGMAS[:, None] ** 2 + 0.49), rtol=1e-6, atol=0)


def test_the_ideal_denoiser_is_recovered() -> None:
    """Through the wrapper the ideal F is the exact score of other Gaussian data, at every noise level."""
    process = EDM()
    x = torch.linspace(-2, 2, 5, dtype=torch.float64)[:, None]
    model = edm_model(EDMPreconditioned(Ideal(0.3, 0.2, 0.5)), process)
    exact = NoiseModel(
        register_model["gaussian"](process=process, mean=0.3, std=0.2), process, model.time, "score"
    )
    torch.testing.assert_close(model(x, SIGMAS).score, exact(x, SIGMAS).score, rtol=1e-6, atol=1e-9)


def test_the_probability_flow_from_noise_to_data() -> None:
    """For Gaussian data it scales by sqrt((t^2 + s^2) / (T^2 + s^2)) about the mean, in closed form."""
    model = edm_model(EDMPreconditioned(Ideal(0.3, 0.2, 0.5)))
    z = 80 * torch.linspace(-2, 2, 9, dtype=torch.float64)[:, None]
    x = ODESampler(model, rtol=1e-7, atol=1e-7, noise_removal=False).decode(z).x
    expected = 0.3 + (z - 0.3) * math.sqrt((0.002**2 + 0.2**2) / (80**2 + 0.2**2))
    torch.testing.assert_close(x, expected, rtol=1e-5, atol=1e-5)


def test_the_loss_is_the_networks_own() -> None:
    """lambda(s) |D - y|^2, through the project's loss, is |F - target|^2 of the raw network (their eq. 8)."""
    raw = Affine(slope=0.3, shift=-0.2, label=0.1)
    loss = DenoisingLoss(LogNormalTimes(), EDMWeighting())
    y = torch.linspace(-1, 1, 12, dtype=torch.float64).reshape(6, 2)
    found = loss(edm_model(EDMPreconditioned(raw)), y, Noise(3, range(6), dtype=torch.float64))

    again = Noise(3, range(6), dtype=torch.float64)
    sigma = (-1.2 + 1.2 * again.normal((6, 1))).exp()
    noisy = y + sigma * again.normal((6, 2))
    variance = sigma**2 + 0.25
    told = 0.3 * noisy / variance.sqrt() - 0.2 + 0.1 * sigma.log() / 4
    target = (y - 0.25 / variance * noisy) * variance.sqrt() / (sigma * 0.5)
    torch.testing.assert_close(found.t, sigma[:, 0])
    torch.testing.assert_close(found.values, (told - target).square().mean(1), rtol=1e-6, atol=0)


@pytest.mark.parametrize("process", [EDM(), VESDE(sigma_min=1e-4, sigma_max=100.0)], ids=["edm", "vesde"])
def test_noise_levels_are_log_normal(process: EDM | VESDE) -> None:
    """ln sigma of 4000 draws against N(-1.2, 1.2^2) (Kolmogorov-Smirnov), whatever the process's own time."""
    t = LogNormalTimes().sample(process, Noise(0, range(4000)))
    drawn = process.marginal(t).sigma.log()
    assert scipy.stats.kstest(drawn.numpy(), scipy.stats.norm(-1.2, 1.2).cdf).pvalue > 1e-3


def test_every_network_embeds_the_same_number() -> None:
    """NCSN++ with Fourier features takes the logarithm itself, so c_noise reaches it as exp(c_noise)."""
    torch.manual_seed(0)
    settings = {
        "channels": 8,
        "channel_mult": (1, 1),
        "num_res_blocks": 1,
        "image_size": 8,
        "init_scale": 1.0,
    }
    inner = register_model["ncsnpp"](**settings, centered=True, scale_by_sigma=False).eval()
    x, sigma = torch.randn(2, 3, 8, 8), torch.tensor([0.01, 20.0])
    embedded: list[Tensor] = []
    inner.fourier.register_forward_pre_hook(lambda _, args: embedded.append(args[0]))
    assert EDMPreconditioned(inner)(x, sigma).isfinite().all()
    torch.testing.assert_close(embedded[0], sigma.log() / 4)


def test_conditions_and_shapes_pass_through() -> None:
    inner, y = Affine(), torch.tensor([1])
    EDMPreconditioned(inner)(torch.zeros(1, 1), torch.ones(1), y=y)
    assert inner.cond["y"] is y
    with pytest.raises(ValueError, match="does not divide by 2"):
        EDMPreconditioned(register_model["ddpm"](channels=32, channel_mult=(1, 1))).check_shape((3, 7, 7))


def test_networks_that_cannot_be_preconditioned_are_refused() -> None:
    with pytest.raises(ValueError, match="set scale_by_sigma=False"):
        EDMPreconditioned(register_model["ncsnpp"](channels=8, channel_mult=(1,), num_res_blocks=1))
    with pytest.raises(ValueError, match="GaussianScore outputs score whatever"):
        EDMPreconditioned(register_model["gaussian"](process=EDM()))
    with pytest.raises(ValueError, match="positive number; got 0"):
        EDMPreconditioned(Affine(), sigma_data=0)


def test_the_process() -> None:
    """sigma(t) = t: increments of variance t^2 - s^2, hence g^2 = d(t^2)/dt = 2 t, and no drift."""
    process = register_sde["edm"]()
    t, s = SIGMAS, SIGMAS / 3
    step = process.transition(t, s)
    torch.testing.assert_close(step.std, (t**2 - s**2).sqrt())
    torch.testing.assert_close(step.scale, torch.ones_like(t))
    found = process.sde(torch.ones(5, 2), t)
    torch.testing.assert_close(found.diffusion**2, 2 * t)
    assert found.drift.abs().max() == 0
    torch.testing.assert_close(process.marginal(process.time_of(t)).sigma, t)
    assert (process.start, process.prior_std, process.t_end, process.t_min) == (80.0, 80.0, 0.002, 0.002)
    assert EDM(t_end=0.01).t_end == 0.01


def test_the_karras_grid_is_the_papers() -> None:
    """Their eq. 5: (s_max^(1/7) + i / (n - 1) (s_min^(1/7) - s_max^(1/7)))^7, evaluated in plain floats."""
    a, b = 80 ** (1 / 7), 0.002 ** (1 / 7)
    expected = [(a + i / 17 * (b - a)) ** 7 for i in range(18)]
    times = register_grid["karras"]().times(EDM(), 18)
    torch.testing.assert_close(times, torch.tensor(expected, dtype=torch.float64), rtol=1e-10, atol=0)


@pytest.mark.parametrize("arguments", [{"sigma_min": 0.0}, {"sigma_min": 90.0}, {"t_end": 100.0}])
def test_levels_out_of_order_are_refused(arguments: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="0 < sigma_min < sigma_max"):
        EDM(**arguments)


def test_registered_for_configs() -> None:
    """By name: what a config says to train and sample in this way."""
    assert register_weighting["edm"] is EDMWeighting
    setting = convention("edm", EDM()).sampling
    assert setting.output == "x0"
    torch.testing.assert_close(setting.time.labels(SIGMAS), SIGMAS)
    with pytest.raises(ValueError, match=r"set training\.continuous=True"):
        convention("edm", EDM(), continuous=False)
