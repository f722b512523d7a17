"""The examples of own processes, samplers, networks and losses: each from a folder of its own, by name.

The oracles are closed forms in the setting, or exact relations between two of its values. Where nothing else is
said, the data are 0 with deviation 1e-6, so that the exact score is -x / sigma^2.
"""

from __future__ import annotations

import math
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import logistic, norm

from run_lib.data.sources import register_dataset
from tests.run_lib.program import GAUSSIAN, ROOT, TINY, numbers, program, run

EXAMPLES = ROOT / "examples/plugins"
POINT = {"model__mean": 0.0, "model__std": 1e-6}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, and the current one."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def copied(name: str, folder: Path) -> str:
    shutil.copy(EXAMPLES / f"{name}.py", folder)
    return f"{name}.py"


@pytest.mark.parametrize(
    ("plugin", "component", "flags"),
    [
        ("predictor", "scaled_ddim", ["sampling.damping=1.005"]),
        ("corrector", "tempered_langevin", ["sampling.step=0.05", "sampling.temperature=1.0"]),
        ("sde", "logistic_sde", ["model.scale=0.5"]),
        ("gaussian_sde", "shifted_cosine", ["model.shift=1.0"]),
        ("time_grid", "shifted", ["sampling.shift=3.0"]),
        ("network", "perceptron", ["model.hidden=128"]),
        ("weighting", "capped_snr", ["training.gamma=5.0"]),
        ("objective", "pseudo_huber", ["training.delta=1.0"]),
        ("times", "power_of_uniform", ["training.power=2.0"]),
        ("task", "coarse", ["training.group=2"]),
    ],
)
def test_settings_are_listed(plugin: str, component: str, flags: list[str], folder: Path) -> None:
    """Each with its flag and default, and with the sentence that documents it."""
    outcome = program("--mode", "list", component, plugins=copied(plugin, folder))
    assert outcome.status == 0, outcome.err
    lines = outcome.out.splitlines()
    for flag in flags:
        (place,) = [k for k, line in enumerate(lines) if line.strip().startswith(f"--config.{flag} ")]
        assert lines[place + 1].startswith(" " * 8), "its documentation"


def samples(folder: Path, **settings: Any) -> np.ndarray:
    """200 samples as states at the last time, without the closing estimate."""
    fields = {"sampling__num_samples": 200, "sampling__batch_size": 200, "sampling__noise_removal": False}
    workdir = Path(tempfile.mkdtemp(dir=folder))
    run(GAUSSIAN, "sample", workdir, **{**fields, **settings})
    with np.load(workdir / "samples/samples.npz") as held:
        return np.asarray(held["arr_0"], dtype=np.float64)


def prior(folder: Path) -> np.ndarray:
    """The prior's draws for the same samples: a grid of one time leaves no step to take."""
    return samples(folder, **POINT, sampling__num_steps=1)


def vp(t: float) -> tuple[float, float]:
    """alpha and sigma of the SDE with beta from 0.1 to 20."""
    log_alpha = -(t**2) * 19.9 / 4 - t * 0.1 / 2
    return math.exp(log_alpha), math.sqrt(-math.expm1(2 * log_alpha))


def test_predictor(folder: Path) -> None:
    """For x = sigma_t z a step gives (alpha_s/alpha_t (1 - 1/damping) + sigma_s / (sigma_t damping)) x."""
    own = {
        "plugins": copied("predictor", folder),
        "sampling__predictor": "scaled_ddim",
        "sampling__grid": "uniform",
        "sampling__num_steps": 3,
        "sampling__t_end": 0.1,
    }
    z = prior(folder)
    for damping in (1.0, 1.25):
        factor = 1.0
        for t, s in ((1.0, 0.55), (0.55, 0.1)):
            (alpha_t, sigma_t), (alpha_s, sigma_s) = vp(t), vp(s)
            factor *= alpha_s / alpha_t * (1 - 1 / damping) + sigma_s / (sigma_t * damping)
        x = samples(folder, **POINT, **own, sampling__damping=damping)
        np.testing.assert_allclose(x, factor * z, rtol=1e-4, atol=1e-4)


def test_corrector(folder: Path) -> None:
    """Without noise two sub-steps leave (1 - step)^2 of x; noise enters as the root of the temperature."""
    own = {
        "plugins": copied("corrector", folder),
        "sampling__predictor": "none",
        "sampling__corrector": "tempered_langevin",
        "sampling__num_steps": 2,
        "sampling__n_steps_each": 2,
    }
    z = prior(folder)
    cold = samples(folder, **POINT, **own, sampling__temperature=0.0, sampling__step=0.3)
    np.testing.assert_allclose(cold, 0.7**2 * z, rtol=1e-4, atol=1e-5)
    warm, hot = (
        samples(folder, **POINT, **own, sampling__temperature=value, sampling__step=0.3) for value in (1, 4)
    )
    np.testing.assert_allclose(hot - cold, 2 * (warm - cold), rtol=1e-4, atol=1e-5)
    # Each sub-step adds a variance of 2 step, of which the next keeps (1 - step)^2; 400 values.
    assert (warm - cold).var() == pytest.approx(0.6 * (1 + 0.7**2), rel=5 * math.sqrt(2 / 400))


PARTS = """
import torch

from models import Network, register_model
from run_lib.data.levels import Arrays
from run_lib.data.sources import register_dataset
from sde_lib import Noise


@register_model
class HalfLogisticScore(Network):
    time_label, output_kind, has_weights = "time", "score", False

    def __init__(self, scale: float = 0.5):
        super().__init__()
        self.scale = scale

    def forward(self, x, labels, **cond):
        return -0.5 * torch.tanh(x / (2 * self.scale)) / self.scale


@register_dataset
def few_points(split):
    return Arrays(0.5 * Noise(1, range(20)).normal((20, 2)), torch.zeros(20, dtype=torch.int64))


@register_model
class SaysClass(Network):
    time_label, output_kind, has_weights = "time", "eps", False

    def forward(self, x, labels, y, **cond):
        return y.to(x.dtype)[:, None, None, None].expand_as(x)
"""


@pytest.mark.parametrize("scale", [0.5, 0.8])
def test_sde(scale: float, folder: Path) -> None:
    """Half the prior's score halves the drift of the flow: sinh(x / 2 scale) falls as exp(-t / (4 scale^2)).

    Its density is that of the logistic prior where the flow ends, times the derivative of the map.
    """
    (folder / "parts.py").write_text(PARTS)
    own = {
        "plugins": f"{copied('sde', folder)},parts.py",
        "training__sde": "logistic_sde",
        "model__name": "half_logistic_score",
        "model__scale": scale,
        "data__dataset": "few_points",
        "sampling__predictor": "euler_maruyama",
        "sampling__grid": "uniform",
    }
    run(GAUSSIAN, "eval", folder / "run", eval__enable_sampling=False, eval__bpd_num_images=20, **own)
    x = register_dataset["few_points"]("test").images.double().numpy()
    kept = math.exp(-1 / (4 * scale**2))
    end = np.arcsinh(np.sinh(x / (2 * scale)) * kept)
    slope = np.cosh(x / (2 * scale)) * kept / np.cosh(end)
    nats = -(logistic(scale=scale).logpdf(2 * scale * end) + np.log(slope)).sum(1).mean()
    assert numbers(folder / "run")["nats/test"]["value"] == pytest.approx(nats, abs=1e-3)
    drawn = samples(folder, **{**own, "sampling__num_steps": 1})
    assert np.abs(drawn).mean() == pytest.approx(2 * math.log(2) * scale, rel=0.2)


def test_gaussian_sde(folder: Path) -> None:
    """DDIM keeps x / sigma of point data, and sigma at t = 1/2 is 1 / sqrt(1 + shift^2), but for the trace.

    The first step divides by alpha_1 = 0.0016 shift, which leaves 1e-4 of float32's precision.
    """
    own = {
        "plugins": copied("gaussian_sde", folder),
        "training__sde": "shifted_cosine",
        "sampling__predictor": "ddim",
        "sampling__num_steps": 2,
        "sampling__grid": "explicit",
        "sampling__listed_times": "(1.0,0.5)",
    }
    z = prior(folder)
    for shift in (1.0, 0.25):
        tangent = math.tan(0.999 * math.pi / 4) / shift
        x = samples(folder, **POINT, **own, model__shift=shift)
        np.testing.assert_allclose(x, z * tangent / math.hypot(1, tangent), atol=1e-3)


def test_time_grid(folder: Path) -> None:
    """Two Euler steps of the flow, each x (1 - (t - s) beta(t) alpha^2 / (2 sigma^2)), by way of the middle time."""
    own = {
        "plugins": copied("time_grid", folder),
        "sampling__predictor": "euler_maruyama",
        "sampling__probability_flow": True,
        "sampling__grid": "shifted",
        "sampling__num_steps": 3,
        "sampling__t_end": 0.4,
    }
    z = prior(folder)
    for shift, middle in ((1.0, 0.7), (3.0, 13 / 16)):
        factor = 1.0
        for t, s in ((1.0, middle), (middle, 0.4)):
            alpha, sigma = vp(t)
            factor *= 1 - (t - s) * (0.1 + 19.9 * t) * alpha**2 / (2 * sigma**2)
        x = samples(folder, **POINT, **own, sampling__shift=shift)
        np.testing.assert_allclose(x, factor * z, rtol=1e-4, atol=1e-5)


def loss(folder: Path, **settings: Any) -> tuple[float, float]:
    """The training loss on 2,000 points of deviation 0.5, with its standard error."""
    workdir = Path(tempfile.mkdtemp(dir=folder))
    fields = {"eval__enable_loss": True, "eval__enable_bpd": False, "eval__enable_sampling": False}
    run(GAUSSIAN, "eval", workdir, model__mean=0.0, model__std=0.5, **fields, **settings)
    found = numbers(workdir)["loss/test"]
    return found["value"], found["stderr"]


def error_variance(t: float) -> float:
    """Of the exact score's error in eps at t, in each coordinate."""
    alpha, sigma = vp(t)
    return (alpha * 0.5) ** 2 / ((alpha * 0.5) ** 2 + sigma**2)


def test_weighting(folder: Path) -> None:
    """Below every SNR it is gamma times the error in x0; above all, that in eps; between, the integral over time."""
    own = {"plugins": copied("weighting", folder), "training__weighting": "capped_snr"}
    eps, data = (loss(folder, training__weighting=name)[0] for name in ("eps", "x0"))
    assert loss(folder, **own, training__gamma=1e-5)[0] == pytest.approx(1e-5 * data, rel=1e-5)
    assert loss(folder, **own, training__gamma=1e12)[0] == pytest.approx(eps, rel=1e-5)

    def weighted(t: float) -> float:
        snr = (vp(t)[0] / vp(t)[1]) ** 2
        return min(snr, 1.0) / snr * error_variance(t)

    value, stderr = loss(folder, **own, training__gamma=1.0)
    assert value == pytest.approx(quad(weighted, 1e-5, 1, limit=200)[0], abs=4 * stderr)
    assert stderr < 0.05 * value


def test_objective(folder: Path) -> None:
    """Half the squared error for a large delta; else the mean over times and over a Gaussian error."""
    own = {"plugins": copied("objective", folder), "training__objective": "pseudo_huber"}
    squares = loss(folder)[0]
    assert loss(folder, **own, training__delta=30.0)[0] == pytest.approx(squares / 2, rel=1e-3)
    z, weights = np.polynomial.hermite_e.hermegauss(80)
    weights = weights / weights.sum()
    for delta in (0.1, 1.0):

        def cost(t: float, delta: float = delta) -> float:
            roots = np.sqrt(1 + error_variance(t) * (z / delta) ** 2)
            return float(delta**2 * (weights * (roots - 1)).sum())

        value, stderr = loss(folder, **own, training__delta=delta)
        assert value == pytest.approx(quad(cost, 1e-5, 1, limit=200)[0], abs=4 * stderr)
        assert stderr < 0.05 * value


def test_times(folder: Path) -> None:
    """The loss is the integral of the error at u^power over uniform u."""
    own = {"plugins": copied("times", folder), "training__times": "power_of_uniform"}
    for power in (2.0, 4.0):
        value, stderr = loss(folder, **own, training__power=power)
        expected = quad(lambda u, power=power: error_variance(max(u**power, 1e-5)), 0, 1, limit=200)[0]
        assert value == pytest.approx(expected, abs=4 * stderr)


@pytest.mark.slow
def test_network(folder: Path) -> None:
    """The parameters of two layers on 64 pixels and a time, and a loss that training lowers."""
    own = {"plugins": copied("network", folder), "model__name": "perceptron"}
    for hidden in (7, 30):
        out = run(TINY, "describe", folder / "run", "layers", **own, model__hidden=hidden).out
        (total,) = [line.split()[1] for line in out.splitlines() if line.startswith("total")]
        assert total == f"{(64 + 1 + 1) * hidden + (hidden + 1) * 64:,}"
    losses = []
    for steps in (1, 80):
        fields: dict[str, Any] = {**own, "model__hidden": 30, "model__ema_rate": 0.9, "optim__lr": 0.01}
        fields |= {"training__n_iters": steps, "training__eval_freq": 1000, "training__weighting": "x0"}
        fields |= {"training__snapshot_freq": 1000, "training__snapshot_freq_for_preemption": 1000}
        run(TINY, "train", folder / str(steps), **fields)
        only = {"eval__enable_loss": True, "eval__enable_bpd": False, "eval__enable_sampling": False}
        run(TINY, "eval", folder / str(steps), **fields, **only)
        losses.append(numbers(folder / str(steps))["loss/test"]["value"])
    assert losses[1] < 0.7 * losses[0]


def test_task(folder: Path) -> None:
    """A network whose noise is its class y has the loss 1 + y^2: its mean over the groups of the test labels.

    Samples of one step are (z - sigma y) / alpha with a small alpha: a pixel is white where z > y, else black.
    """
    (folder / "parts.py").write_text(PARTS)
    own = {
        "plugins": f"{copied('task', folder)},parts.py",
        "training__task": "coarse",
        "model__name": "says_class",
    }
    only = {"eval__enable_loss": True, "eval__enable_bpd": False, "eval__enable_sampling": False}
    labels = register_dataset["digits"]("test").labels.double().numpy()
    group, classes = 4, 3
    fields = {**own, "training__group": group, "model__num_classes": classes}
    run(TINY, "eval", folder / "run", **fields, **only)
    found = numbers(folder / "run")["loss/test"]
    expected = 1 + (np.floor(labels / group) ** 2).mean()
    assert found["value"] == pytest.approx(expected, rel=0.01)
    run(TINY, "sample", folder / "run", **fields, sampling__num_samples=60, sampling__num_steps=1)
    with np.load(folder / "run/samples/samples.npz") as held:
        white, y = held["arr_0"] > 8, held["arr_1"]
    np.testing.assert_array_equal(y, np.arange(60) % classes)
    for k in range(classes):
        assert white[y == k].mean() == pytest.approx(norm.sf(k), abs=5 * 0.5 / math.sqrt(white[y == k].size))
