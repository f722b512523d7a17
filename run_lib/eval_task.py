"""One checkpoint under evaluation, and what its tasks share."""

from __future__ import annotations

import math
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from run_lib.build import Experiment
from run_lib.files import atomic
from run_lib.report import Number, Report
from run_lib.run import Run
from run_lib.sample import batches
from run_lib.state import TrainState


@dataclass(frozen=True)
class Task:
    """One checkpoint under evaluation.

    ``parts`` holds what each batch gave, so that an interrupted evaluation goes on where it stopped.
    """

    run: Run
    state: TrainState
    report: Report
    parts: Path

    @property
    def experiment(self) -> Experiment:
        return self.run.experiment

    def number(
        self,
        name: str,
        value: float,
        stderr: float | None,
        *,
        count: int,
        unit: str,
        nfe: float = 0,
        seconds: float = 0,
        note: str = "",
    ) -> Number:
        e = self.experiment
        return Number(
            name, value, stderr, count, unit, nfe, seconds, e.seed, e.config_hash, self.state.step, note
        )

    def batch(
        self, name: str, index: int, compute: Callable[[], dict[str, np.ndarray]]
    ) -> dict[str, np.ndarray]:
        """What a batch gave: read if it is there, else computed and written."""
        path = self.parts / f"{name}_{index:05d}.npz"
        if path.is_file():
            try:
                with path.open("rb") as written, np.load(written) as held:
                    return dict(held)
            except (ValueError, zipfile.BadZipFile, EOFError):
                path.unlink()
        started = time.perf_counter()
        arrays = compute()
        arrays["seconds"] = np.array(time.perf_counter() - started)
        with atomic(path) as partial, partial.open("wb") as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]
        return arrays

    def batches(
        self, name: str, total: int, size: int, compute: Callable[[range], dict[str, np.ndarray]]
    ) -> dict[str, np.ndarray]:
        """All batches of a task, joined; ``seconds`` is their sum."""
        bar = tqdm(list(batches(total, size)), desc=name, unit="batch")
        parts = [self.batch(name, i, lambda rows=rows: compute(rows)) for i, rows in enumerate(bar)]  # type: ignore[misc]
        joined = {key: np.concatenate([p[key] for p in parts]) for key in parts[0] if key != "seconds"}
        return {**joined, "seconds": np.sum([p["seconds"] for p in parts])}


def mean(values: np.ndarray) -> tuple[float, float]:
    return float(values.mean()), float(values.std(ddof=1) / math.sqrt(len(values))) if len(
        values
    ) > 1 else math.nan
