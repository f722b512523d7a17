"""Discrete diffusion: a chain of noise levels at integer times."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import torch
from torch import Tensor, nn

from sde_lib.base import (
    GaussianProcess,
    LogVariances,
    Marginal,
    PosteriorWeights,
    coefficients,
    register_sde,
)
from sde_lib.schedules import (
    cosine_betas,
    geometric_sigmas,
    linear_betas,
    scaled_linear_betas,
    zero_snr_betas,
)
from sde_lib.settings import Range, checked


class DiscreteDiffusion(nn.Module, GaussianProcess):
    """A Markov chain x_{-1} -> x_0 -> ... -> x_{N-1}; index -1 is clean data.

    The number of levels says how a network was trained, never how many steps a sampler takes: a step goes
    from any index to any cleaner one.

    Args:
        alphas: alpha_i of p(x_i | x_{-1}) = N(alpha_i x_{-1}, sigma_i^2 I), (N,).
        sigmas: sigma_i, (N,), with sigma_i / alpha_i strictly increasing.
        prior_std: standard deviation of the prior.
        original: for a respaced chain, each level's index in the chain the network was trained on.
        original_levels: for a respaced chain, the number of levels of that chain.
        closing_std: standard deviation of the step to clean data, for fixed variances; None: see ``log_variances``.

    Raises:
        ValueError: the levels do not become noisier.
    """

    t_end: float = 0
    alphas: Tensor
    sigmas: Tensor
    original: Tensor

    def __init__(
        self,
        *,
        alphas: Tensor,
        sigmas: Tensor,
        prior_std: float = 1.0,
        original: Tensor | None = None,
        original_levels: int | None = None,
        closing_std: float | None = None,
    ) -> None:
        super().__init__()
        if not bool((sigmas / alphas).diff().gt(0).all()) or float(sigmas[0]) <= 0:
            raise ValueError(
                "the levels of a chain must become strictly noisier: sigma/alpha > 0 and increasing."
            )
        self.original_levels = len(alphas) if original_levels is None else original_levels
        self._prior_std, self._closing_std = prior_std, closing_std
        self._signal_start = len(alphas) - 1 - (len(alphas) > 1 and float(alphas[-1]) == 0)
        # Shifted by one, so that index -1 reads the clean level.
        self.register_buffer(
            "alphas", torch.cat([torch.ones_like(alphas[:1]), alphas]).double(), persistent=False
        )
        self.register_buffer(
            "sigmas", torch.cat([torch.zeros_like(sigmas[:1]), sigmas]).double(), persistent=False
        )
        if original is None:
            original = torch.arange(len(alphas), device=alphas.device)
        self.register_buffer("original", original, persistent=False)

    @classmethod
    def ddpm(cls, betas: Tensor) -> DiscreteDiffusion:
        """x_i = sqrt(1 - beta_i) x_{i-1} + sqrt(beta_i) z (Ho et al. 2020, eq. 2)."""
        if not bool(((betas > 0) & (betas <= 1)).all()):
            raise ValueError(
                f"betas must lie in (0, 1], got {betas.min():.3g} to {betas.max():.3g}: take more "
                f"levels (N), or smaller betas."
            )
        log_alpha_bar = torch.log1p(-betas.double()).cumsum(0)
        return cls(alphas=(log_alpha_bar / 2).exp(), sigmas=torch.sqrt(-torch.expm1(log_alpha_bar)))

    @classmethod
    def smld(cls, sigmas: Tensor) -> DiscreteDiffusion:
        """x_i = x_{-1} + sigma_i z, sigmas ascending (Song & Ermon 2019)."""
        return cls(alphas=torch.ones_like(sigmas), sigmas=sigmas, prior_std=float(sigmas[-1]))

    def respace(self, kept: Sequence[int]) -> DiscreteDiffusion:
        """The chain of the kept levels alone, ascending; ``original`` remembers their indices."""
        rows = torch.as_tensor(sorted(kept), device=self.device)
        return DiscreteDiffusion(
            alphas=self.alphas[rows + 1],
            sigmas=self.sigmas[rows + 1],
            prior_std=self._prior_std,
            original=self.original[rows],
            original_levels=self.original_levels,
            closing_std=self._closing_std,
        )

    @property
    def num_levels(self) -> int:
        return len(self.alphas) - 1

    @property
    def device(self) -> torch.device:
        return self.alphas.device

    @property
    def clean(self) -> float:
        return -1

    @property
    def start(self) -> float:
        return self.num_levels - 1

    @property
    def signal_start(self) -> float:
        """The last level, or the one below where the last has no signal, as a beta of 1 leaves none."""
        return self._signal_start

    @property
    def trained(self) -> tuple[float, float]:
        return 0, self.num_levels - 1

    def time(self, values: Tensor | Sequence[float]) -> Tensor:
        device = values.device if isinstance(values, Tensor) else self.device
        return torch.as_tensor(values, dtype=torch.float64, device=device).round().long()

    @property
    def prior_std(self) -> float:
        return self._prior_std

    def marginal(self, t: Tensor) -> Marginal:
        return Marginal(self.alphas[t + 1], self.sigmas[t + 1])

    def time_of(self, noise_to_signal: Tensor) -> Tensor:
        """The level whose log(sigma/alpha) is nearest."""
        levels = (self.sigmas[1:] / self.alphas[1:]).log()
        upper = torch.searchsorted(levels, noise_to_signal.double().log()).clamp(1, self.num_levels - 1)
        lower_is_nearer = noise_to_signal.log() - levels[upper - 1] < levels[upper] - noise_to_signal.log()
        return torch.where(lower_is_nearer, upper - 1, upper)

    def log_variances(self, t: Tensor, s: Tensor) -> LogVariances:
        """As for any process, but for the step to clean data, whose posterior has no variance.

        There ``smallest`` is that of the step above it, from ``t + 1`` to ``t`` (Ho et al.'s code, and all
        that follow it): the width of the decoder of p(data | x_0). ``closing_std`` says otherwise.
        """
        above = (t + 1).clamp(max=self.num_levels - 1)
        closing = s < 0
        std = self.posterior_std(torch.where(closing, above, t), torch.where(closing, t, s))
        if self._closing_std is not None:
            std = torch.where(closing, torch.full_like(std, self._closing_std), std)
        return LogVariances(2 * std.log(), 2 * self.transition(t, s).std.log())

    def data_of_previous(self, previous: Tensor, x: Tensor, t: Tensor) -> Tensor:
        """x_0 of a posterior mean: solves E[x_{t-1} | x_t, x_0] = ``previous`` for x_0, at x_t = ``x``."""
        weights = coefficients(x, self._weights_of_previous, t)
        return torch.addcmul(previous, weights.of_x_t, x, value=-1) / weights.of_x0

    def _weights_of_previous(self, t: Tensor) -> PosteriorWeights:
        return self.posterior_weights(t, t - 1)

    def level_ratio(self, t: Tensor) -> Tensor:
        return (self.marginal(t).alpha / self.marginal(t - 1).alpha) ** 2


@register_sde(name="ddpm")
@checked
def ddpm_chain(
    *,
    N: Annotated[int, Range(least=1)] = 1000,
    beta_min: Annotated[float, Range(above=0)] = 0.1,
    beta_max: Annotated[float, Range(above=0)] = 20.0,
    schedule: Literal["linear", "scaled_linear", "cosine"] = "linear",
    zero_terminal_snr: bool = False,
    betas: Sequence[Annotated[float, Range(above=0, most=1)]] | None = None,
) -> DiscreteDiffusion:
    """The DDPM chain of N levels (Ho et al. 2020, eq. 2).

    Args:
        N: number of levels.
        beta_min, beta_max: ends of the linear schedules, whose betas go from beta_min / N to beta_max / N.
        schedule: of the betas: ``linear`` (Ho et al. 2020, section 4), ``scaled_linear``, whose square roots are even
            (Rombach et al. 2022), or ``cosine`` (Nichol & Dhariwal 2021, eq. 17).
        zero_terminal_snr: whether the schedule is rescaled to leave no signal at the last level (Lin et al. 2024).
        betas: the variance of each forward step, in place of a schedule: N values, from the least noisy level.

    Raises:
        ValueError: an unknown schedule, betas out of range or of another number than N.
    """
    if zero_terminal_snr and (N < 2 or betas is not None):
        raise ValueError(
            f"zero_terminal_snr rescales a schedule of two levels or more; N={N} and betas "
            f"{'are unset' if betas is None else 'are given as they are'}."
        )
    if betas is not None:
        if len(betas) != N:
            raise ValueError(
                f"the given betas are of {len(betas)} levels but the chain has N={N}; make them agree."
            )
        return DiscreteDiffusion.ddpm(torch.as_tensor(betas, dtype=torch.float64))
    given = {
        "linear": lambda: linear_betas(N, beta_min, beta_max),
        "scaled_linear": lambda: scaled_linear_betas(N, beta_min, beta_max),
        "cosine": lambda: cosine_betas(N),
    }[schedule]()
    return DiscreteDiffusion.ddpm(zero_snr_betas(given) if zero_terminal_snr else given)


@register_sde(name="smld")
@checked
def smld_chain(
    *,
    N: Annotated[int, Range(least=1)] = 1000,
    sigma_min: Annotated[float, Range(above=0)] = 0.01,
    sigma_max: Annotated[float, Range(above=0)] = 50.0,
) -> DiscreteDiffusion:
    """The SMLD chain of N noise levels in geometric progression (Song & Ermon 2019, section 4.1).

    Args:
        N: number of levels.
        sigma_min: standard deviation of the noise at the least noisy level.
        sigma_max: standard deviation of the noise at the most noisy level.

    Raises:
        ValueError: the levels would not become noisier.
    """
    if N > 1 and sigma_min >= sigma_max:
        raise ValueError(f"SMLD needs 0 < sigma_min < sigma_max, got {sigma_min} and {sigma_max}.")
    return DiscreteDiffusion.smld(geometric_sigmas(N, sigma_min, sigma_max))
