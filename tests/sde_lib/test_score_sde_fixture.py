"""score_sde_pytorch's numbers for its SDEs: marginals, drifts, discretisations, priors, flow drifts.

``tests/fixtures/score_sde/sde_and_score.npz`` holds its outputs in float32 for VP and subVP (0.1, 20) and
VE (0.01, 50) with 1000 levels, and the scores that it makes of the network

    net(x, labels) = tanh(0.7 x) (0.3 + labels / 1000).

Float32 leaves 1e-6 relative in most of them; where the reference loses more, the comment says why.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from models.base import Network
from models.prediction.noise_model import NoiseModel, Output
from models.prediction.time_encoding import DescendingLevelOfTime, LevelOfTime, NoiseLevel, Time, TimeEncoding
from sde_lib import SDE, VESDE, VPSDE, DiscreteDiffusion, GaussianSDE, expand, subVPSDE
from sde_lib.schedules import geometric_sigmas, linear_betas

FILE = Path(__file__).parents[1] / "fixtures" / "score_sde" / "sde_and_score.npz"
SDES: dict[str, GaussianSDE] = {"vp": VPSDE(), "subvp": subVPSDE(), "ve": VESDE()}
LEVELS = 1000


@pytest.fixture(scope="module")
def stored() -> dict[str, Tensor]:
    with np.load(FILE) as f:
        return {name: torch.from_numpy(f[name]).double() for name in f.files}


def close(value: Tensor, expected: Tensor, rel: float = 2e-6) -> None:
    """Relative to the largest element of each sample."""
    axes = tuple(range(1, expected.ndim))
    scale = expected.abs().amax(dim=axes, keepdim=True) if axes else expected.abs()
    assert ((value - expected).abs() <= rel * scale).all(), ((value - expected).abs() / scale).max()


class Tanh(Network):
    """The fixture's network."""

    def forward(self, x: Tensor, labels: Tensor, **cond: Any) -> Tensor:
        return torch.tanh(0.7 * x) * (0.3 + expand(labels, x) / 1000)


def score_of(name: str, continuous: bool, x: Tensor, t: Tensor) -> Tensor:
    """The score as the ancestor's ``get_score_fn`` makes it: labels and noise levels by its rules."""
    sde = SDES[name]
    ddpm = DiscreteDiffusion.ddpm(linear_betas(LEVELS))
    encodings: dict[tuple[str, bool], tuple[TimeEncoding, Output]] = {
        ("vp", True): (Time(sde, scale=999), "eps"),
        ("vp", False): (LevelOfTime(ddpm), "eps"),
        ("subvp", True): (Time(sde, scale=999), "eps"),
        ("ve", True): (NoiseLevel(sde), "score"),
        ("ve", False): (DescendingLevelOfTime(sde, LEVELS), "score"),
    }
    encoding, output = encodings[name, continuous]
    return NoiseModel(Tanh(), sde, encoding, output)(x, t).score


@pytest.mark.parametrize("name", SDES)
def test_marginal(name: str, stored: dict[str, Tensor]) -> None:
    """At t = 1e-3 the reference's 1 - exp(.) has lost 5e-4 (VP, subVP): the std is compared from 0.05 on."""
    x, t = stored["x"], stored["t"]
    marginal = SDES[name].marginal(t)
    close(expand(marginal.alpha, x) * x, stored[f"{name}|marginal_mean"])
    kept = t >= 0.05
    close(marginal.sigma[kept], stored[f"{name}|marginal_std"][kept], rel=1e-5)
    close(marginal.sigma, stored[f"{name}|marginal_std"], rel=5e-4)


@pytest.mark.parametrize("name", SDES)
def test_drift_and_diffusion(name: str, stored: dict[str, Tensor]) -> None:
    """subVP's reference computes 1 - exp(-2 integral) in float32: 1e-4 of it is lost at t = 1e-3."""
    x, t = stored["x"], stored["t"]
    c = SDES[name].sde(x, t)
    if name == "ve":
        assert (c.drift == 0).all()
    else:
        close(c.drift, stored[f"{name}|drift"])
    close(c.diffusion, stored[f"{name}|diffusion"], rel=2e-4 if name == "subvp" else 2e-6)


@pytest.mark.parametrize("name", ["vp", "ve"])
def test_discretize_is_a_step_of_the_chain(name: str, stored: dict[str, Tensor]) -> None:
    """The ancestor's DDPM and SMLD discretisations read their tables at t (N - 1), truncated in float32."""
    chains = {
        "vp": DiscreteDiffusion.ddpm(linear_betas(LEVELS)),
        "ve": DiscreteDiffusion.smld(geometric_sigmas(LEVELS)),
    }
    x = stored["x"]
    index = (stored["t"].float() * (LEVELS - 1)).long()
    step = chains[name].discretize(x, index, index - 1)
    if name == "vp":
        # sqrt(1 - beta) - 1 of 5e-5 in float32 has an error of 6e-8.
        close(step.drift, stored["vp|discretize_f"], rel=1.5e-3)
    else:
        assert (step.drift == 0).all()
    # Differences of neighbouring squares in float32.
    close(step.diffusion, stored[f"{name}|discretize_G"], rel=2e-5)


def test_discretize_defaults_to_euler_maruyama(stored: dict[str, Tensor]) -> None:
    """The ancestor's subVP has no rule of its own; its dt is 1/N."""
    x, t = stored["x"], stored["t"]
    step = SDE.discretize(SDES["subvp"], x, t, t - 1 / LEVELS)
    close(step.drift, stored["subvp|discretize_f"])
    close(step.diffusion, stored["subvp|discretize_G"], rel=2e-4)


@pytest.mark.parametrize("name", SDES)
def test_prior_log_density(name: str, stored: dict[str, Tensor]) -> None:
    close(SDES[name].prior_logp(stored["x"]), stored[f"{name}|prior_logp"])


@pytest.mark.parametrize("continuous", [True, False])
@pytest.mark.parametrize("name", SDES)
def test_score(name: str, continuous: bool, stored: dict[str, Tensor]) -> None:
    """At t = 1e-3 the reference's marginal std, by which it divides, has lost 5e-4."""
    if name == "subvp" and not continuous:
        assert "subvp|continuous=False|score" not in stored  # the ancestor has none
        return
    score = score_of(name, continuous, stored["x"], stored["t"])
    expected = stored[f"{name}|continuous={continuous}|score"]
    close(score[1:], expected[1:], rel=1e-5)
    close(score, expected, rel=5e-4)


@pytest.mark.parametrize("name", SDES)
def test_probability_flow_drift(name: str, stored: dict[str, Tensor]) -> None:
    """f - g^2 score / 2 of the continuous score."""
    x, t = stored["x"], stored["t"]
    c = SDES[name].sde(x, t)
    drift = c.drift - 0.5 * expand(c.diffusion**2, x) * score_of(name, True, x, t)
    expected = stored[f"{name}|probability_flow_drift"]
    close(drift[1:], expected[1:], rel=1e-5)
    close(drift, expected, rel=1e-3)
