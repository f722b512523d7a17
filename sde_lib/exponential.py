"""Exponential integrators: the linear part of a diffusion solved exactly, the model's part by quadrature.

In l = log(alpha/sigma) the reverse process with noise strength tau (tau = 0 the probability flow, tau = 1 the
reverse SDE) is semi-linear in each view f of a prediction (Lu et al. 2022b, eq. 8 and 12; Xue et al. 2023,
eq. 12), so that from l_t to l_s = l_t + h, with k = 1 + tau^2,

    x0:   x_s = sigma_s/sigma_t e^(-tau^2 h) x_t + int k alpha_s e^(-k (l_s - l)) x0(l) dl + n,
    eps:  x_s = alpha_s/alpha_t x_t - int k sigma_s e^(l_s - l) eps(l) dl + n,
    v:    x_s = r_s/r_t x_t - int r_s v(l) / (2 cosh(l + log d)) dl,   r^2 = (d alpha)^2 + sigma^2, tau = 0,

where v is of data divided by d, their standard deviation where they are a Gaussian (``Prediction.scaled_v``),
with n Gaussian of variance sigma_s^2 (1 - e^(-2 tau^2 h)) and sigma_s^2 tau^2 (e^(2 h) - 1). A method
replaces f by the polynomial through its values at some nodes, or by the multiquadrics through them; its coefficients
depend on levels alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from sde_lib.base import GaussianProcess, Marginal, expand

Form = Literal["x0", "eps", "v"]
"""The view of a prediction that is interpolated."""

Variable = Literal["log", "ratio"]
"""What the polynomial is in: log(alpha/sigma), or sigma/alpha."""

POINTS = 32
"""Quadrature points: rounding error up to steps of ten in log(alpha/sigma)."""


def check_form(form: str) -> None:
    """Refuse an unknown view.

    Raises:
        ValueError: naming those that there are.
    """
    if form not in get_args(Form):
        raise ValueError(f"a solver interpolates one of {', '.join(get_args(Form))}; got {form!r}.")


def log_ratio(level: Marginal) -> Tensor:
    """l = log(alpha/sigma), half the log-SNR."""
    return level.alpha.log() - level.sigma.log()


def stage_time(share: float, process: GaussianProcess, t: Tensor, s: Tensor) -> Tensor:
    """The time at a share of the way from t to s in log(alpha/sigma): a Runge-Kutta method's stage."""
    l_t, l_s = log_ratio(process.marginal(t)), log_ratio(process.marginal(s))
    return process.time_of((-(l_t + share * (l_s - l_t))).exp())


def stage_level(share: float, process: GaussianProcess, t: Tensor, s: Tensor) -> Marginal:
    """The level of that time, which on a chain is the nearest."""
    return process.marginal(stage_time(share, process, t, s))


@dataclass(frozen=True)
class Weights:
    """x_s = state x_t + sum_k values[k] f_k + std z; each shaped like the time, float64.

    ``std`` is None without noise.
    """

    state: Tensor
    values: tuple[Tensor, ...]
    std: Tensor | None

    def mean(self, x: Tensor, values: Sequence[Tensor]) -> Tensor:
        """The step without its noise."""
        x_s = expand(self.state, x) * x
        for weight, value in zip(self.values, values, strict=True):
            x_s = torch.addcmul(x_s, expand(weight, x), value)
        return x_s


def unit_rule(like: Tensor) -> tuple[Tensor, Tensor]:
    """Fejer's first rule on [0, 1]: points and weights, (POINTS,), made on the device of ``like``."""
    angle = (torch.arange(POINTS, dtype=torch.float64, device=like.device) + 0.5) * (math.pi / POINTS)
    j = torch.arange(1, POINTS // 2, dtype=torch.float64, device=like.device)
    waves = (torch.cos(2 * j[:, None] * angle) / (4 * j[:, None] ** 2 - 1)).sum(0)
    return (1 - torch.cos(angle)) / 2, (1 - 2 * waves) / POINTS


def lagrange(at: Tensor, nodes: Sequence[Tensor]) -> list[Tensor]:
    """The basis polynomials of the nodes at ``at``, which broadcasts against them.

    Of nodes that coincide, as levels of a chain may after rounding, the first counts: the degree falls.
    """
    basis = []
    for k, node in enumerate(nodes):
        value = torch.ones_like(at)
        for j, other in enumerate(nodes):
            if j != k:
                gap = node - other
                factor = (at - other) / torch.where(gap == 0, torch.ones_like(gap), gap)
                value = value * torch.where(gap == 0, torch.full_like(factor, float(k < j)), factor)
        basis.append(value)
    return basis


def multiquadric(at: Tensor, nodes: Sequence[Tensor], shape: float) -> list[Tensor]:
    """What ``lagrange`` is to polynomials, for f(l) = b + sum_k a_k sqrt(1 + ((l - l_k) / shape)^2), sum_k a_k = 0
    (Hardy 1971, with the constant of Micchelli 1986).

    Where nodes lie closer than ``shape`` this is nearly the polynomial (Driscoll & Fornberg 2002), whose order it has;
    where they lie further apart, lines between the nodes and a constant outside, which do not overshoot.

    Args:
        at: where, with one dimension more than the nodes, in front.
        nodes: of those that coincide the first counts.
        shape: in units of log(alpha/sigma).
    """
    centres = torch.stack(list(nodes), -1)
    gaps = centres[..., :, None] - centres[..., None, :]
    again = ((gaps == 0).tril(-1)).any(-1)
    used = torch.cat([~again, torch.ones_like(again[..., :1])], -1).to(at.dtype)
    matrix = torch.nn.functional.pad(_bowl(gaps / shape), (0, 1, 0, 1), value=1.0)
    matrix = matrix * used[..., :, None] * used[..., None, :]
    corner = torch.zeros_like(used)
    corner[..., -1] = 1
    # A node that is not used has a row of its own: its coefficient is zero.
    matrix = matrix + torch.diag_embed(1 - used) - torch.diag_embed(corner)
    seen = _bowl((at.movedim(0, -1)[..., None, :] - centres[..., :, None]) / shape)
    seen = torch.nn.functional.pad(seen, (0, 0, 0, 1), value=1.0) * used[..., :, None]
    return list(torch.linalg.solve(matrix, seen)[..., :-1, :].movedim(-1, 0).unbind(-1))


def _bowl(u: Tensor) -> Tensor:
    """sqrt(1 + u^2) - 1."""
    return u**2 / (torch.sqrt(1 + u**2) + 1)


def weights(
    form: Form,
    now: Marginal,
    then: Marginal,
    nodes: Sequence[Tensor],
    tau: float | Tensor = 0.0,
    variable: Variable = "log",
    data_std: float = 1.0,
    shape: float = math.inf,
) -> Weights:
    """A step from ``now`` to ``then`` with f the interpolant of its values at ``nodes``.

    Args:
        form: the view that is interpolated.
        now, then: the levels, of times (B,).
        nodes: log(alpha/sigma) of each value, (B,).
        tau: noise strength, of all or (B,) of each; zero for ``v``.
        variable: what the interpolant is in.
        data_std: d of the view ``v``.
        shape: of multiquadrics; infinite: polynomials.
    """
    l_t, l_s = log_ratio(now), log_ratio(then)
    h, k = l_s - l_t, 1 + tau**2
    points, shares = unit_rule(l_t)
    at = l_t + h * points.reshape(-1, *(1,) * l_t.ndim)
    if form == "x0":
        state = then.sigma / now.sigma * torch.exp(-(tau**2) * h)
        kernel = k * then.alpha * torch.exp(k * (at - l_s))
        variance = -torch.expm1(-2 * tau**2 * h)
    elif form == "eps":
        state = then.alpha / now.alpha
        kernel = -k * then.sigma * torch.exp(l_s - at)
        variance = tau**2 * torch.expm1(2 * h)
    else:
        radius = torch.hypot(data_std * then.alpha, then.sigma)
        state = radius / torch.hypot(data_std * now.alpha, now.sigma)
        kernel = -radius / (2 * torch.cosh(at + math.log(data_std)))
        variance = torch.zeros_like(h)
    kernel = kernel * h * shares.reshape(-1, *(1,) * l_t.ndim)
    if variable == "ratio":
        at, nodes = torch.exp(-at), [torch.exp(-node) for node in nodes]
    through = lagrange(at, nodes) if math.isinf(shape) else multiquadric(at, nodes, shape)
    values = tuple((kernel * basis).sum(0) for basis in through)
    still = not isinstance(tau, Tensor) and tau == 0
    return Weights(state, values, None if still else then.sigma * variance.sqrt())
