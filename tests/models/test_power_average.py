"""Power-function averages, against integrals of their densities and sums over all weights."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from numpy.polynomial.legendre import leggauss
from torch import nn

from models.power_average import WIDEST, PowerAverage, coefficients, exponent, overlap, relative_width

_POINTS, _WEIGHTS = leggauss(200)


def integral(values: np.ndarray, end: float) -> float:
    return float(values @ _WEIGHTS) * end / 2


def places(end: float) -> np.ndarray:
    return (_POINTS + 1) * end / 2


def density(tau: np.ndarray, t: float, gamma: float) -> np.ndarray:
    return (gamma + 1) * tau**gamma / t ** (gamma + 1)


def share(k: int, t: int, gamma: float) -> float:
    """Of the weights of update k in the average after t: the density's integral over (k - 1, k]."""
    return float((k / t) ** (gamma + 1) - ((k - 1) / t) ** (gamma + 1)) if k <= t else 0.0


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 6.94, 16.97])
def test_width_is_the_standard_deviation_of_the_density_over_its_length(gamma: float) -> None:
    tau = places(3.0)
    p = density(tau, 3.0, gamma)
    mean = integral(p * tau, 3.0)
    spread = math.sqrt(integral(p * (tau - mean) ** 2, 3.0))
    assert relative_width(gamma) == pytest.approx(spread / 3.0, rel=1e-4)  # tau^0.5 is not smooth at 0
    assert exponent(relative_width(gamma)) == pytest.approx(gamma, abs=1e-6)


def test_exponents_of_the_paper() -> None:
    """sigma_rel of 0.05 and 0.10 are gamma = 16.97 and 6.94 (Karras et al. 2024, section 3.1)."""
    assert exponent(0.05) == pytest.approx(16.97, abs=0.005)
    assert exponent(0.10) == pytest.approx(6.94, abs=0.005)
    assert exponent(WIDEST) == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize("width", [0.0, -0.1, 0.29, math.nan])
def test_widths_that_no_power_function_has(width: float) -> None:
    with pytest.raises(ValueError, match=r"above 0 and is at most 0\.2887"):
        exponent(width)


@pytest.mark.parametrize("width", [0.02, 0.1, 0.25])
def test_update_is_the_closed_form_of_the_weights(width: float) -> None:
    """After t updates, sum over k of (k^(g+1) - (k-1)^(g+1)) / t^(g+1) times the weights of update k."""
    module = nn.Linear(2, 1).double()
    average, gamma, t = PowerAverage(module, width), exponent(width), 30
    for k in range(1, t + 1):
        with torch.no_grad():
            for p in module.parameters():
                p.fill_(math.sin(k))
        average.update(module)
        average.update(module, where=torch.tensor(False))  # a step that was skipped is no update
    wanted = sum(share(k, t, gamma) * math.sin(k) for k in range(1, t + 1))
    assert average.num_updates == t
    for value in average.shadow.values():
        assert value.flatten().tolist() == pytest.approx([wanted] * value.numel(), rel=1e-12)


@pytest.mark.parametrize(("t", "s"), [(2.0, 5.0), (5.0, 2.0), (3.0, 3.0)])
def test_overlap_is_the_integral_of_the_product(t: float, s: float) -> None:
    tau = places(min(t, s))
    product = density(tau, t, 4.0) * density(tau, s, 7.0)
    assert overlap(t, 4.0, s, 7.0) == pytest.approx(integral(product, min(t, s)), rel=1e-12)
    assert overlap(t, 4.0, s, 7.0) == overlap(s, 7.0, t, 4.0)


def test_overlap_of_long_trainings_neither_overflows_nor_vanishes() -> None:
    assert overlap(1e7, 400.0, 1e7, 400.0) == pytest.approx(401**2 / 801 * 1e-7)


KEPT = [(float(t), exponent(width)) for t in range(4, 81, 4) for width in (0.05, 0.10)]


def test_an_average_that_was_kept_is_itself() -> None:
    assert coefficients(KEPT, KEPT[13]) == pytest.approx(np.eye(len(KEPT))[13].tolist(), abs=1e-6)


@pytest.mark.parametrize(("width", "off"), [(0.04, 0.01), (0.07, 0.003), (0.12, 0.003), (0.15, 0.008)])
def test_combination_has_the_profile_that_is_wanted(width: float, off: float) -> None:
    """The shares of all updates, in the combination and in the average itself, differ by little in all."""
    wanted = exponent(width)
    found = coefficients(KEPT, (80.0, wanted))
    assert sum(found) == pytest.approx(1.0, abs=1e-9)
    combined = [
        sum(c * share(k, int(t), g) for c, (t, g) in zip(found, KEPT, strict=True)) for k in range(1, 81)
    ]
    errors = [abs(value - share(k, 80, wanted)) for k, value in enumerate(combined, 1)]
    assert sum(errors) < off


def test_no_combination_of_that_sum_is_nearer() -> None:
    """|sum_i c_i p_i - p|^2 grows in every direction that keeps the sum."""
    kept, wanted = KEPT[-6:], (80.0, exponent(0.07))
    best = np.array(coefficients(kept, wanted))
    matrix = np.array([[overlap(*a, *b) for b in kept] for a in kept])
    right = np.array([overlap(*a, *wanted) for a in kept])
    gradient = matrix @ best - right
    assert gradient == pytest.approx(np.full(6, gradient.mean()), abs=1e-9)
