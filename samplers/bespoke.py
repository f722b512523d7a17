"""Optimisation of a time grid together with the coefficients of a multistep method, for a model."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from samplers.base import GaussianModel, Memory
from samplers.correctors.none import NoneCorrector
from samplers.pc import PCSampler
from samplers.predictors.adams import ExponentialAdams
from samplers.predictors.bespoke import Bespoke
from sde_lib.base import GaussianProcess, Marginal
from sde_lib.exponential import log_ratio, weights
from sde_lib.grids import Cosine, Explicit, Grid, Karras, LogSNR, Quadratic, Uniform
from sde_lib.noise import Noise

STARTS: tuple[Grid[GaussianProcess], ...] = (Uniform(), Quadratic(), Karras(3.0), Cosine())
FLOOR = 1e-20
"""Added to squared errors, for the derivatives of their powers."""


@dataclass(frozen=True)
class BespokeSolver:
    """An optimised solver, its error on the pilot batch, and the cost of the search.

    Attributes:
        grid, predictor: to be stored and used together.
        error: root mean square of the pilot's results against the reference.
        before: the same of the best start.
        nfe: evaluations of the model, each of at most ``chunk`` samples.
    """

    grid: Explicit
    predictor: Bespoke
    error: float
    before: float
    nfe: int


@dataclass(frozen=True)
class _Shape:
    """How the free numbers make a solver: logarithms of the steps in log(sigma/alpha), then shares."""

    process: GaussianProcess
    num_steps: int
    memory: int

    def _lengths(self) -> list[int]:
        return [min(k + 1, self.memory) for k in range(self.num_steps - 1)]

    def times(self, free: Tensor) -> Tensor:
        ends = self.process.time([self.process.signal_start, self.process.t_end]).to(free.device)
        first, last = -log_ratio(self.process.marginal(ends))
        # No step vanishes: two times that fall together are no grid.
        least = 1e-4
        steps = (1 - least * (self.num_steps - 1)) * torch.softmax(free[: self.num_steps - 1], 0) + least
        inner = self.process.time_of((first + (last - first) * steps.cumsum(0)[:-1]).exp())
        return torch.cat([ends[:1], inner, ends[1:]])

    def shares(self, free: Tensor) -> list[list[Tensor]]:
        rows, at = [], self.num_steps - 1
        for length in self._lengths():
            older = list(free[at : at + length - 1])
            rows.append([1 - sum(older, free.new_zeros(())), *older])
            at += length - 1
        return rows

    def start(self, grid: Grid[GaussianProcess], order: int) -> np.ndarray:
        """The free numbers of DPM-Solver++ of this order on a grid."""
        level = self.process.marginal(grid.times(self.process, self.num_steps))
        nodes = log_ratio(level)
        free = [nodes.diff().log()]
        levels = [Marginal(a, s) for a, s in zip(level.alpha, level.sigma, strict=True)]
        for k, length in enumerate(self._lengths()):
            used = [nodes[k - j] for j in range(min(order, length))]
            values = torch.stack(weights("x0", levels[k], levels[k + 1], used).values)
            row = values.new_zeros(length)
            row[: len(values)] = values / values.sum()
            free.append(row[1:])
        return torch.cat(free).cpu().numpy()

    def resumed(self, solver: BespokeSolver) -> np.ndarray:
        """The free numbers of a solver; values beyond the memory are left out."""
        rows = solver.predictor.shares
        if len(rows) != self.num_steps - 1:
            raise ValueError(f"the solver to go on from has {len(rows) + 1} times, not {self.num_steps}.")
        nodes = log_ratio(self.process.marginal(solver.grid.times(self.process, self.num_steps)))
        older = [
            [*row, *[0.0] * self.memory][1:length] for row, length in zip(rows, self._lengths(), strict=True)
        ]
        return np.concatenate([nodes.diff().log().cpu().numpy(), *older])


def optimise_bespoke(
    model: GaussianModel,
    num_steps: int,
    shape: Sequence[int],
    noise: Noise,
    *,
    starts: Sequence[Grid[GaussianProcess]] = STARTS,
    memory: int = 4,
    power: float = 2.0,
    iterations: int = 150,
    finalists: int = 2,
    reference_steps: int = 200,
    chunk: int = 1024,
    onward: BespokeSolver | None = None,
) -> BespokeSolver:
    """Find the times and the shares of ``bespoke`` at which the pilot's own error is least (Shaul et al.
    2024, section 4; Watson et al. 2022).

    The pilot is a batch from the prior, solved once by a finely stepped method of order four. From
    DPM-Solver++ of orders 1 and 2 on each of ``starts``, L-BFGS lowers the mean error of a quarter of the
    pilot; the best few go on with all of it, and then to the error in the mean of ``power``. The derivatives
    are those of the run itself, through the model: it must be differentiable in its state, and each chunk's
    run is held in memory. Times must be real numbers: of a chain, the interpolated one.

    At few evaluations the largest errors are those of samples that end in another mode: take a pilot that
    holds dozens of them, or the solver is fitted to a few.

    Args:
        model, num_steps: what the solver is for.
        shape, noise: of the pilot, (B, ...): hundreds of samples, thousands for the largest errors' sake.
        starts: grids from which to search.
        memory: data predictions that a step weighs, at most.
        power: 2: root mean square over the samples; 1: their mean; near 0: as good as their median.
        iterations: of L-BFGS, in each stage.
        finalists: of the starts, how many go on.
        reference_steps: of the reference solution.
        chunk: samples in one run.
        onward: a solver found before, to search on from; ``starts`` are then left out.

    Raises:
        ValueError: a process whose times are indices, or an ``onward`` of another number of steps.
    """
    import scipy.optimize

    process = model.process
    if not process.time([process.start]).is_floating_point():
        raise ValueError(
            "a bespoke solver moves its times freely, and this chain's are indices: take its interpolated form."
        )
    layout = _Shape(process, num_steps, memory)
    evaluations, x = model.nfe, process.prior_sampling(shape, noise)
    fine = LogSNR().times(process, reference_steps)
    by = ExponentialAdams(order=4, form="x0", corrected=True)
    *_, last = PCSampler(model, by, NoneCorrector(), fine).iterate(x, noise)
    reference = last.x.double()

    def squared_errors(free: Tensor, rows: slice) -> Tensor:
        state, times = x[rows], layout.times(free)[:, None].expand(-1, len(x[rows]))
        steps, past = Bespoke(layout.shares(free)).plan(process, times[:, 0]), Memory()
        for step, (t, s) in zip(steps, itertools.pairwise(times), strict=True):
            advance = step.advance(model, state, t, s, noise, past)
            state, past = advance.step.x, advance.memory
        result = process.denoise(state, times[-1], model(state, times[-1]).score)
        return (result - reference[rows]).double().square().flatten(1).mean(1)

    def objective(values: np.ndarray, count: int, power: float) -> tuple[float, np.ndarray]:
        """The logarithm of the errors' mean, and its derivatives."""
        total, slope = 0.0, np.zeros_like(values)
        for begin in range(0, count, chunk):
            rows = slice(begin, min(begin + chunk, count))
            with torch.enable_grad():
                free = torch.tensor(values, device=x.device, requires_grad=True)
                part = (squared_errors(free, rows) + FLOOR).pow(power / 2).sum()
            slope += torch.autograd.grad(part, free)[0].cpu().numpy()
            total += float(part.detach())
        if not math.isfinite(total) or not np.isfinite(slope).all():
            return 1e3, np.zeros_like(values)
        return math.log(total / count) / power, slope / (power * total)

    def search(values: np.ndarray, count: int, power: float) -> np.ndarray:
        found = scipy.optimize.minimize(
            objective,
            values,
            args=(count, power),
            jac=True,
            method="L-BFGS-B",
            options={"maxiter": iterations, "maxfun": 2 * iterations, "maxcor": 30},
        )
        best: np.ndarray = found.x
        return best

    def error(values: np.ndarray, power: float = 2.0) -> float:
        return objective(values, len(x), power)[0]

    few = max(len(x) // 4, min(len(x), 64))
    if onward is not None:
        screened = [layout.resumed(onward)]
        before = error(screened[0])
    else:
        first = [layout.start(grid, order) for grid, order in itertools.product(starts, (1, 2))]
        before = min(error(values) for values in first)
        screened = [search(values, few, 1.0) for values in first]
        screened.sort(key=lambda values: error(values, power))
    final = [search(values, len(x), power) for values in screened[:finalists]]
    found = min(final, key=lambda values: error(values, power))
    best = torch.as_tensor(found, device=x.device)
    return BespokeSolver(
        Explicit(tuple(layout.times(best).tolist())),
        Bespoke(tuple(tuple(float(share) for share in row) for row in layout.shares(best))),
        math.exp(error(found)),
        math.exp(before),
        model.nfe - evaluations,
    )


__all__ = ["BespokeSolver", "optimise_bespoke"]
