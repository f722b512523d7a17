"""Weightings by the signal-to-noise ratio: the papers' formulas of the error in x_0, on SDEs and chains alike."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from losses import DenoisingLoss, register_weighting
from losses.edm import EDMWeighting
from losses.snr_weightings import (
    MinSNRWeighting,
    P2Weighting,
    SNRWeighting,
    SoftMinSNRWeighting,
    TruncatedSNRWeighting,
)
from losses.weightings import Weighting
from models.prediction.noise_model import NoiseModel
from models.prediction.time_encoding import Time
from sde_lib import DiscreteDiffusion
from tests.losses.test_denoising import At, Tanh, data, streams
from tests.oracles import Case

FORMULAS: dict[str, tuple[Weighting, Callable[[float], float]]] = {
    "snr": (SNRWeighting(), lambda snr: snr),
    "truncated_snr": (TruncatedSNRWeighting(), lambda snr: max(snr, 1)),
    "min_snr": (MinSNRWeighting(), lambda snr: min(snr, 5)),
    "min_snr, gamma 0.1": (MinSNRWeighting(0.1), lambda snr: min(snr, 0.1)),
    "soft_min_snr": (SoftMinSNRWeighting(), lambda snr: 5 * snr / (snr + 5)),
    "soft_min_snr, gamma 0.1": (SoftMinSNRWeighting(0.1), lambda snr: 0.1 * snr / (snr + 0.1)),
    "p2": (
        P2Weighting(),
        lambda snr: snr / (1 + snr),
    ),  # eq. 8 of the error in eps, which is SNR times that in x_0
    "p2, k 0.5, gamma 2": (P2Weighting(0.5, 2.0), lambda snr: snr / (0.5 + snr) ** 2),
    "edm": (EDMWeighting(0.7), lambda snr: (1 / snr + 0.7**2) / (1 / snr * 0.7**2)),  # table 1, s^2 = 1 / SNR
}


@pytest.mark.parametrize("place", [0.02, 0.3, 0.9])
@pytest.mark.parametrize("name", FORMULAS)
def test_factor_of_the_error_in_x0(case: Case, name: str, place: float) -> None:
    """weight(SNR) |x0 - x0_hat|^2, from the oracle's alpha and sigma, for a network that outputs x0."""
    weighting, formula = FORMULAS[name]
    chain = isinstance(case.process, DiscreteDiffusion)
    t = round(place * case.oracle.start) if chain else place
    a, s = case.oracle.alpha(t), case.oracle.sigma(t)
    x0, eps = data(), streams().normal(data().shape)
    net = torch.tanh(0.7 * (a * x0 + s * eps)) * (0.3 + t / 1000)
    model = NoiseModel(Tanh(), case.process, Time(case.process), "x0")
    loss = DenoisingLoss(At(t), weighting)(model, x0, streams()).values
    wanted = formula((a / s) ** 2) * (net - x0).square().mean(1)
    assert loss.numpy() == pytest.approx(wanted.numpy(), rel=1e-7)


@pytest.mark.parametrize("name", FORMULAS)
def test_factors_are_finite_where_there_is_no_noise_and_where_there_is_nothing_else(
    name: str, case: Case
) -> None:
    process, weighting = case.process, FORMULAS[name][0]
    times = process.time(
        [*process.trained] if hasattr(process, "trained") else [process.t_end, process.start]
    )
    std = torch.ones(2, dtype=torch.float64)
    factor = weighting.weight(process, torch.zeros(2, 3), times, std)
    assert factor.isfinite().all()
    assert (factor >= 0).all()
    assert factor.dtype == torch.float64


def test_they_have_names() -> None:
    assert {"snr", "truncated_snr", "min_snr", "soft_min_snr", "p2", "edm"} <= set(register_weighting)
    assert register_weighting["min_snr"] is MinSNRWeighting
