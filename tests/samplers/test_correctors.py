"""What correctors leave unchanged: the closed forms of their stationary laws, and what couples samples."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from models.exact.mixtures import GaussianScore
from models.prediction.noise_model import NoiseModel
from models.prediction.time_encoding import Time
from samplers import Corrector
from samplers.correctors.ald import AnnealedLangevin
from samplers.correctors.langevin import Langevin
from sde_lib import DiscreteDiffusion, Noise
from tests.oracles import CASES, Case, Data, OrthogonalNoise

DATA = Data(0.3, 0.5)
LEVELS = {"vp": 0.4, "subvp": 0.4, "ve": 0.4, "ddpm": 400.0, "smld": 400.0}


def model_of(case: Case) -> NoiseModel:
    network = GaussianScore(process=case.process, mean=DATA.mean, std=DATA.std)
    return NoiseModel(network, case.process, Time(case.process), "score")


def time_of(case: Case, t: float, batch: int = 1) -> Tensor:
    kind = torch.int64 if isinstance(case.process, DiscreteDiffusion) else torch.float64
    return torch.full((batch,), t, dtype=kind)


def equilibrium(case: Case, corrector: Corrector, t: float, steps: int = 450) -> Tensor:
    """The state after many sub-steps from a wrong law: mean zero, twice the target's deviation."""
    noise, model = OrthogonalNoise(1, 512), model_of(case)
    x = 2 * DATA.law(case.oracle, t).std * noise.normal((1, 512))
    for _ in range(steps):
        x = corrector.update_fn(model, x, time_of(case, t), noise).x
    return x


@pytest.mark.parametrize("snr", [0.16, 0.3])
@pytest.mark.parametrize("process", LEVELS)
def test_langevin_is_hotter_than_its_target_by_snr_squared(process: str, snr: float) -> None:
    """The stationary variance is (1 + alpha snr^2) v, v the target's.

    With e = 2 alpha snr^2 v^2 / q at variance q, q = (1 - e/v)^2 q + 2 e gives q / v = 1 + alpha snr^2; alpha
    is one for VE and SMLD. A deviation shrinks by 1 - 2 snr^2 = 0.95 a step: 450 steps leave 1e-9 of it.
    """
    case, t = CASES[process], LEVELS[process]
    target, alpha = DATA.law(case.oracle, t), case.oracle.ratio(t)
    x = equilibrium(case, Langevin(snr=snr), t)
    assert x.var(correction=0).item() == pytest.approx((1 + alpha * snr**2) * target.var, rel=1e-6)
    assert x.mean().item() == pytest.approx(target.mean, abs=1e-6 * target.std)


@pytest.mark.parametrize("process", LEVELS)
def test_annealed_langevin_has_the_unadjusted_fixed_point(process: str) -> None:
    """q = (1 - e/v)^2 q + 2 e gives q = v / (1 - e / (2 v)), e = 2 alpha (snr sigma)^2."""
    case, t, snr = CASES[process], LEVELS[process], 0.3
    target = DATA.law(case.oracle, t)
    e = 2 * case.oracle.ratio(t) * (snr * case.oracle.sigma(t)) ** 2
    x = equilibrium(case, AnnealedLangevin(snr=snr), t)
    assert x.var(correction=0).item() == pytest.approx(target.var / (1 - e / (2 * target.var)), rel=1e-6)
    assert x.mean().item() == pytest.approx(target.mean, abs=1e-6 * target.std)


def one_step(
    norm: str, indices: list[int], scales: list[float], dtype: torch.dtype = torch.float64
) -> Tensor:
    """One Langevin step on VE samples whose scores differ in size, and their streams."""
    case = CASES["ve"]
    x = torch.linspace(-1, 1, 12, dtype=dtype) * torch.tensor(scales, dtype=dtype)[:, None]
    corrector = Langevin(norm=norm)  # type: ignore[arg-type]
    return corrector.update_fn(
        model_of(case), x, time_of(case, 0.4, len(indices)), Noise(3, indices, dtype=dtype)
    ).x


def test_per_sample_norms_leave_a_sample_alone() -> None:
    """The default: a sample's step does not know its batch-mates."""
    together = one_step("sample", [0, 1], [1.0, 30.0])
    assert torch.equal(together[:1], one_step("sample", [0], [1.0]))


def test_batch_norms_couple_samples() -> None:
    """The option that reproduces score_sde: the same sample moves otherwise beside a larger batch-mate."""
    together = one_step("batch", [0, 1], [1.0, 30.0])
    assert not torch.allclose(together[:1], one_step("batch", [0], [1.0]), rtol=0.01)


def test_batch_norms_are_means_of_norms() -> None:
    """score_sde: e = 2 alpha (snr mean|z| / mean|score|)^2, written out in numpy."""
    sigma = CASES["ve"].oracle.sigma(0.4)
    x = np.linspace(-1, 1, 12) * np.array([[1.0], [30.0]])
    score = (0.3 - x) / (0.25 + sigma**2)
    z = Noise(3, [0, 1], dtype=torch.float64).normal((2, 12)).numpy()
    ratio = np.linalg.norm(z, axis=1).mean() / np.linalg.norm(score, axis=1).mean()
    e = 2 * (0.16 * ratio) ** 2
    expected = x + e * score + math.sqrt(2 * e) * z
    assert one_step("batch", [0, 1], [1.0, 30.0]).numpy() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("corrector", [Langevin, AnnealedLangevin])
@pytest.mark.parametrize("snr", [0.0, -0.1, 1.5])
def test_snr_out_of_range_is_refused(corrector: type[Langevin], snr: float) -> None:
    with pytest.raises(ValueError, match="snr lies between 0 and 1"):
        corrector(snr=snr)


def test_unknown_norm_is_refused() -> None:
    with pytest.raises(ValueError, match="'sample' or 'batch', got 'mean'"):
        Langevin(norm="mean")  # type: ignore[arg-type]
