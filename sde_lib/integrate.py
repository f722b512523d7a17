"""Embedded Runge-Kutta methods on the device, with an adaptive step size for each sample.

The steps of a sample do not depend on the other samples of its batch. Samples that have reached the final time leave
the batch, once they are an eighth of it.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sde_lib.base import expand
from sde_lib.tableaus import TABLEAUS, Tableau

VectorField = Callable[[Tensor, Tensor, Tensor], Tensor]
"""f(t, y, rows) -> dy/dt for the samples ``rows`` of the batch: t (b,), y (b, ...), rows (b,) int64."""

Norm = Callable[[Tensor], Tensor]
"""The size of each sample's error: (b, ...) in units of the tolerance -> (b,)."""

LEAVING = 0.125
"""The share of a batch that must have reached the final time before it leaves the batch.

The libraries that run a network prepare for every new batch size and keep memory for it (on a CPU half an evaluation's
time and a megabyte for the U-Net of ``benchmarks/likelihood.py``), so that a new size at each arrival would be costly.
"""


class Outcome(enum.IntEnum):
    """How the integration of a sample ended."""

    SUCCESS = 0
    NOT_FINITE = 1
    STEP_TOO_SMALL = 2
    TOO_MANY_STEPS = 3

    @property
    def reason(self) -> str:
        """What happened and what to do, for a report."""
        return _REASONS[self]


_REASONS = {
    Outcome.SUCCESS: "solved to the tolerance",
    Outcome.NOT_FINITE: "a value became NaN or infinite: check the data and the model's output there",
    Outcome.STEP_TOO_SMALL: "the tolerance is too tight for this precision: loosen rtol and atol",
    Outcome.TOO_MANY_STEPS: "too many steps were needed: loosen rtol and atol or raise max_steps",
}


@dataclass(frozen=True)
class Solution:
    """y at the final time, (B, ...), and for each sample its function evaluations and its outcome, (B,)."""

    y: Tensor
    nfe: Tensor
    outcome: Tensor


def rms(y: Tensor) -> Tensor:
    """Root mean square over a sample's elements, (b,), float64."""
    return y.flatten(1).double().square().mean(1).sqrt()


def _combine(weights: np.ndarray, stages: list[Tensor]) -> Tensor:
    """sum_i w_i k_i, element by element, so that it cannot depend on the size of the batch."""
    total = torch.zeros_like(stages[0])
    for w, k in zip(weights, stages, strict=True):
        if w:
            total.add_(k, alpha=float(w))
    return total


def _error(tableau: Tableau, stages: list[Tensor], h: Tensor, scale: Tensor, norm: Norm) -> Tensor:
    """The estimated error in units of the tolerance, (b,)."""
    first, *more = [norm(expand(h, scale) * _combine(e, stages) / scale) for e in tableau.error]
    if not more:
        return first
    total = torch.stack([first, *(0.1 * e for e in more)]).square().sum(0).sqrt()
    return torch.where(total > 0, first**2 / total, total)


@dataclass(frozen=True)
class _Tolerance:
    rtol: float
    atol: float
    norm: Norm

    def scale(self, *states: Tensor) -> Tensor:
        return self.atol + self.rtol * torch.stack([y.abs() for y in states]).amax(0)


def _first_step(
    f: VectorField,
    t: Tensor,
    y: Tensor,
    k: Tensor,
    rows: Tensor,
    span: Tensor,
    order: int,
    tolerance: _Tolerance,
) -> Tensor:
    """A first step length (Hairer, Norsett & Wanner 1993, section II.4), signed like ``span``."""
    scale, norm = tolerance.scale(y), tolerance.norm
    d0, d1 = norm(y / scale), norm(k / scale)
    h0 = torch.where((d0 < 1e-5) | (d1 < 1e-5), torch.full_like(d0, 1e-6), 0.01 * d0 / d1)
    h0 = torch.minimum(h0, span.abs()) * span.sign()
    d2 = norm((f(t + h0, y + expand(h0, y) * k, rows) - k) / scale) / h0.abs()
    largest = torch.maximum(d1, d2)
    h1 = torch.where(largest <= 1e-15, (h0.abs() * 1e-3).clamp(min=1e-6), (0.01 / largest) ** (1 / order))
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
    norm: Norm = rms,
) -> Solution:
    """Solve dy/dt = f(t, y) from t0 to t1 with a step length for each sample.

    Dormand & Prince's order 5(4) or order 8(5,3) pair, or Bogacki & Shampine's of order 3(2), with a
    proportional-integral controller. Each step synchronises with the device once, to find which samples have not
    reached the final time.

    Args:
        f: the vector field; it is called with the samples that have not reached the final time, and their rows.
        y0: (B, ...); the state is carried in its precision.
        rtol, atol: tolerance of the ``norm`` of a sample's error.
        method: ``dopri5``, ``dop853`` or ``bosh3``.
        max_steps: number of steps, rejected ones included, after which a sample has failed.
        norm: norm of an error in units of the tolerance; the root mean square unless given.

    Returns:
        The final states; a sample that failed holds the state it reached and says why.

    Raises:
        ValueError: an unknown method or tolerances that are not positive.
    """
    if method not in TABLEAUS:
        raise ValueError(
            f"unknown Runge-Kutta method {method!r}; known: {', '.join(TABLEAUS)} (scipy's: integrate_scipy)."
        )
    if rtol <= 0 or atol <= 0:
        raise ValueError(f"rtol and atol must be positive, got {rtol} and {atol}.")
    tableau, tolerance = TABLEAUS[method], _Tolerance(rtol, atol, norm)
    batch, device = y0.shape[0], y0.device
    final, nfe = y0.clone(), torch.zeros(batch, dtype=torch.int64, device=device)
    outcome = torch.full((batch,), Outcome.TOO_MANY_STEPS, dtype=torch.int64, device=device)
    if batch == 0:
        return Solution(final, nfe, outcome)

    rows = torch.arange(batch, device=device)
    t = torch.full((batch,), t0, dtype=torch.float64, device=device)
    end = torch.full_like(t, t1)
    y, k = y0, f(t, y0, rows)
    h = _first_step(f, t, y, k, rows, end - t, tableau.order, tolerance)
    nfe += 2
    # A start that is not finite would never end: every later step length would be NaN too.
    lost = ~h.isfinite()
    previous = torch.full_like(t, 1e-4)
    exponent, beta = 1 / tableau.order, tableau.memory
    retried = torch.zeros_like(lost)
    smallest = 1e-14 * max(abs(t0), abs(t1))

    outcome[lost] = Outcome.NOT_FINITE
    under_way = ~lost

    for _ in range(max_steps):
        going = under_way.nonzero()[:, 0]
        if len(going) == 0:
            break
        if len(going) <= (1 - LEAVING) * len(rows):
            rows, t, end, h, y, k = rows[going], t[going], end[going], h[going], y[going], k[going]
            previous, retried, under_way = previous[going], retried[going], under_way[going]
        # What has arrived, or failed, and has not yet left stays where it is.
        h = torch.where(under_way, h, torch.zeros_like(h))
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
        nfe[rows] += (len(stages) - 1) * under_way

        error = _error(tableau, stages, h, tolerance.scale(y, y_new), norm)
        finite = error.isfinite()
        accepted = finite & (error <= 1) & under_way
        safe = error.clamp(min=1e-10)
        grow = 0.9 * safe ** (0.75 * beta - exponent) * previous**beta
        # A length that has just been refused is not at once tried again.
        grow = torch.where(retried, grow.clamp(0.2, 1), grow.clamp(0.2, 10))
        factor = torch.where(accepted, grow, (0.9 * safe**-exponent).clamp(0.1, 0.9))
        factor = torch.where(finite, factor, torch.full_like(factor, 0.1))

        y = torch.where(expand(accepted, y).bool(), y_new, y)
        k = torch.where(expand(accepted, k).bool(), stages[-1], k)
        t = torch.where(accepted, t_new, t)
        previous = torch.where(accepted, safe.clamp(min=1e-4), previous)
        h, retried = h * factor, ~accepted

        arrived = accepted & last
        stuck = under_way & ~arrived & (h.abs() < smallest)
        reason = torch.where(finite, Outcome.STEP_TOO_SMALL, Outcome.NOT_FINITE)
        outcome[rows] = torch.where(arrived, Outcome.SUCCESS, torch.where(stuck, reason, outcome[rows]))
        final[rows] = y
        under_way = under_way & ~(arrived | stuck)
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
    import scipy.integrate

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
