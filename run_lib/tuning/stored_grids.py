"""Optimised time grids, stored beside the checkpoint for which a pilot found them.

``--mode tune --config.tune.grid`` makes one for the configuration's sampler; ``sampling.grid=optimised`` uses
it, in every mode that samples from a checkpoint.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from run_lib.files import write_json
from run_lib.seeds import Use, stream_seed
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
    """

    predictor: str
    num_steps: int
    process: str
    first: float
    last: float

    @classmethod
    def of(cls, sampler: PCSampler) -> Purpose:
        times = sampler.times
        process = type(sampler.model.process).__name__
        return cls(repr(sampler.predictor), len(times), process, float(times[0]), float(times[-1]))

    def __str__(self) -> str:
        return f"{self.predictor} in {self.num_steps} steps from {self.first:g} to {self.last:g} of {self.process}"


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
    """

    purpose: Purpose
    times: tuple[float, ...]
    error: float
    before: float
    nfe: int
    samples: int
    seed: int


@dataclass(frozen=True)
class StoredGrids:
    """The grids of one checkpoint, in a file beside it."""

    path: Path

    def _read(self) -> list[StoredGrid]:
        if not self.path.is_file():
            return []
        try:
            entries = json.loads(self.path.read_text())["grids"]
            return [StoredGrid(**{**entry, "purpose": Purpose(**entry["purpose"])}) for entry in entries]
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f"{self.path} holds no time grids of ours ({error}); delete it and make them anew."
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


def with_stored_grid(plan: SamplingPlan, path: Path) -> SamplingPlan:
    """The plan with the times that are stored beside its checkpoint, where ``sampling.grid=optimised`` asks for them.

    Raises:
        ValueError: there are none for its sampler.
    """
    sampler = plan.sampler
    if not plan.stored_grid or isinstance(sampler, ODESampler):
        return plan
    found = StoredGrids(path).find(Purpose.of(sampler))
    times = torch.tensor(found.times, dtype=sampler.times.dtype, device=sampler.times.device)
    return replace(plan, sampler=replace(sampler, times=times))


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
    with torch.no_grad():
        found = optimise_grid(model, sampler.predictor, steps, (count, *plan.data.shape), noise)
    times = found.grid.times(process, steps)
    grid = StoredGrid(
        Purpose.of(sampler),
        tuple(times.tolist()),
        found.error,
        found.before,
        found.nfe,
        count,
        plan.seed,
    )
    StoredGrids(path).add(grid)
    return grid
