"""The numbers of a run, read from a configuration once and checked."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TypeVar

from ml_collections import ConfigDict

from run_lib.placement import PRECISIONS
from sde_lib.registry import unknown_name

S = TypeVar("S", bound="Settings")


class Settings:
    """A frozen dataclass whose fields are those of a section of the configuration."""

    @classmethod
    def of(cls: type[S], section: ConfigDict) -> S:
        return cls(**{f.name: section[f.name] for f in fields(cls)})  # type: ignore[arg-type]

    def require(self, section: str, at_least: dict[str, float]) -> None:
        """Refuse values below their least.

        Raises:
            ValueError: naming the field.
        """
        for name, least in at_least.items():
            value = getattr(self, name)
            if not value >= least:
                raise ValueError(f"config.{section}.{name} must be at least {least:g}, got {value!r}.")


@dataclass(frozen=True)
class TrainSettings(Settings):
    n_iters: int
    batch_size: int
    microbatch: int
    precision: str
    loss_scale: float
    loss_scale_growth: float
    log_freq: int
    eval_freq: int
    snapshot_freq: int
    snapshot_freq_for_preemption: int
    snapshot_sampling: bool
    max_nonfinite: int

    def __post_init__(self) -> None:
        counts = ("n_iters", "batch_size", "log_freq", "eval_freq", "snapshot_freq", "max_nonfinite")
        least: dict[str, float] = {"snapshot_freq_for_preemption": 1, "microbatch": 0, "loss_scale": 0}
        self.require("training", {**dict.fromkeys(counts, 1), **least})
        if self.precision not in PRECISIONS:
            raise ValueError(unknown_name("config.training.precision", self.precision, list(PRECISIONS)))
        if not 0 < self.loss_scale_growth <= 1:
            raise ValueError(
                f"config.training.loss_scale_growth lies in (0, 1], got {self.loss_scale_growth}."
            )


@dataclass(frozen=True)
class SampleSettings(Settings):
    num_samples: int
    batch_size: int
    seed: int | None
    grid_size: int

    def __post_init__(self) -> None:
        self.require("sampling", {"num_samples": 1, "batch_size": 1, "grid_size": 1})


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

    def __post_init__(self) -> None:
        self.require("tune", {"repeats": 2, "num_samples": 2, "processes": 1, "rows": 0, "pilot_samples": 1})
        if not 0 < self.confidence < 1:
            raise ValueError(f"config.tune.confidence lies between 0 and 1, got {self.confidence}.")


@dataclass(frozen=True)
class EvalSettings(Settings):
    batch_size: int
    bpd_dataset: str
    dataset: str | None
    checkpoints: tuple[int, ...]
    begin_ckpt: int
    end_ckpt: int

    def __post_init__(self) -> None:
        self.require("eval", {"batch_size": 1})
        if self.split not in ("train", "test"):
            spelling = "dataset" if self.dataset else "bpd_dataset"
            raise ValueError(f"config.eval.{spelling} is 'train' or 'test', got {self.split!r}.")

    @property
    def split(self) -> str:
        """The split that is evaluated; ``eval.dataset`` is another spelling."""
        return self.dataset or self.bpd_dataset
