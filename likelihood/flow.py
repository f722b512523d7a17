"""The probability flow as an ODE in coordinates: in time, or on the quarter circle from data to noise."""

from __future__ import annotations

import abc
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol, get_args

import torch
from torch import Tensor

from likelihood.divergence import Divergence
from models.prediction.noise_model import Model
from sde_lib.base import SDE, GaussianSDE, expand
from sde_lib.needs import serves

REFERENCE_STD = 0.5
"""About that of data in [-1, 1]; a wrong value costs variance (of Gaussian probes), never bias."""

NEAR_NOISE = 1e5
"""sigma/alpha where a flow ends whose prior has no signal: the density there is the prior's to 1e-5 of a deviation."""

Score = Callable[[Tensor, Tensor], Tensor]
"""score(x, t) in the network's precision: x (b, ...), t (b,)."""

Coordinates = Literal["auto", "angle", "time"]
"""``auto`` is ``angle`` for a process with a Gaussian marginal and ``time`` for any other."""


@dataclass(frozen=True)
class Velocity:
    """dy/du, (b, ...), and K estimates of its divergence with respect to y, (b, K); float64."""

    dy: Tensor
    divergence: Tensor


class Flow(abc.ABC):
    """dy/du for y = x / scale(u), with u from ``start`` (data) to ``end`` (the prior).

    Attributes:
        needs: the capability that it asks of the process.
        t_min: the time at which data are read.
    """

    needs = SDE
    process: SDE
    t_min: float
    start: float
    end: float

    @abc.abstractmethod
    def scale(self, u: float) -> float:
        """x / y at ``u``."""

    @abc.abstractmethod
    def velocity(
        self, score: Score, u: Tensor, y: Tensor, dtype: torch.dtype, divergence: Divergence, probes: Tensor
    ) -> Velocity:
        """At coordinates ``u`` (b,) and states ``y`` (b, ...): one evaluation of the score, in ``dtype``."""


class TimeFlow(Flow):
    """dx/dt = f - g^2 score / 2 for any SDE (Song et al. 2021, eq. 13).

    The divergence of the whole drift is estimated.

    Args:
        process: the SDE.
        t_min: where data are read.
    """

    def __init__(self, process: SDE, t_min: float) -> None:
        self.process, self.t_min = process, t_min
        self.start, self.end = t_min, _noisiest(process)

    def scale(self, u: float) -> float:
        return 1.0

    def velocity(
        self, score: Score, u: Tensor, y: Tensor, dtype: torch.dtype, divergence: Divergence, probes: Tensor
    ) -> Velocity:
        def drift(x: Tensor) -> Tensor:
            c = self.process.sde(x, u)
            return c.drift - 0.5 * expand(c.diffusion**2, x) * score(x, u)

        flow = divergence(drift, y.to(dtype), probes)
        return Velocity(flow.value.double(), flow.trace)


class AngleFlow(Flow):
    """y = x / r on the angle phi = atan(sigma / alpha), with r^2 = alpha^2 + sigma^2.

    There y = cos(phi) x0 + sin(phi) eps and dy/dphi = cos(phi) eps - sin(phi) x0, the velocity of
    Salimans & Ho (2022, appendix D) for any Gaussian marginal: of unit scale at both ends, so that few steps
    suffice where time has a stiff start. In terms of the score

        dy/dphi = -tan(phi) (r score(x) + y),    divergence = -tan(phi) (r^2 tr(d score/dx) + D):

    the linear part is exact and only the score's divergence is estimated, with that of Gaussian data of
    standard deviation ``REFERENCE_STD`` as control variate.

    Args:
        process: an SDE with a Gaussian marginal.
        t_min: where data are read.
    """

    needs = GaussianSDE
    process: GaussianSDE

    def __init__(self, process: GaussianSDE, t_min: float) -> None:
        self.process, self.t_min = process, t_min
        self._times = (t_min, _noisiest(process))
        self.start, self.end = (self._angle(t) for t in self._times)

    def _angle(self, t: float) -> float:
        m = self.process.marginal(self.process.time([t]))
        return math.atan2(float(m.sigma), float(m.alpha))

    def scale(self, u: float) -> float:
        t = self._times[0] if u == self.start else self._times[1]
        m = self.process.marginal(self.process.time([t]))
        return math.hypot(float(m.alpha), float(m.sigma))

    def velocity(
        self, score: Score, u: Tensor, y: Tensor, dtype: torch.dtype, divergence: Divergence, probes: Tensor
    ) -> Velocity:
        tangent = u.tan()
        t = self.process.time_of(tangent).clamp(*self._times)
        m = self.process.marginal(t)
        r = (m.alpha**2 + m.sigma**2).sqrt()
        slope = -1 / ((m.alpha * REFERENCE_STD) ** 2 + m.sigma**2)
        at_x = divergence(lambda x: score(x, t), (expand(r, y) * y).to(dtype), probes, slope)
        dy = -expand(tangent, y) * (expand(r, y) * at_x.value.double() + y)
        return Velocity(dy, -tangent[:, None] * (r[:, None] ** 2 * at_x.trace + y[0].numel()))


def _noisiest(process: SDE) -> float:
    """The time at which a flow ends: the prior's, or just below it where alpha is 0 there."""
    if process.signal_start == process.start or not serves(process, AngleFlow):
        return process.T
    gaussian: GaussianSDE = process  # type: ignore[assignment]
    return float(gaussian.time_of(torch.tensor(NEAR_NOISE, dtype=torch.float64)))


def make_flow(process: SDE, t_min: float | None, coordinates: Coordinates) -> Flow:
    """The probability flow of ``process`` in the given coordinates; ``auto`` is the angle where there is one.

    Raises:
        ValueError: unknown coordinates, a process without what they need, t_min out of range.
    """
    if coordinates not in get_args(Coordinates):
        raise ValueError(f"unknown coordinates {coordinates!r}; known: {', '.join(get_args(Coordinates))}.")
    name = type(process).__name__
    if not serves(process, TimeFlow):
        raise ValueError(
            f"the ODE likelihood needs an SDE, and {name} is none; for a chain use its variational bound "
            "(eval.bpd_method=vlb) or its SDE."
        )
    t_min = process.t_min if t_min is None else t_min
    if not process.clean < t_min < process.start:
        raise ValueError(f"t_min must lie between {process.clean:g} and T={process.start:g}, got {t_min}.")
    angle = serves(process, AngleFlow)
    if coordinates == "angle" and not angle:
        raise ValueError(
            f"the angle needs a GaussianSDE, for its marginal, and {name} is none; use coordinates='time'."
        )
    kind: Callable[[Any, float], Flow] = AngleFlow if angle and coordinates != "time" else TimeFlow
    return kind(process, t_min)


def velocity(
    flow: Flow,
    model: Model,
    cond: dict[str, Tensor],
    u: Tensor,
    y: Tensor,
    dtype: torch.dtype,
    divergence: Divergence,
    probes: Tensor,
    /,
) -> Velocity:
    """The velocity of a model's flow.

    Args:
        flow: of the model's process.
        model: its score is evaluated once.
        cond: its conditioning, each of leading size b.
        u, y, dtype, divergence, probes: as for ``Flow.velocity``.
    """

    def score(x: Tensor, t: Tensor) -> Tensor:
        return model(x, t, **cond).score

    return flow.velocity(score, u, y, dtype, divergence, probes)


class Moving(Protocol):
    """Gives the velocity of a model's flow, as it is or compiled; arguments as for ``velocity``."""

    def __call__(
        self,
        flow: Flow,
        model: Model,
        cond: dict[str, Tensor],
        u: Tensor,
        y: Tensor,
        dtype: torch.dtype,
        divergence: Divergence,
        probes: Tensor,
        /,
    ) -> Velocity: ...
