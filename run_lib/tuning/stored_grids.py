"""Optimised time grids, stored beside the checkpoint for which a pilot found them.

``--mode tune --config.tune.grid`` makes one for the configuration's sampler; ``sampling.grid=optimised`` uses
it, in every mode that samples from a checkpoint.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from run_lib.config.experiment import Experiment
from run_lib.files import write_json
from run_lib.seeds import Use, stream_seed
from samplers.ode import ODESampler
from samplers.pc import PCSampler
from samplers.pilot import optimise_grid
from sde_lib.base import GaussianProcess
from sde_lib.noise import Noise


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


def load_grid(e: Experiment, path: Path) -> None:
    """Put the stored times into the experiment's sampler, as weights are put into its network.

    Raises:
        ValueError: there are none for its settings.
    """
    if not e.stored_grid:
        return
    sampler: PCSampler = e.sampler  # type: ignore[assignment]
    found = StoredGrids(path).find(Purpose.of(sampler))
    sampler.times.copy_(torch.tensor(found.times, dtype=torch.float64))


def make_grid(e: Experiment, path: Path) -> StoredGrid:
    """Run the pilot on the experiment's model, whose weights are loaded, and store what it finds.

    Raises:
        ValueError: a sampler without steps to place, a stochastic predictor, or a process without noise levels.
    """
    sampler = e.sampler
    if isinstance(sampler, ODESampler):
        raise ValueError("tune.grid places the steps of a predictor: set sampling.method='pc'.")
    process = sampler.model.process
    if not isinstance(process, GaussianProcess):
        raise ValueError(
            f"tune.grid places steps by their noise level, and {type(process).__name__} has none: take a Gaussian "
            f"process."
        )
    count = e.tuning.pilot_samples
    noise = Noise(stream_seed(e.sampling_seed, Use.PILOT), range(count), e.device)
    model = sampler.model.given(**e.task.sampling_conditions(range(count), e.device))
    steps = len(sampler.times)
    with torch.no_grad():
        found = optimise_grid(model, sampler.predictor, steps, (count, *e.data.shape), noise)
    times = found.grid.times(process, steps)
    grid = StoredGrid(
        Purpose.of(sampler),
        tuple(times.tolist()),
        found.error,
        found.before,
        found.nfe,
        count,
        e.sampling_seed,
    )
    StoredGrids(path).add(grid)
    return grid
