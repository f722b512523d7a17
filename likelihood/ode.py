"""Log-likelihoods by the probability-flow ODE."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from likelihood.divergence import Divergence, Hutchinson
from likelihood.flow import Coordinates, Moving, make_flow, velocity
from likelihood.frozen import frozen
from models.prediction.noise_model import Model
from sde_lib.base import GaussianProcess, Process
from sde_lib.integrate import Outcome, integrate, integrate_scipy, rms
from sde_lib.noise import Noise
from sde_lib.tableaus import TABLEAUS

Truncation = Literal["state", "noised"]
"""Which density is computed, because the flow starts at t_min > 0.

``state``: data are read as states at t_min, and the number is log p_{t_min}(x), a normalised density
(score_sde's convention, with its eps as t_min). ``noised``: data are noised to t_min and the number is a
sample of the lower bound log p(x_0) >= E[log p_{t_min}(x_t) + log p(x_0 | x_t) - log q(x_t | x_0)] with
p(x_0 | x_t) = N(x_t / alpha, (sigma / alpha)^2 I), whose last two terms are D log alpha.
"""


NOISED_NEEDS = GaussianProcess
"""What ``noised`` asks of the process: its marginal."""


@dataclass(frozen=True)
class Likelihood:
    """The log-likelihood of each sample by the probability flow.

    Attributes:
        logp: log-density in nats, (B,), float64; NaN for a sample that failed.
        z: its state at T, (B, ...); for a sample that failed, where it got to.
        nfe: evaluations of the network, (B,).
        stderr: standard error of ``logp`` over the probes, (B,), float64: zero with the exact trace, NaN
            with one probe, which cannot tell.
        outcome: how its integration ended, (B,): values of ``Outcome``.
    """

    logp: Tensor
    z: Tensor
    nfe: Tensor
    stderr: Tensor
    outcome: Tensor

    @property
    def failures(self) -> tuple[Failure, ...]:
        """The samples without a number, by their place in the batch."""
        rows = self.outcome.nonzero()[:, 0].tolist()
        return tuple(Failure(row, Outcome(int(self.outcome[row]))) for row in rows)


@dataclass(frozen=True)
class Failure:
    """A sample that could not be integrated, and why."""

    index: int
    outcome: Outcome


@torch.no_grad()
def log_likelihood(
    model: Model,
    x: Tensor,
    noise: Noise,
    *,
    divergence: Divergence | None = None,
    rtol: float = 1e-3,
    atol: float = 1e-3,
    method: str = "bosh3",
    t_min: float | None = None,
    coordinates: Coordinates = "auto",
    truncation: Truncation = "state",
    max_steps: int = 10_000,
    probes: Tensor | None = None,
    moving: Moving = velocity,
    **cond: Any,
) -> Likelihood:
    """log p(x) = log p_T(z) + the integral of the flow's divergence (Song et al. 2021, eq. 39).

    The state is carried in float64 and the network evaluated in the precision of ``x``; one evaluation gives
    drift and divergence. A sample's number depends on its own stream and nothing else.

    Args:
        model: predictions of any SDE; only ``sde`` and ``prior_logp`` are asked of it.
        x: data in the model's range, (B, ...).
        noise: the samples' streams, from which probes are drawn.
        divergence: how the trace is found; one Rademacher probe unless given.
        rtol, atol: tolerance of the root mean square error of the state (of unit scale), and of the
            log-density in nats per dimension. The defaults serve tables of networks: on digits the mean is
            then within 1e-3 bits/dim of the converged one (``benchmarks/likelihood.py``).
        method: ``bosh3``, ``dopri5`` or ``dop853``, each sample with its own steps; of lower order for looser
            tolerances. Or one of scipy's (``RK45``, ``DOP853``, ...), the reference: the whole batch as one system,
            so that numbers depend on it.
        t_min: where data are read; the process's own unless given.
        coordinates: of the integration; see ``likelihood.flow``.
        truncation: what the density means at t_min; see ``Truncation``.
        max_steps: attempts after which a sample is given up (not for scipy's methods).
        probes: (B, P, D) to use in place of drawn ones.
        moving: evaluates the flow.
        cond: the network's conditioning, each of leading size B.

    Raises:
        ValueError: a process that is not an SDE, t_min or options out of range, conditioning of another size.
    """
    process = model.process
    if truncation not in get_args(Truncation):
        raise ValueError(f"unknown truncation {truncation!r}; known: {', '.join(get_args(Truncation))}.")
    flow = make_flow(process, t_min, coordinates)
    for name, value in cond.items():
        if len(value) != len(x):
            raise ValueError(
                f"conditioning {name!r} has {len(value)} rows for {len(x)} samples; give one a sample."
            )
    divergence = Hutchinson() if divergence is None else divergence
    shape, size = x.shape[1:], x[0].numel()
    own = method in TABLEAUS
    unit = size if own else 1  # the reference carries nats, as score_sde does

    correction = 0.0
    if truncation == "noised":
        x, correction = _noise_to(process, x, flow.t_min, noise)
    if probes is None:
        probes = divergence.draw(x, noise)

    calls, before = itertools.count(), model.nfe

    def field(u: Tensor, state: Tensor, rows: Tensor) -> Tensor:
        next(calls)
        given = {name: value[rows] for name, value in cond.items()}

        y = state[:, :size].reshape(-1, *shape)
        v = moving(flow, model, given, u, y, x.dtype, divergence, probes[rows])
        return torch.cat([v.dy.flatten(1), v.divergence / unit], dim=1)

    def error_norm(e: Tensor) -> Tensor:
        # Each on its own, or the one number that matters would count as little as a pixel.
        return torch.maximum(rms(e[:, :size]), rms(e[:, size:]))

    start = x.double().flatten(1) / flow.scale(flow.start)
    start = torch.cat([start, start.new_zeros(len(x), divergence.num_estimates)], dim=1)
    with frozen(model):
        if own:
            solution = integrate(
                field,
                start,
                flow.start,
                flow.end,
                rtol=rtol,
                atol=atol,
                method=method,
                max_steps=max_steps,
                norm=error_norm,
            )
        else:
            solution = integrate_scipy(
                field, start, flow.start, flow.end, rtol=rtol, atol=atol, method=method
            )

    # A guided model may take two evaluations of the network for one of the flow, always or in an interval.
    each = (model.nfe - before) / max(next(calls), 1)
    z = (solution.y[:, :size] * flow.scale(flow.end)).reshape(x.shape)
    stretch = size * math.log(flow.scale(flow.end) / flow.scale(flow.start))
    estimates = (
        unit * solution.y[:, size:] + flow.process.prior_logp(z).double()[:, None] + stretch + correction
    )
    failed = solution.outcome != Outcome.SUCCESS
    return Likelihood(
        logp=estimates.mean(1).masked_fill(failed, math.nan),
        z=z.to(x.dtype),
        nfe=(solution.nfe * each).round().long(),
        stderr=_standard_error(estimates, divergence.exact).masked_fill(failed, math.nan),
        outcome=solution.outcome,
    )


def _standard_error(estimates: Tensor, exact: bool) -> Tensor:
    count = estimates.shape[1]
    if exact:
        return estimates.new_zeros(len(estimates))
    if count == 1:
        return estimates.new_full((len(estimates),), math.nan)
    return estimates.std(1) / math.sqrt(count)


def _noise_to(process: Process, x: Tensor, t_min: float, noise: Noise) -> tuple[Tensor, float]:
    """States at t_min and the bound's D log alpha."""
    if not isinstance(process, NOISED_NEEDS):
        raise ValueError(
            "truncation='noised' needs a process with a Gaussian marginal; use truncation='state'."
        )
    t = torch.full((len(x),), t_min, dtype=torch.float64, device=x.device)
    alpha = float(process.marginal(t[:1]).alpha)
    return process.perturb(x, t, noise).x, x[0].numel() * math.log(alpha)
