"""Optimisation of a time grid for a model and a predictor, on a pilot batch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from samplers.base import GaussianModel, Predictor
from samplers.correctors.none import NoneCorrector
from samplers.pc import PCSampler
from samplers.predictors.adams import ExponentialAdams
from sde_lib.base import GaussianProcess
from sde_lib.finite import NotFiniteError, finite_rows
from sde_lib.grids import Cosine, Density, Grid, Karras, LogSNR
from sde_lib.noise import Noise


@dataclass(frozen=True)
class OptimisedGrid:
    """An optimised grid, its error on the pilot batch, and the cost of the search.

    Attributes:
        grid: to be stored: its ``log_density`` is a few numbers.
        error: root mean square of the pilot's results against the reference.
        before: the same of the best start.
        nfe: evaluations of the pilot batch.
    """

    grid: Density
    error: float
    before: float
    nfe: int


def optimise_grid(
    model: GaussianModel,
    predictor: Predictor[GaussianProcess],
    num_steps: int,
    shape: Sequence[int],
    noise: Noise,
    *,
    starts: Sequence[Grid[GaussianProcess]] = (LogSNR(), Cosine(), Karras()),
    levels: int = 6,
    trials: int = 120,
    reference_steps: int = 200,
) -> OptimisedGrid:
    """Place the steps where the pilot's own error is least (Watson et al. 2021; Sabour et al. 2024, in
    spirit).

    The pilot is a batch from the prior, solved once by a finely stepped method of order four. From the best of
    ``starts``, Nelder and Mead's search moves the logarithm of the density in log(sigma/alpha), at a few
    levels, so that ``predictor`` in ``num_steps`` evaluations comes nearest to those results, in root mean
    square. For deterministic predictors, whose results can be compared.

    The largest errors are those of samples that end in another mode: at few evaluations take a pilot large
    enough to hold some, to find a grid that spends its steps where modes part.

    Args:
        model, predictor, num_steps: what the grid is for.
        shape, noise: of the pilot, (B, ...): a few dozen samples.
        starts: grids with which to compare, and from the best of which to search.
        levels: at which the density is free, its first value aside.
        trials: runs of the pilot: the cost is about trials * num_steps + reference_steps evaluations.
        reference_steps: of the reference solution.

    Raises:
        ValueError: a stochastic predictor.
        NotFiniteError: the pilot's results are not finite.
    """
    import scipy.optimize

    if predictor.order is None:
        raise ValueError(
            "a grid is optimised for a deterministic predictor: results of others cannot be compared."
        )
    process = model.process
    before, x = model.nfe, process.prior_sampling(shape, noise)

    def solve(by: Predictor[GaussianProcess], grid: Grid[GaussianProcess], steps: int) -> Tensor:
        *_, last = PCSampler(model, by, NoneCorrector(), grid.times(process, steps)).iterate(x, noise)
        return last.x.double()

    reference = solve(ExponentialAdams(order=4, form="x0", corrected=True), LogSNR(), reference_steps)
    if lost := (~finite_rows(reference)).nonzero()[:, 0].tolist():
        raise NotFiniteError(
            f"samples {lost[:8]} of the pilot are not finite: look at the model's output.", lost
        )

    def grid_of(free: np.ndarray) -> Density:
        return Density((0.0, *free.tolist()))

    def error(free: np.ndarray) -> float:
        try:
            result = solve(predictor, grid_of(free), num_steps)
        except ValueError:  # two steps on one level of a chain: as bad as can be
            return float("inf")
        found = float((result - reference).square().mean().sqrt())
        return found if math.isfinite(found) else float("inf")

    # The density's constant is free: the first value stays.
    tried = [np.array(Density.like(grid, process, levels).log_density[1:]) for grid in starts]
    first = min(tried, key=error)
    simplex = np.concatenate([first[None], first + 0.7 * np.eye(len(first))])
    found = scipy.optimize.minimize(
        lambda free: np.log(error(free)),
        first,
        method="Nelder-Mead",
        options={"maxfev": trials, "initial_simplex": simplex},
    )
    return OptimisedGrid(grid_of(found.x), error(found.x), error(first), model.nfe - before)


__all__ = ["OptimisedGrid", "optimise_grid"]
