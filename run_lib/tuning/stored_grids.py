"""Optimised time grids, stored beside the checkpoint for which a pilot found them.

``--mode tune --config.tune.grid`` makes one for the configuration's sampler; ``sampling.grid=optimised`` uses
it, in every mode that samples from a checkpoint.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from run_lib.files import read_record, write_json
from run_lib.fingerprint import Basis, basis_of
from run_lib.output.progress import Progress
from run_lib.seeds import Use, stream_seed
from run_lib.training.state import Weights
from samplers.ode import ODESampler
from samplers.pc import PCSampler
from samplers.pilot import optimise_grid
from sde_lib.base import GaussianProcess
from sde_lib.noise import Noise

if TYPE_CHECKING:
    from run_lib.config.sampling import SamplingPlan


@dataclass(frozen=True)
class Purpose:
    """What a grid is made for: its times are the best for this predictor in this many steps and no other.

    Attributes:
        predictor: with its settings.
        num_steps: times of the grid.
        process: kind of process.
        first, last: its ends, the process's own times.
        average: rate of the weights' further average that the pilot took; None: the first average.
    """

    predictor: str
    num_steps: int
    process: str
    first: float
    last: float
    average: float | None = None

    @classmethod
    def of(cls, sampler: PCSampler, average: float | None = None) -> Purpose:
        times = sampler.times
        process = type(sampler.model.process).__name__
        return cls(repr(sampler.predictor), len(times), process, float(times[0]), float(times[-1]), average)

    def __str__(self) -> str:
        what = f"{self.predictor} in {self.num_steps} steps from {self.first:g} to {self.last:g} of {self.process}"
        return what if self.average is None else f"{what} with model.used_ema_rate={self.average:g}"


@dataclass(frozen=True)
class StoredGrid:
    """An entry of the file: plain data.

    Attributes:
        purpose: what it is for.
        times: falling.
        error, before: of the pilot with these times and with the search's start, root mean square.
        nfe: evaluations that the pilot took.
        samples: of the pilot.
        seed: of the run.
        made_from: hashes of what the pilot evaluated, by their names in words; empty: they were not recorded.
    """

    purpose: Purpose
    times: tuple[float, ...]
    error: float
    before: float
    nfe: int
    samples: int
    seed: int
    made_from: Mapping[str, str] = field(default_factory=dict)


def _grid_of(purpose: Mapping[str, Any], times: Iterable[float], **rest: Any) -> StoredGrid:
    """A grid of its entry in the file, where tuples are lists."""
    return StoredGrid(purpose=Purpose(**purpose), times=tuple(times), **rest)


@dataclass(frozen=True)
class StoredGrids:
    """The grids of one checkpoint, in a file beside it."""

    path: Path

    def _read(self) -> list[StoredGrid]:
        if not self.path.is_file():
            return []
        try:
            return read_record(self.path, lambda content: [_grid_of(**entry) for entry in content["grids"]])
        except ValueError as error:
            raise ValueError(
                f"{self.path} holds no time grids of ours: it {error}. Move it away, and make them anew."
            ) from error

    def find(self, purpose: Purpose) -> StoredGrid:
        """The grid for a purpose.

        Raises:
            ValueError: there is none; the message says which there are and how to make it.
        """
        held = self._read()
        for grid in held:
            if grid.purpose == purpose:
                return grid
        there = "; ".join(str(grid.purpose) for grid in held) or "none"
        raise ValueError(
            f"sampling.grid='optimised': {self.path} has no grid for {purpose} (there: {there}). Make it with the "
            f"same command and --mode tune --config.tune.grid, or take another grid."
        )

    def add(self, grid: StoredGrid) -> None:
        """Add a grid, in place of an earlier one for the same purpose."""
        kept = [held for held in self._read() if held.purpose != grid.purpose]
        write_json(self.path, {"grids": [asdict(g) for g in (*kept, grid)]})


PILOTED = ("weights", "components", "classifier")
"""What the times of a pilot depend on, of a ``Basis``."""


def piloted(plan: SamplingPlan) -> Basis:
    """What a pilot evaluates: the network, with the weights that it has now, what guides it, the user's components."""
    parts = basis_of(plan.subject, task=plan.task, guide=plan.guidance.guide).parts
    return Basis({name: parts[name] for name in PILOTED if name in parts})


def with_stored_grid(plan: SamplingPlan, path: Path, weights: Weights | None = None) -> SamplingPlan:
    """The plan with the times that are stored beside its checkpoint, where ``sampling.grid=optimised`` asks for them.

    Args:
        plan: what samples.
        path: of the stored grids.
        weights: that the times must have been found for; None: any.

    Raises:
        ValueError: there are none for its sampler, or they were found for other weights.
    """
    if not plan.stored_grid or isinstance(sampler := plan.sampler, ODESampler):
        return plan
    found = StoredGrids(path).find(Purpose.of(sampler, plan.subject.averages.used_ema_rate))
    if weights is not None:
        with weights.averaged():
            _check_basis(found, piloted(plan), path)
    times = torch.tensor(found.times, dtype=sampler.times.dtype, device=sampler.times.device)
    return replace(plan, sampler=replace(sampler, times=times))


def _check_basis(found: StoredGrid, now: Basis, path: Path) -> None:
    again = "make it anew with the same command and --mode tune --config.tune.grid"
    if not found.made_from:
        print(f"note: {path} does not say for which weights its times were found: {again}", file=sys.stderr)
    elif changed := now.changed(found.made_from):
        raise ValueError(
            f"sampling.grid='optimised': the times in {path} were found for other {' and '.join(changed)}: {again}, or "
            f"take another grid."
        )


def make_grid(plan: SamplingPlan, count: int, path: Path) -> StoredGrid:
    """Run the pilot of ``count`` samples on the plan's model, whose weights are loaded, and store what it finds.

    Raises:
        ValueError: a sampler without steps to place, a stochastic predictor, or a process without noise levels.
    """
    sampler = plan.sampler
    if isinstance(sampler, ODESampler):
        raise ValueError("tune.grid places the steps of a predictor: set sampling.method='pc'.")
    process = sampler.model.process
    if not isinstance(process, GaussianProcess):
        raise ValueError(
            f"tune.grid places steps by their noise level, and {type(process).__name__} has none: take a Gaussian "
            f"process."
        )
    noise = Noise(stream_seed(plan.seed, Use.PILOT), range(count), plan.device)
    model = sampler.model.given(**plan.task.sampling_conditions(range(count), plan.device))
    steps = len(sampler.times)
    bar = Progress("finding times", None, "pilot", tells=lambda: f"{model.nfe} evaluations")
    with torch.no_grad(), plan.arithmetic.used(), bar:
        found = optimise_grid(model, sampler.predictor, steps, (count, *plan.data.shape), noise)
    times = found.grid.times(process, steps)
    grid = StoredGrid(
        Purpose.of(sampler, plan.subject.averages.used_ema_rate),
        tuple(times.tolist()),
        found.error,
        found.before,
        found.nfe,
        count,
        plan.seed,
        piloted(plan).parts,
    )
    StoredGrids(path).add(grid)
    return grid
