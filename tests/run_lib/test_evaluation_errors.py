"""Numbers of evaluations and their standard errors, against closed forms."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import norm

import run_lib.evaluation.restoration as restoration
from run_lib.config import plans
from run_lib.config.sampling import SamplingPlan
from run_lib.sample import Batch
from tests.run_lib.planned import planned
from tests.run_lib.program import TINY, numbers, run
from tests.run_lib.test_tasks import SUPERRES
from tests.run_lib.tiny import get_config as tiny

SIGNS = """
import torch
from configs.base import get_config as default
from models import Network, register_model
from run_lib.data.levels import Arrays
from run_lib.data.sources import register_dataset


@register_model
class Sign(Network):
    classifies = True
    has_weights = False

    def forward(self, x, labels, **cond):
        return torch.cat([-x, x], 1)


@register_dataset
def signs(split):
    x = torch.ones(2000, 1)
    x[::2] = -1
    return Arrays(x, (x[:, 0] > 0).long())


def get_config():
    config = default()
    config.device = "cpu"
    config.model.name, config.model.num_classes = "sign", 2
    config.data.dataset, config.data.shape, config.data.levels = "signs", (1,), 0
    config.data.random_flip = False
    config.training.task = "classifier"
    config.eval.enable_accuracy = True
    return config
"""


def test_accuracy_falls_with_the_noise_as_the_closed_form_says(tmp_path: Path) -> None:
    """Of data +-1 the sign of alpha x0 + sigma eps is x0's with probability Phi(alpha / sigma), at each time."""
    file = tmp_path / "signs.py"
    file.write_text(SIGNS)
    run(file, "eval", tmp_path / "run", eval__accuracy_levels=4)
    found = numbers(tmp_path / "run")
    times = np.linspace(1e-3, 1, 4)
    assert list(found) == [f"accuracy/test, t={t:.4g}" for t in times]
    for t, number in zip(times, found.values(), strict=True):
        alpha2 = math.exp(-(0.1 * t + 9.95 * t**2))
        right = norm.cdf(math.sqrt(alpha2 / (1 - alpha2)))
        assert number["value"] == pytest.approx(right, abs=4 * math.sqrt(right * (1 - right) / 2000) + 1e-9)
        q = (2000 * number["value"] + 2) / 2004  # Agresti and Coull's
        assert number["stderr"] == pytest.approx(math.sqrt(q * (1 - q) / 2004))
        assert (number["count"], number["nfe"]) == (2000, 1)


def cubic(few: int, many: int) -> np.ndarray:
    """Cubic interpolation (Keys 1981, a = -3/4, as OpenCV and torch have it) between the middles of pixels, which lie
    at half integers of either size; beyond the border its pixel is repeated. A matrix (many, few)."""
    matrix, a = np.zeros((many, few)), -0.75
    for row in range(many):
        at = (row + 0.5) * few / many - 0.5
        for k in range(math.floor(at) - 1, math.floor(at) + 3):
            d = abs(at - k)
            near = (a + 2) * d**3 - (a + 3) * d**2 + 1
            matrix[row, min(max(k, 0), few - 1)] += near if d <= 1 else a * (d**3 - 5 * d**2 + 8 * d - 4)
    return matrix


def test_restorations_error_bars_are_those_of_the_mean_square(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Image k is k % 4 levels too bright everywhere: squares e of mean m and standard error s / sqrt(n).

    10 log10(16^2 / m) dB, to first order within 10 / ln 10 times s / sqrt(n) / m; the small images' error is sqrt(m)
    levels, within s / sqrt(n) / (2 sqrt(m)).
    """
    truth = planned(tiny(), plans.sampling, SUPERRES).data.load("test").images

    def brighter(plan: SamplingPlan, rows: range) -> Batch:
        added = torch.tensor([k % 4 for k in rows])[:, None, None, None]
        return Batch(truth[list(rows)].int() + added, None, 7)

    monkeypatch.setattr(restoration, "draw", brighter)
    run(TINY, "train", tmp_path, **SUPERRES, training__n_iters=1)
    only = {"eval__enable_bpd": False, "eval__enable_sampling": False, "eval__enable_loss": False}
    run(TINY, "eval", tmp_path, **SUPERRES, **only, eval__enable_restoration=True, training__n_iters=1)
    found = numbers(tmp_path)
    squares = np.arange(len(truth)) % 4 * 1.0
    squares **= 2
    m, error = squares.mean(), squares.std(ddof=1) / math.sqrt(len(truth))
    psnr, small = found["psnr/test images"], found["error of small images"]
    assert psnr["value"] == pytest.approx(10 * math.log10(16**2 / m))
    assert psnr["stderr"] == pytest.approx(10 / math.log(10) * error / m)
    assert small["value"] == pytest.approx(math.sqrt(m), rel=1e-5)
    assert small["stderr"] == pytest.approx(error / (2 * math.sqrt(m)), rel=1e-4)
    assert (psnr["nfe"], psnr["count"], psnr["unit"], small["unit"]) == (7, len(truth), "dB", "levels")
    enlarge = cubic(4, 8)
    pixels = truth[:, 0].double().numpy()
    small_ones = pixels.reshape(-1, 4, 2, 4, 2).mean((2, 4)) + 0.5  # a level's value is the middle of its bin
    again = np.floor(enlarge @ small_ones @ enlarge.T).clip(0, 16)
    bicubic = found["psnr/bicubic enlargement"]["value"]
    assert bicubic == pytest.approx(10 * math.log10(16**2 / ((again - pixels) ** 2).mean()), abs=0.01)
