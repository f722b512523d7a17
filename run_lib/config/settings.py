"""The numbers of a run, read from a configuration once; ``run_lib.config.fields`` has checked them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import TypeVar

from ml_collections import ConfigDict

S = TypeVar("S", bound="Settings")


class Settings:
    """A frozen dataclass whose fields are those of a section of the configuration."""

    @classmethod
    def of(cls: type[S], section: ConfigDict) -> S:
        return cls(**{f.name: section[f.name] for f in fields(cls)})  # type: ignore[arg-type]


@dataclass(frozen=True)
class TrainSettings(Settings):
    n_iters: int
    batch_size: int
    accumulate: int
    microbatch: int
    shard: bool
    log_freq: int
    eval_freq: int
    snapshot_freq: int
    snapshot_freq_for_preemption: int
    keep_last: int
    keep_best: bool
    ema_snapshot_freq: int
    max_nonfinite: int

    @property
    def samples_per_step(self) -> int:
        """Of all batches whose gradients one step of the optimiser takes together."""
        return self.batch_size * self.accumulate

    def saves(self, done: int) -> bool:
        """Whether a checkpoint follows the step by which so many are done."""
        return (
            done % self.snapshot_freq_for_preemption == 0
            or done % self.snapshot_freq == 0
            or done == self.n_iters
        )

    def evaluates(self, done: int) -> bool:
        """Whether the held-out loss follows it."""
        return done % self.eval_freq == 0 or done == self.n_iters or (self.keep_best and self.saves(done))

    def shows(self, done: int) -> bool:
        """Whether a picture of samples follows it."""
        return done % self.snapshot_freq == 0 or done == self.n_iters

    def stays(self, done: int) -> bool:
        """Whether its checkpoint is kept for ever."""
        return done % self.snapshot_freq == 0

    def microbatches(self) -> Iterator[range]:
        """The rows of a step, in parts that are evaluated at a time; none reaches from one batch into the next."""
        size = self.microbatch or self.batch_size
        for batch in range(0, self.samples_per_step, self.batch_size):
            for first in range(batch, batch + self.batch_size, size):
                yield range(first, min(first + size, batch + self.batch_size))


@dataclass(frozen=True)
class SampleSettings(Settings):
    num_samples: int
    batch_size: int
    seed: int | None
    grid_size: int
    png: bool
    png_by_class: bool


@dataclass(frozen=True)
class EmaSettings(Settings):
    std: float | tuple[float, ...]
    step: int
    snapshots: str

    @property
    def widths(self) -> tuple[float, ...]:
        """Each relative width once."""
        return tuple(dict.fromkeys(self.std if isinstance(self.std, tuple) else (self.std,)))


@dataclass(frozen=True)
class ConvertSettings(Settings):
    to: str
    path: str


@dataclass(frozen=True)
class TuneSettings(Settings):
    sweep: str
    repeats: int
    num_samples: int
    metric: str | None
    confidence: float
    processes: int
    folder: str
    rows: int
    grid: bool
    pilot_samples: int


@dataclass(frozen=True)
class EvalSettings(Settings):
    batch_size: int
    bpd_dataset: str
    dataset: str | None
    checkpoints: tuple[int, ...]
    begin_ckpt: int
    end_ckpt: int

    @property
    def split(self) -> str:
        """The split that is evaluated; ``eval.dataset`` is another spelling."""
        return self.dataset or self.bpd_dataset
