"""Embedded Runge-Kutta on the device, with error control for each sample on its own.

A sample's steps depend on nothing but itself: alone or in a batch it takes the same ones. Samples that
have arrived leave the batch, so the function is only ever evaluated where it is still needed.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import scipy.integrate
import torch
from torch import Tensor

from sde_lib.base import expand

VectorField = Callable[[Tensor, Tensor, Tensor], Tensor]
"""f(t, y, rows) -> dy/dt for the samples ``rows`` of the batch: t (b,), y (b, ...), rows (b,) int64."""


class Outcome(enum.IntEnum):
    """How the integration of a sample ended."""

    SUCCESS = 0
    NOT_FINITE = 1
    STEP_TOO_SMALL = 2
    TOO_MANY_STEPS = 3


@dataclass(frozen=True)
class Solution:
    """y at the final time, (B, ...), and for each sample its function evaluations and its outcome, (B,)."""

    y: Tensor
    nfe: Tensor
    outcome: Tensor


@dataclass(frozen=True)
class Tableau:
    """An explicit embedded pair whose last stage, at the new point, is the next step's first.

    Args:
        order: of the solution that is carried on.
        a, b, c: stages, weights and nodes.
        error: weights of the error estimates over all stages and the new point; DOP853 has a second
            row, and the two combine as in Hairer, Norsett & Wanner (1993), section II.10.
    """

    order: int
    a: np.ndarray
    b: np.ndarray
    c: np.ndarray
    error: np.ndarray


_RK45, _DOP853 = scipy.integrate.RK45, scipy.integrate.DOP853
TABLEAUS = {
    "dopri5": Tableau(5, _RK45.A, _RK45.B, _RK45.C, np.stack([_RK45.E])),
    "dop853": Tableau(8, _DOP853.A, _DOP853.B, _DOP853.C, np.stack([_DOP853.E5, _DOP853.E3])),
}


def _rms(y: Tensor) -> Tensor:
    return y.flatten(1).square().mean(1).sqrt().double()


def _combine(weights: np.ndarray, stages: list[Tensor]) -> Tensor:
    terms = [float(w) * k for w, k in zip(weights, stages, strict=True) if w]
    return torch.stack(terms).sum(0) if terms else torch.zeros_like(stages[0])


def _error(tableau: Tableau, stages: list[Tensor], h: Tensor, scale: Tensor) -> Tensor:
    """The estimated error in units of the tolerance, (b,)."""
    first, *more = [_rms(expand(h, scale) * _combine(e, stages) / scale) for e in tableau.error]
    total = torch.stack([first, *(0.1 * e for e in more)]).square().sum(0).sqrt()
    return torch.where(total > 0, first**2 / total, total)


def _first_step(f: VectorField, t: Tensor, y: Tensor, k: Tensor, rows: Tensor, span: Tensor, order: int,
                rtol: float, atol: float) -> Tensor:
    """A first step length (Hairer, Norsett & Wanner 1993, section II.4), signed like ``span``."""
    scale = atol + rtol * y.abs()
    d0, d1 = _rms(y / scale), _rms(k / scale)
    h0 = torch.where((d0 < 1e-5) | (d1 < 1e-5), torch.full_like(d0, 1e-6), 0.01 * d0 / d1)
    h0 = torch.minimum(h0, span.abs()) * span.sign()
    d2 = _rms((f(t + h0, y + expand(h0, y) * k, rows) - k) / scale) / h0.abs()
    largest = torch.maximum(d1, d2)
    h1 = torch.where(largest <= 1e-15, (h0.abs() * 1e-3).clamp(min=1e-6), (0.01 / largest) ** (1 / (order + 1)))
    return torch.minimum(torch.minimum(100 * h0.abs(), h1), span.abs()) * span.sign()


def integrate(
    f: VectorField,
    y0: Tensor,
    t0: float,
    t1: float,
    *,
    rtol: float = 1e-5,
    atol: float = 1e-5,
    method: str = "dopri5",
    max_steps: int = 10_000,
) -> Solution:
    """Solve dy/dt = f(t, y) from t0 to t1 with a step length for each sample.

    Dormand & Prince's order 5(4) or order 8(5,3) pair with a proportional-integral controller. The one
    synchronisation with the device a step asks whether any sample is still under way.

    Args:
        f: the vector field; it is called with the samples still under way and their rows.
        y0: (B, ...); the state is carried in its precision.
        rtol, atol: tolerance of the root mean square over a sample's elements.
        method: ``dopri5`` or ``dop853``.
        max_steps: attempts after which a sample is given up.

    Returns:
        The final states; a sample that failed holds the state it reached and says why.

    Raises:
        ValueError: an unknown method or tolerances that are not positive.
    """
    if method not in TABLEAUS:
        raise ValueError(f"unknown Runge-Kutta method {method!r}; known: {', '.join(TABLEAUS)} (or scipy's, see "
                         f"integrate_scipy).")
    if rtol <= 0 or atol <= 0:
        raise ValueError(f"rtol and atol must be positive, got {rtol} and {atol}.")
    tableau = TABLEAUS[method]
    batch, device = y0.shape[0], y0.device
    final, nfe = y0.clone(), torch.zeros(batch, dtype=torch.int64, device=device)
    outcome = torch.full((batch,), Outcome.TOO_MANY_STEPS, dtype=torch.int64, device=device)

    rows = torch.arange(batch, device=device)
    t = torch.full((batch,), t0, dtype=torch.float64, device=device)
    end = torch.full_like(t, t1)
    y, k = y0, f(t, y0, rows)
    h = _first_step(f, t, y, k, rows, end - t, tableau.order, rtol, atol)
    nfe += 2
    previous = torch.full_like(t, 1e-4)
    exponent = 1 / tableau.order

    for _ in range(max_steps):
        left = end - t
        last = h.abs() >= left.abs()
        h = torch.where(last, left, h)
        hx = expand(h, y)
        stages = [k]
        for a, c in zip(tableau.a[1:], tableau.c[1:], strict=True):
            stages.append(f(t + float(c) * h, y + hx * _combine(a[: len(stages)], stages), rows))
        y_new = y + hx * _combine(tableau.b, stages)
        t_new = torch.where(last, end, t + h)
        stages.append(f(t_new, y_new, rows))
        nfe[rows] += len(stages) - 1

        error = _error(tableau, stages, h, atol + rtol * torch.maximum(y.abs(), y_new.abs()))
        finite = error.isfinite()
        accepted = finite & (error <= 1)
        safe = error.clamp(min=1e-10)
        grow = 0.9 * safe ** (-0.7 * exponent) * previous ** (0.4 * exponent)
        factor = torch.where(accepted, grow.clamp(0.2, 10), (0.9 * safe**-exponent).clamp(0.1, 0.9))
        factor = torch.where(finite, factor, torch.full_like(factor, 0.1))

        y = torch.where(expand(accepted, y).bool(), y_new, y)
        k = torch.where(expand(accepted, k).bool(), stages[-1], k)
        t = torch.where(accepted, t_new, t)
        previous = torch.where(accepted, safe.clamp(min=1e-4), previous)
        h = h * factor

        arrived = accepted & last
        stuck = ~arrived & (h.abs() < 1e-14 * max(abs(t0), abs(t1)))
        reason = torch.where(finite, Outcome.STEP_TOO_SMALL, Outcome.NOT_FINITE)
        outcome[rows] = torch.where(arrived, Outcome.SUCCESS, torch.where(stuck, reason, outcome[rows]))
        final[rows] = y
        going = (~(arrived | stuck)).nonzero()[:, 0]
        if len(going) == 0:
            break
        if len(going) < len(rows):
            rows, t, end, h, previous = rows[going], t[going], end[going], h[going], previous[going]
            y, k = y[going], k[going]
    return Solution(final, nfe, outcome)


def integrate_scipy(
    f: VectorField,
    y0: Tensor,
    t0: float,
    t1: float,
    *,
    rtol: float = 1e-5,
    atol: float = 1e-5,
    method: str = "RK45",
) -> Solution:
    """The reference: scipy's ``solve_ivp`` on the whole batch as one system, through numpy in float64.

    Every sample takes the same steps, chosen by the error of all: results depend on the batch.
    """
    rows = torch.arange(y0.shape[0], device=y0.device)

    def flat(t: float, y: np.ndarray) -> np.ndarray:
        state = torch.as_tensor(y, dtype=y0.dtype, device=y0.device).reshape(y0.shape)
        times = torch.full((len(rows),), t, dtype=torch.float64, device=y0.device)
        return f(times, state, rows).detach().double().cpu().numpy().reshape(-1)

    solved = scipy.integrate.solve_ivp(
        flat, (t0, t1), y0.detach().double().cpu().numpy().reshape(-1), rtol=rtol, atol=atol, method=method
    )
    y = torch.as_tensor(solved.y[:, -1], dtype=y0.dtype, device=y0.device).reshape(y0.shape)
    status = Outcome.SUCCESS if solved.success else Outcome.STEP_TOO_SMALL
    return Solution(y, torch.full_like(rows, solved.nfev), torch.full_like(rows, int(status)))
