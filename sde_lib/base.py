"""Forward processes: the abstract SDE, and everything that follows from a Gaussian marginal.

Times are float64 tensors of shape (B,) (or 0-d); a chain's times are integers. ``t`` is now, ``s`` is
where a step goes, and ``clean`` is the time of noise-free data: 0 for an SDE, index -1 for a chain.
Coefficients are computed in float64 and meet the state, in its own precision, in ``expand``.
"""

from __future__ import annotations

import abc
import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from sde_lib.noise import Noise
from sde_lib.rates import PathRates, Rates, path_rates_of, rates_of
from sde_lib.registry import Registry
from sde_lib.settings import check_settings
from sde_lib.timetable import Value, mapped, tabulated


def expand(v: Tensor, x: Tensor) -> Tensor:
    """``v`` of shape (B,) or () in the precision of ``x``, shaped to multiply ``x`` of any rank."""
    return v.to(x.dtype).reshape(v.shape + (1,) * (x.ndim - v.ndim))


def coefficients(x: Tensor, f: Callable[..., Value], *args: Any) -> Value:
    """``f(*args)``, each of its tensors ready to multiply ``x``, as ``expand`` makes it; computed once for a run.

    ``tabulated`` says what ``f`` and the arguments may be. A tensor of truth values remains one.
    """
    value: Value = tabulated(_ready, x.dtype, x.ndim, f, *args)
    return value


def _ready(dtype: torch.dtype, rank: int, f: Callable[..., Value], *args: Any) -> Value:
    def shaped(v: Tensor) -> Tensor:
        number = v if v.dtype == torch.bool else v.to(dtype)
        return number.reshape(v.shape + (1,) * (rank - v.ndim))

    value: Value = mapped(shaped, f(*args))
    return value


@dataclass(frozen=True)
class Marginal:
    """p(x_t | x_0) = N(alpha x_0, sigma^2 I); both shaped like the time, float64."""

    alpha: Tensor
    sigma: Tensor

    @property
    def log_snr(self) -> Tensor:
        """log(alpha^2 / sigma^2): +inf on clean data."""
        return 2 * (self.alpha.log() - self.sigma.log())


@dataclass(frozen=True)
class Transition:
    """p(x_t | x_s) = N(scale x_s, std^2 I) for s cleaner than t; both shaped like the time."""

    scale: Tensor
    std: Tensor


@dataclass(frozen=True)
class Posterior:
    """q(x_s | x_t, x_0) = N(mean, std^2 I); ``mean`` shaped like the state, ``std`` like the time."""

    mean: Tensor
    std: Tensor


@dataclass(frozen=True)
class PosteriorWeights:
    """The mean of q(x_s | x_t, x_0) = of_x_t x_t + of_x0 x_0; both shaped like the time."""

    of_x_t: Tensor
    of_x0: Tensor


@dataclass(frozen=True)
class LogVariances:
    """The range in which the variance of a reverse step t -> s lies, as logarithms shaped like the time.

    ``smallest`` is beta-tilde, the variance of q(x_s | x_t, x_0), exact where the data are a point;
    ``largest`` is beta, that of q(x_t | x_s), exact where they are a standard normal (Ho et al. 2020,
    section 3.2).
    """

    smallest: Tensor
    largest: Tensor


@dataclass(frozen=True)
class Coefficients:
    """dx = drift dt + diffusion dw; ``drift`` shaped like the state, ``diffusion`` like the time."""

    drift: Tensor
    diffusion: Tensor


@dataclass(frozen=True)
class Perturbed:
    """A noisy state x = mean + std eps. Training regresses on eps: the score's target is -eps / std."""

    x: Tensor
    eps: Tensor
    std: Tensor


class Process(abc.ABC):
    """A forward process: its times, its prior, and its discretisation in one step; what every sampler needs.

    Attributes:
        t_end: the smallest time at which samplers evaluate the score (score_sde's sampling ``eps``).
    """

    t_end: float

    def __post_init__(self) -> None:
        check_settings(self)

    @property
    def num_levels(self) -> int | None:
        """Of a chain, whose times are the indices of so many levels; None: time is continuous."""
        return None

    @property
    def device(self) -> torch.device:
        """Where its tables lie, on which its times must lie too. A process with tables says so.

        The CPU for a process without, which computes on the device of the times that it is given.
        """
        return torch.device("cpu")

    @property
    def learned(self) -> nn.Module | None:
        """What of it is trained with a network, and is then part of the network's weights; None: nothing."""
        return None

    def with_learned(self, learned: nn.Module) -> Process:
        """The same with what another process of the same settings has learned."""
        raise NotImplementedError(f"{type(self).__name__} learns nothing")

    @property
    @abc.abstractmethod
    def clean(self) -> float:
        """The time of clean data."""

    @property
    @abc.abstractmethod
    def start(self) -> float:
        """The time of the prior."""

    @property
    def signal_start(self) -> float:
        """Where methods start that divide by alpha: the prior's time, unless alpha is 0 there."""
        return self.start

    @property
    @abc.abstractmethod
    def trained(self) -> tuple[float, float]:
        """The first and the last time at which the score is trained."""

    @abc.abstractmethod
    def time(self, values: Tensor | Sequence[float]) -> Tensor:
        """The given times in the process's own type: float64, or indices (rounded).

        A tensor stays on its device, numbers go to that of the process.
        """

    @abc.abstractmethod
    def prior_sampling(self, shape: Sequence[int], noise: Noise) -> Tensor:
        """A draw from the prior of the given shape (B, ...)."""

    @abc.abstractmethod
    def discretize(self, x: Tensor, t: Tensor, s: Tensor) -> Coefficients:
        """The forward step s -> t as x_t = x_s + drift + diffusion z, its coefficients read at state ``x``."""

    @abc.abstractmethod
    def denoise(self, x: Tensor, t: Tensor, score: Tensor) -> Tensor:
        """The estimate of clean data that closes a sampling run."""

    @abc.abstractmethod
    def perturb(self, x0: Tensor, t: Tensor, noise: Noise) -> Perturbed:
        """Data noised to time ``t``, with the noise on which training regresses."""

    @abc.abstractmethod
    def level_ratio(self, t: Tensor) -> Tensor:
        """alpha_t^2 / alpha_{t-dt}^2 over one training level: the alpha in Langevin's step size."""


class SDE(Process):
    """dx = f(x, t) dt + g(t) dw on [0, T] (Song et al. 2021, eq. 5).

    The three abstract methods below are all that a new SDE must write: samplers that ask for an ``SDE``,
    denoising score matching and the ODE likelihood then work with it. Where p(x_t | x_0) is Gaussian,
    ``GaussianSDE`` gives more for less.

    Attributes:
        T: the time of the prior.
        t_min: the smallest time at which the score is trained and at which likelihoods are read.
        t_end: the smallest time at which samplers evaluate the score (score_sde's sampling ``eps``).
        N: levels of the reference discretisation; enters Langevin's step size, never a number of steps.
    """

    T: float = 1.0
    t_min: float = 1e-5
    t_end: float = 1e-3
    N: int = 1000

    @property
    def clean(self) -> float:
        return 0.0

    @property
    def start(self) -> float:
        return self.T

    @property
    def trained(self) -> tuple[float, float]:
        return self.t_min, self.T

    def time(self, values: Tensor | Sequence[float]) -> Tensor:
        device = values.device if isinstance(values, Tensor) else self.device
        return torch.as_tensor(values, dtype=torch.float64, device=device)

    @abc.abstractmethod
    def sde(self, x: Tensor, t: Tensor) -> Coefficients:
        """Drift f(x, t), shaped like ``x``, and diffusion g(t), shaped like ``t``."""

    @abc.abstractmethod
    def prior_sampling(self, shape: Sequence[int], noise: Noise) -> Tensor: ...

    @abc.abstractmethod
    def prior_logp(self, z: Tensor) -> Tensor:
        """log p_T(z) in nats, (B,)."""

    def discretize(self, x: Tensor, t: Tensor, s: Tensor) -> Coefficients:
        """Euler-Maruyama: drift (t - s) and diffusion sqrt(t - s)."""
        c = self.sde(x, t)
        dt = t - s
        return Coefficients(c.drift * expand(dt, x), c.diffusion * dt.sqrt())

    def denoise(self, x: Tensor, t: Tensor, score: Tensor) -> Tensor:
        """The mean of one reverse step to time 0."""
        c = self.discretize(x, t, torch.zeros_like(t))
        return x - c.drift + expand(c.diffusion**2, x) * score

    def level_ratio(self, t: Tensor) -> Tensor:
        """One: a general SDE does not scale its data."""
        return torch.ones_like(t)

    def perturb(self, x0: Tensor, t: Tensor, noise: Noise) -> Perturbed:
        """Simulate to ``t`` in 32 Euler-Maruyama steps; regress on the noise of the last one.

        Given x_t, the score of the last Gaussian transition has the score of x_t's density as its mean
        (Vincent 2011, for p(x_t | x_s) in place of p(x_t | x_0)), so the target is unbiased.
        """
        steps, x = 32, x0
        for k in range(steps):
            s, u = t * (k / steps), t * ((k + 1) / steps)
            c = self.sde(x, (s + u) / 2)
            eps, std = noise.normal(x.shape), c.diffusion * (u - s).sqrt()
            x = x + expand(u - s, x) * c.drift + expand(std, x) * eps
        return Perturbed(x, eps, std)


def _tabulated_marginal(marginal: Callable[[Any, Tensor], Marginal]) -> Callable[[Any, Tensor], Marginal]:
    @functools.wraps(marginal)
    def looked_up(self: Any, t: Tensor) -> Marginal:
        return tabulated(marginal, self, t)

    return looked_up


class GaussianProcess(Process):
    """A process with p(x_t | x_0) = N(alpha_t x_0, sigma_t^2 I) that is Markov, continuous or discrete.

    Subclasses give ``marginal``, with alpha = 1 and sigma = 0 at ``clean``; all else derives from it. It is
    ``tabulated``: at the times of a run it is computed once for all of them.
    """

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if "marginal" in vars(cls):
            cls.marginal = _tabulated_marginal(cls.marginal)  # type: ignore[method-assign, assignment]

    @property
    def prior_std(self) -> float:
        """Standard deviation of the Gaussian prior; one unless overridden."""
        return 1.0

    @abc.abstractmethod
    def marginal(self, t: Tensor) -> Marginal:
        """alpha_t and sigma_t in float64, shaped like ``t``."""

    @abc.abstractmethod
    def time_of(self, noise_to_signal: Tensor) -> Tensor:
        """The time at which sigma/alpha has the given value (the inverse of ``marginal``)."""

    def transition(self, t: Tensor, s: Tensor) -> Transition:
        """p(x_t | x_s): scale alpha_t/alpha_s, variance sigma_t^2 - scale^2 sigma_s^2."""
        at, as_ = self.marginal(t), self.marginal(s)
        scale = at.alpha / as_.alpha
        variance = at.sigma**2 - (scale * as_.sigma) ** 2
        return Transition(scale, variance.clamp(min=0).sqrt())

    def posterior_weights(self, t: Tensor, s: Tensor) -> PosteriorWeights:
        """What the mean of q(x_s | x_t, x_0) takes from each (Ho et al. 2020, eq. 7, between any two times)."""
        ms, mt, step = self.marginal(s), self.marginal(t), self.transition(t, s)
        return PosteriorWeights(
            step.scale * (ms.sigma / mt.sigma) ** 2, ms.alpha * (step.std / mt.sigma) ** 2
        )

    def posterior(self, x_t: Tensor, x0: Tensor, t: Tensor, s: Tensor) -> Posterior:
        """q(x_s | x_t, x_0) (Ho et al. 2020, eq. 6-7, between any two times)."""
        weights = self.posterior_weights(t, s)
        mean = expand(weights.of_x_t, x_t) * x_t + expand(weights.of_x0, x_t) * x0
        return Posterior(mean, self.posterior_std(t, s))

    def posterior_std(self, t: Tensor, s: Tensor) -> Tensor:
        """Standard deviation of q(x_s | x_t, x_0), shaped like the time; 0 where s is clean."""
        return self.transition(t, s).std * self.marginal(s).sigma / self.marginal(t).sigma

    def log_variances(self, t: Tensor, s: Tensor) -> LogVariances:
        """The range of a reverse step's variance; ``smallest`` is -inf where s is clean."""
        return LogVariances(2 * self.posterior_std(t, s).log(), 2 * self.transition(t, s).std.log())

    def discretize(self, x: Tensor, t: Tensor, s: Tensor) -> Coefficients:
        """The exact transition: (scale - 1) x and its standard deviation."""
        return Coefficients(coefficients(x, self._growth, t, s) * x, tabulated(self.transition, t, s).std)

    def _growth(self, t: Tensor, s: Tensor) -> Tensor:
        return self.transition(t, s).scale - 1

    def denoise(self, x: Tensor, t: Tensor, score: Tensor) -> Tensor:
        """Tweedie's formula: E[x_0 | x_t] = (x_t + sigma^2 score) / alpha."""
        m = self.marginal(t)
        return (x + expand(m.sigma**2, x) * score) / expand(m.alpha, x)

    def perturb(self, x0: Tensor, t: Tensor, noise: Noise) -> Perturbed:
        m, eps = self.marginal(t), noise.normal(x0.shape)
        return Perturbed(expand(m.alpha, x0) * x0 + expand(m.sigma, x0) * eps, eps, m.sigma)

    def prior_sampling(self, shape: Sequence[int], noise: Noise) -> Tensor:
        return self.prior_std * noise.normal(shape)

    def prior_logp(self, z: Tensor) -> Tensor:
        """log N(z; 0, prior_std^2 I) in nats, (B,), float64."""
        squares = (z.double() / self.prior_std).square().flatten(1)
        return -0.5 * squares.sum(1) - squares.shape[1] * (
            0.5 * math.log(2 * math.pi) + math.log(self.prior_std)
        )


class GaussianSDE(GaussianProcess, SDE):
    """A linear SDE. ``marginal`` is all that a new one must write; closed forms may override the rest."""

    def rates(self, t: Tensor) -> Rates:
        """(log alpha)' and g, g^2 = (sigma^2)' - 2 (log alpha)' sigma^2, by automatic differentiation; as ``t``."""
        return rates_of(self.marginal, t)

    def path_rates(self, t: Tensor) -> PathRates:
        """alpha' and sigma', of which the velocity of x_t = alpha x_0 + sigma eps is made; as ``rates``."""
        return path_rates_of(self.marginal, t)

    def sde(self, x: Tensor, t: Tensor) -> Coefficients:
        """f = growth x and g, from ``rates``."""
        rates = tabulated(self.rates, t)
        return Coefficients(expand(rates.growth, x) * x, rates.diffusion)

    def time_of(self, noise_to_signal: Tensor) -> Tensor:
        """By bisection in float64: sigma/alpha grows with time."""
        wanted = noise_to_signal.double().log()
        low, high = torch.zeros_like(wanted), torch.full_like(wanted, self.T)
        for _ in range(64):
            mid = (low + high) / 2
            too_noisy = -self.marginal(mid).log_snr / 2 > wanted
            low, high = torch.where(too_noisy, low, mid), torch.where(too_noisy, mid, high)
        return (low + high) / 2

    def level_ratio(self, t: Tensor) -> Tensor:
        dt = self.T / self.N
        return (self.marginal(t).alpha / self.marginal((t - dt).clamp(min=0)).alpha) ** 2


register_sde: Registry[Process] = Registry("SDE")
