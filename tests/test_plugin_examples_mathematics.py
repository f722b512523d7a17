"""The examples of own processes, samplers, networks and losses: each from a folder of its own, by name.

The oracles are closed forms in the setting, or exact relations between two of its values. Where nothing else is
said, the data are 0 with deviation 1e-6, so that the exact score is -x / sigma^2.
"""

from __future__ import annotations

import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.integrate import dblquad, quad
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
        ("weighting", "min_snr", ["training.gamma=5.0"]),
        ("objective", "pseudo_huber", ["training.delta=1.0"]),
        ("times", "logit_normal", ["training.location=0.0", "training.spread=1.0"]),
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
    run(GAUSSIAN, "sample", folder / "run", "--overwrite", **{**fields, **settings})
    with np.load(folder / "run/samples/samples.npz") as held:
        return np.asarray(held["arr_0"], dtype=np.float64)


def prior(folder: Path, **settings: Any) -> np.ndarray:
    """The prior's draws for the same samples: a sampler that never moves."""
    still = {"sampling__predictor": "none", "sampling__corrector": "none", "sampling__num_steps": 1}
    return samples(folder, **POINT, **{**still, **settings})


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
