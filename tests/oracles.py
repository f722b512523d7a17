"""Closed-form processes and samplers: what the code must compute, written a second time in scalars.

Everything here is numpy float64 and comes from the papers' formulas, never from the code under test.
For Gaussian data N(mu, c^2) the marginal at t is N(alpha mu, v), v = alpha^2 c^2 + sigma^2, and its score
(alpha mu - x) / v is affine, so that every predictor and every corrector is a map x -> a x + b + g z with
z of unit variance. Such a map takes a law of mean m and variance q to (a m + b, a^2 q + g^2), exactly.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import scipy.linalg
import torch
from torch import Tensor

from sde_lib import VDM, VESDE, VPSDE, DiscreteDiffusion, Flow, Noise, Process, subVPSDE
from sde_lib.edm import EDM
from sde_lib.schedules import cosine_betas, geometric_sigmas, linear_betas

BETA_0, BETA_1, SIGMA_0, SIGMA_1, LEVELS = 0.1, 20.0, 0.01, 50.0, 1000


@dataclass(frozen=True)
class Oracle:
    """A Gaussian process in scalars.

    ``drift`` (f of dx = f x dt + g dw) and ``diffusion`` (g) are None on a chain; ``ratio`` is
    alpha_t^2 / alpha_{t-dt}^2 over one of 1000 levels. ``signal`` is where methods start that divide by alpha, infinite
    where they start like others.
    """

    alpha: Callable[[float], float]
    sigma: Callable[[float], float]
    ratio: Callable[[float], float]
    prior_std: float
    start: float
    end: float
    drift: Callable[[float], float] | None = None
    diffusion: Callable[[float], float] | None = None
    signal: float = math.inf

    @property
    def last(self) -> float:
        """The noisiest time of a finite drift."""
        return min(self.start, self.signal)


def beta(t: float) -> float:
    return BETA_0 + t * (BETA_1 - BETA_0)


def beta_integral(t: float) -> float:
    return BETA_0 * t + 0.5 * (BETA_1 - BETA_0) * t * t


def vp_alpha(t: float) -> float:
    return math.exp(-0.5 * beta_integral(t))


def vp_ratio(t: float) -> float:
    return math.exp(-(beta_integral(t) - beta_integral(max(t - 1 / LEVELS, 0))))


VP = Oracle(
    alpha=vp_alpha,
    sigma=lambda t: math.sqrt(-math.expm1(-beta_integral(t))),
    ratio=vp_ratio,
    prior_std=1.0,
    start=1.0,
    end=1e-3,
    drift=lambda t: -0.5 * beta(t),
    diffusion=lambda t: math.sqrt(beta(t)),
)

SUBVP = Oracle(
    alpha=vp_alpha,
    sigma=lambda t: -math.expm1(-beta_integral(t)),
    ratio=vp_ratio,
    prior_std=1.0,
    start=1.0,
    end=1e-3,
    drift=lambda t: -0.5 * beta(t),
    diffusion=lambda t: math.sqrt(-beta(t) * math.expm1(-2 * beta_integral(t))),
)


def ve_sigma(t: float) -> float:
    return SIGMA_0 * (SIGMA_1 / SIGMA_0) ** t if t > 0 else 0.0


VE = Oracle(
    alpha=lambda t: 1.0,
    sigma=ve_sigma,
    ratio=lambda t: 1.0,
    prior_std=SIGMA_1,
    start=1.0,
    end=1e-5,
    drift=lambda t: 0.0,
    # d(sigma^2)/dt = 2 log(sigma_max/sigma_min) sigma^2
    diffusion=lambda t: ve_sigma(t) * math.sqrt(2 * math.log(SIGMA_1 / SIGMA_0)),
)


EDM_80 = Oracle(
    alpha=lambda t: 1.0,
    sigma=lambda t: t,
    ratio=lambda t: 1.0,
    prior_std=80.0,
    start=80.0,
    end=0.002,
    drift=lambda t: 0.0,
    # d(sigma^2)/dt = 2 t
    diffusion=lambda t: math.sqrt(2 * t),
)


def path_oracle(alpha: Callable[[float], float], growth: Callable[[float], float]) -> Oracle:
    """Of a path from data at 0 to noise at 1, growth = alpha' / alpha; g^2 = 2 sigma sigma' - 2 growth sigma^2."""
    sigma = lambda t: alpha(1 - t)  # noqa: E731 - both paths run alike from either end
    rate = lambda t: -growth(1 - t) * alpha(1 - t)  # noqa: E731 - sigma'
    return Oracle(
        alpha=alpha,
        sigma=sigma,
        ratio=lambda t: (alpha(t) / alpha(max(t - 1 / LEVELS, 0))) ** 2,
        prior_std=1.0,
        start=1.0,
        end=1e-3,
        drift=growth,
        diffusion=lambda t: math.sqrt(2 * sigma(t) * rate(t) - 2 * growth(t) * sigma(t) ** 2),
        signal=0.9995,
    )


STRAIGHT = path_oracle(lambda t: 1 - t, lambda t: -1 / (1 - t))
COSINE_PATH = path_oracle(
    lambda t: math.sin(math.pi / 2 * (1 - t)), lambda t: -math.pi / 2 * math.tan(math.pi / 2 * t)
)


def vdm_gamma(t: float) -> float:
    return -13.3 + 18.3 * t if t > 0 else -math.inf


def vdm_alpha(t: float) -> float:
    return (1 + math.exp(vdm_gamma(t))) ** -0.5


def vdm_sigma(t: float) -> float:
    return (1 + math.exp(-vdm_gamma(t))) ** -0.5 if t > 0 else 0.0


LINE = Oracle(
    alpha=vdm_alpha,
    sigma=vdm_sigma,
    ratio=lambda t: (vdm_alpha(t) / vdm_alpha(max(t - 1 / LEVELS, 0))) ** 2,
    prior_std=1.0,
    start=1.0,
    end=1e-3,
    # of d sigmoid(gamma) / dt = gamma' alpha^2 sigma^2
    drift=lambda t: -0.5 * 18.3 * vdm_sigma(t) ** 2,
    diffusion=lambda t: math.sqrt(18.3) * vdm_sigma(t),
)


def ddpm_oracle(betas: np.ndarray) -> Oracle:
    """alpha_bar by the recursion, in extended precision; index -1 is clean."""
    kept = np.concatenate([[1.0], np.cumprod(1 - betas.astype(np.longdouble))])
    lost = [np.longdouble(0)]
    for b in betas.astype(np.longdouble):
        lost.append((1 - b) * lost[-1] + b)
    return Oracle(
        alpha=lambda i: float(np.sqrt(kept[int(i) + 1])),
        sigma=lambda i: float(np.sqrt(lost[int(i) + 1])),
        ratio=lambda i: float(1 - betas[int(i)]),
        prior_std=1.0,
        start=len(betas) - 1,
        end=0,
    )


SMLD_SIGMAS = SIGMA_0 * (SIGMA_1 / SIGMA_0) ** (np.arange(LEVELS) / (LEVELS - 1))
LINEAR_BETAS = 1e-4 + (0.02 - 1e-4) * np.arange(LEVELS) / (LEVELS - 1)


def _cosine_betas() -> np.ndarray:
    u = np.arange(LEVELS + 1) / LEVELS
    f = np.cos((u + 0.008) / 1.008 * np.pi / 2) ** 2
    return np.minimum(1 - f[1:] / f[:-1], 0.999)


COSINE_BETAS = _cosine_betas()

SMLD = Oracle(
    alpha=lambda i: 1.0,
    sigma=lambda i: float(SMLD_SIGMAS[int(i)]) if i >= 0 else 0.0,
    ratio=lambda i: 1.0,
    prior_std=SIGMA_1,
    start=LEVELS - 1,
    end=0,
)


@dataclass(frozen=True)
class Case:
    """The code's process beside the oracle's."""

    process: Process
    oracle: Oracle

    def times(self, count: int) -> list[float]:
        """The uniform grid, noisy to clean, as the chain or the SDE has it, from where exact scores begin."""
        grid = np.linspace(self.oracle.start, self.oracle.end, count)
        grid[0] = self.oracle.last
        return list(np.rint(grid)) if isinstance(self.process, DiscreteDiffusion) else list(grid)


CASES: dict[str, Case] = {
    "vp": Case(VPSDE(), VP),
    "subvp": Case(subVPSDE(), SUBVP),
    "ve": Case(VESDE(), VE),
    "edm": Case(EDM(), EDM_80),
    "flow": Case(Flow(), STRAIGHT),
    "flow_cosine": Case(Flow(path="cosine"), COSINE_PATH),
    "vdm": Case(VDM(), LINE),
    "ddpm": Case(DiscreteDiffusion.ddpm(linear_betas(LEVELS)), ddpm_oracle(LINEAR_BETAS)),
    "ddpm_cosine": Case(DiscreteDiffusion.ddpm(cosine_betas(LEVELS)), ddpm_oracle(COSINE_BETAS)),
    "smld": Case(DiscreteDiffusion.smld(geometric_sigmas(LEVELS)), SMLD),
}
SDES = ["vp", "subvp", "ve", "edm", "flow", "flow_cosine", "vdm"]
CHAINS = ["ddpm", "ddpm_cosine", "smld"]


@dataclass(frozen=True)
class Data:
    """N(mean, std^2) in every coordinate, and what a process makes of it."""

    mean: float
    std: float

    def law(self, oracle: Oracle, t: float) -> Law:
        """The exact marginal p_t."""
        a, s = oracle.alpha(t), oracle.sigma(t)
        return Law(a * self.mean, (a * self.std) ** 2 + s**2)


@dataclass(frozen=True)
class Law:
    """Mean and variance of a coordinate."""

    mean: float
    var: float

    @property
    def std(self) -> float:
        return math.sqrt(self.var)

    def after(self, move: Affine) -> Law:
        return Law(move.a * self.mean + move.b, move.a**2 * self.var + move.g**2)


@dataclass(frozen=True)
class Affine:
    """x -> a x + b + g z."""

    a: float
    b: float = 0.0
    g: float = 0.0


def from_score(data: Data, oracle: Oracle, t: float, *, x: float, score: float, g: float = 0.0) -> Affine:
    """The map coefficient_x x + coefficient_score score(x) + g z for the exact score."""
    law = data.law(oracle, t)
    return Affine(x - score / law.var, score * law.mean / law.var, g)


def euler_maruyama(data: Data, o: Oracle, t: float, s: float, *, flow: bool = False) -> Affine:
    """Song et al. 2021, eq. 6 (or 13): x - (f - g^2 score [/ 2]) dt + g sqrt(dt) z."""
    assert o.drift is not None
    assert o.diffusion is not None
    dt, g2 = t - s, o.diffusion(t) ** 2
    share, fresh = (0.5, 0.0) if flow else (1.0, math.sqrt(g2 * dt))
    return from_score(data, o, t, x=1 - o.drift(t) * dt, score=share * g2 * dt, g=fresh)


def interpolant(data: Data, o: Oracle, t: float, s: float) -> Affine:
    """Ma et al. 2024, eq. 4-5, with w = sigma / 2: drift f x - (g^2 + w) score / 2 and sqrt(w) noise."""
    assert o.drift is not None
    assert o.diffusion is not None
    dt, w = t - s, 0.5 * o.sigma(t)
    score = 0.5 * (o.diffusion(t) ** 2 + w) * dt
    return from_score(data, o, t, x=1 - o.drift(t) * dt, score=score, g=math.sqrt(w * dt))


def _step(o: Oracle, t: float, s: float) -> tuple[float, float]:
    """x_t = scale x_s + sqrt(variance) z."""
    scale = o.alpha(t) / o.alpha(s)
    return scale, max(o.sigma(t) ** 2 - (scale * o.sigma(s)) ** 2, 0.0)


def reverse_diffusion(data: Data, o: Oracle, t: float, s: float, *, flow: bool = False) -> Affine:
    """Song et al. 2021, eq. 46, of x_t = x_s + (scale - 1) x_s + G z."""
    scale, G2 = _step(o, t, s)
    share, fresh = (0.5, 0.0) if flow else (1.0, math.sqrt(G2))
    return from_score(data, o, t, x=2 - scale, score=share * G2, g=fresh)


def ancestral_sampling(data: Data, o: Oracle, t: float, s: float) -> Affine:
    """Ho et al. 2020, eq. 6-7 at x0 = (x + sigma^2 score) / alpha; q(x_s | x_t, x_0) by precisions.

    q is proportional to N(x_s; alpha_s x0, sigma_s^2) N(x_t; scale x_s, G^2).
    """
    scale, G2 = _step(o, t, s)
    variance = 1 / (1 / o.sigma(s) ** 2 + scale**2 / G2)
    of_x0, of_x = variance * o.alpha(s) / o.sigma(s) ** 2, variance * scale / G2
    a_t, s_t = o.alpha(t), o.sigma(t)
    return from_score(data, o, t, x=of_x + of_x0 / a_t, score=of_x0 * s_t**2 / a_t, g=math.sqrt(variance))


def ddim(data: Data, o: Oracle, t: float, s: float, *, eta: float = 0.0) -> Affine:
    """Song et al. 2021 (DDIM), eq. 12 and 16, with eps = -sigma score."""
    a_t, s_t, a_s, s_s = o.alpha(t), o.sigma(t), o.alpha(s), o.sigma(s)
    _, G2 = _step(o, t, s)
    fresh2 = eta**2 * (s_s / s_t) ** 2 * G2
    kept = math.sqrt(s_s**2 - fresh2)
    return from_score(data, o, t, x=a_s / a_t, score=a_s * s_t**2 / a_t - kept * s_t, g=math.sqrt(fresh2))


def stay(data: Data, o: Oracle, t: float, s: float) -> Affine:
    return Affine(1.0)


def closing_estimate(data: Data, o: Oracle, t: float) -> Affine:
    """Tweedie: E[x_0 | x_t] = (x + sigma^2 score) / alpha."""
    return from_score(data, o, t, x=1 / o.alpha(t), score=o.sigma(t) ** 2 / o.alpha(t))


def no_corrector(data: Data, o: Oracle, t: float, law: Law, snr: float) -> Affine:
    return Affine(1.0)


def langevin(data: Data, o: Oracle, t: float, law: Law, snr: float) -> Affine:
    """Song et al. 2021, algorithms 4-5; the norms are their expectations, as in many dimensions.

    |z|^2 = D and |score|^2 = D E[score^2] at the state's law.
    """
    target = data.law(o, t)
    score2 = (law.var + (law.mean - target.mean) ** 2) / target.var**2
    e = 2 * o.ratio(t) * snr**2 / score2
    return from_score(data, o, t, x=1.0, score=e, g=math.sqrt(2 * e))


def ald(data: Data, o: Oracle, t: float, law: Law, snr: float) -> Affine:
    """Song & Ermon 2019, algorithm 1, with the step of Song et al.'s code: e = 2 alpha (snr sigma)^2."""
    e = 2 * o.ratio(t) * (snr * o.sigma(t)) ** 2
    return from_score(data, o, t, x=1.0, score=e, g=math.sqrt(2 * e))


PredictorMap = Callable[[Data, Oracle, float, float], Affine]
CorrectorMap = Callable[[Data, Oracle, float, Law, float], Affine]


def propagate(
    data: Data,
    o: Oracle,
    times: Sequence[float],
    predictor: PredictorMap,
    corrector: CorrectorMap = no_corrector,
    *,
    snr: float = 0.16,
    sub_steps: int = 1,
    corrector_first: bool = True,
    noise_removal: bool = True,
) -> Law:
    """The law of a predictor-corrector sampler's output, from N(0, prior_std^2)."""
    law = Law(0.0, o.prior_std**2)

    def correct(law: Law, t: float) -> Law:
        for _ in range(sub_steps):
            law = law.after(corrector(data, o, t, law, snr))
        return law

    for t, s in itertools.pairwise(times):
        if corrector_first:
            law = correct(law, t)
        law = law.after(predictor(data, o, t, s))
        if not corrector_first:
            law = correct(law, s)
    if noise_removal:
        if corrector_first:
            law = correct(law, times[-1])
        law = law.after(closing_estimate(data, o, times[-1]))
    return law


class OrthogonalNoise(Noise):
    """Noise without sampling error: the k-th normal draw is the k-th row of a Hadamard matrix.

    Draws have mean zero and mean square one over the coordinates, and any two are uncorrelated, exactly. An
    affine sampler's output therefore has over its coordinates exactly the mean and the variance of its law,
    and the norms in Langevin's step size are exactly their expectations.

    Args:
        batch: number of samples; all get the same noise.
        size: coordinates, a power of two larger than the number of draws.
    """

    def __init__(self, batch: int, size: int = 2048) -> None:
        super().__init__(0, range(batch), dtype=torch.float64)
        self._rows, self._row = torch.from_numpy(_hadamard(size)), 0

    def normal(self, shape: Sequence[int]) -> Tensor:
        self._row += 1
        return self._rows[self._row].double().expand(tuple(shape))


_TABLES: dict[int, np.ndarray] = {}


def _hadamard(size: int) -> np.ndarray:
    if size not in _TABLES:
        _TABLES[size] = scipy.linalg.hadamard(size, dtype=np.int8)
    return _TABLES[size]
