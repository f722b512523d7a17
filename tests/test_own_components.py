"""Predictors and processes of a user's own file, by name from the command line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.stats import norm

from run_lib.data.sources import register_dataset
from tests.run_lib.program import GAUSSIAN, ROOT, TINY, numbers, program, run

PREDICTOR = '''
from dataclasses import dataclass

from samplers import Predictor, Step, register_predictor


@register_predictor
@dataclass(frozen=True)
class HalfWay(Predictor):
    """To the middle between the state and the predicted data."""

    def update_fn(self, model, x, t, s, noise):
        x = (x + model(x, t).x0) / 2
        return Step(x, x)
'''


def test_own_predictor_by_name(tmp_path: Path) -> None:
    """A bare decorator and a file of fewer than 20 lines; the ancestor's registry does not find the name
    again.

    The data's deviation is 1e-6: the prediction is the mean, and 10 steps leave 2^-10 of the prior's draw.
    """
    assert len(PREDICTOR.strip().splitlines()) <= 20
    plugin = tmp_path / "mine.py"
    plugin.write_text(PREDICTOR)
    for spelling in ("half_way", "HalfWay"):
        run(
            ROOT / "configs/toy/gaussian_image.py",
            "sample",
            tmp_path / spelling,
            plugins=plugin,
            sampling__predictor=spelling,
            sampling__num_steps=11,
            sampling__noise_removal=False,
            model__std=1e-6,
            sampling__num_samples=200,
        )
        with np.load(tmp_path / spelling / "samples/samples.npz") as held:
            x = held["arr_0"]
        assert (x - x.mean(0)).std() == pytest.approx(2.0**-10, rel=0.02)
        assert np.abs(x.mean(0)).mean() == pytest.approx(0.8, abs=1e-3)


PROCESSES = '''
import math

import torch

from models.base import Network, register_model
from run_lib.data.levels import Arrays
from run_lib.data.sources import register_dataset
from sde_lib import SDE, Coefficients, GaussianSDE, Marginal, Noise, expand, register_sde


@register_sde
class Ornstein(SDE):
    """dx = -2 x dt + 1.5 dw."""

    def sde(self, x, t):
        return Coefficients(-2 * x, torch.full_like(t, 1.5))

    def prior_sampling(self, shape, noise):
        return 0.75 * noise.normal(shape)

    def prior_logp(self, z):
        return torch.distributions.Normal(0.0, 0.75).log_prob(z.double()).flatten(1).sum(1)


@register_sde
class Trigonometric(GaussianSDE):
    """alpha = cos, sigma = sin."""

    def marginal(self, t):
        u = 0.98 * math.pi / 2 * t.double()
        return Marginal(torch.cos(u), torch.sin(u))


@register_model
class OrnsteinScore(Network):
    """Exact for data of deviation 0.5."""

    time_label, output_kind = "time", "score"

    def forward(self, x, labels, **cond):
        kept = torch.exp(-4 * expand(labels, x))
        return -x / (0.25 * kept + 0.5625 * (1 - kept))


@register_dataset
def normal(split):
    x = 0.5 * Noise(1, range(400)).normal((400, 2))
    return Arrays(x, torch.zeros(400, dtype=torch.int64))
'''


def test_own_sde_samples_and_has_a_likelihood(tmp_path: Path) -> None:
    """A general SDE with its exact score: nats of the closed form, samples of the data's deviation.

    At t = 1 the data's share of the variance is 0.25 e^-4 against 0.5625 of the prior: 0.8 % hotter, not 0.
    """
    plugin = tmp_path / "processes.py"
    plugin.write_text(PROCESSES)
    own = {
        "plugins": plugin,
        "training__sde": "ornstein",
        "model__name": "ornstein_score",
        "data__dataset": "normal",
        "sampling__predictor": "euler_maruyama",
    }
    assert "grid 'log_snr' needs" in program("--config", GAUSSIAN, "--workdir", tmp_path, **own).error
    own["sampling__grid"] = "uniform"
    run(GAUSSIAN, "eval", tmp_path, eval__bpd_num_images=400, eval__enable_sampling=False, **own)
    data = register_dataset["normal"]("test").images.double().numpy()
    closed_form = -norm(scale=0.5).logpdf(data).sum(1).mean()
    # The prior is p_T but for the data's e^-4 share of the variance: KL of two coordinates below 1e-4.
    assert numbers(tmp_path)["nats/test"]["value"] == pytest.approx(closed_form, abs=3e-3)
    run(GAUSSIAN, "sample", tmp_path, sampling__num_samples=2000, sampling__num_steps=400, **own)
    with np.load(tmp_path / "samples/samples.npz") as held:
        assert held["arr_0"].std() == pytest.approx(0.5, rel=0.04)


def test_own_gaussian_sde_with_exact_scores(tmp_path: Path) -> None:
    """With nothing but ``marginal``, every name works: here ancestral sampling on a log-SNR grid."""
    plugin = tmp_path / "processes.py"
    plugin.write_text(PROCESSES)
    run(GAUSSIAN, "eval", tmp_path, plugins=plugin, training__sde="trigonometric")
    found = numbers(tmp_path)
    assert found["nats/test"]["value"] == pytest.approx(found["nats/test, exact"]["value"], abs=1e-3)
    assert (
        found["frechet/coordinates"]["value"] < 2 * found["frechet/training points to test points"]["value"]
    )


@pytest.mark.slow
@pytest.mark.parametrize(("sde", "output"), [("ornstein", "score"), ("Trigonometric", "v")])
def test_own_sde_trains(sde: str, output: str, tmp_path: Path) -> None:
    """Everything that the digits do: training, samples, bits/dim."""
    plugin = tmp_path / "processes.py"
    plugin.write_text(PROCESSES)
    run(
        TINY,
        "all",
        tmp_path / "run",
        plugins=plugin,
        training__sde=sde,
        model__output=output,
        sampling__predictor="euler_maruyama",
        sampling__grid="uniform",
    )
    found = numbers(tmp_path / "run")
    assert 2 < found["bpd/test"]["value"] < 20, "worse than trained (1.9), better than nonsense"


def test_sde_without_a_marginal_has_a_score_only(tmp_path: Path) -> None:
    """eps, x0 and v are views of a Gaussian marginal: refused before any work, not in the first step."""
    plugin = tmp_path / "processes.py"
    plugin.write_text(PROCESSES)
    settings = {
        "plugins": plugin,
        "training__sde": "ornstein",
        "model__output": "v",
        "sampling__grid": "uniform",
    }
    outcome = program("--config", TINY, "--mode", "train", "--workdir", tmp_path / "run", **settings)
    assert outcome.status == 2
    assert "set model.output='score'" in outcome.err
