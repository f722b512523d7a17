"""The numbers of a run, read from a configuration once and checked."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TypeVar

from ml_collections import ConfigDict

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
    log_freq: int
    eval_freq: int
    snapshot_freq: int
    snapshot_freq_for_preemption: int
    snapshot_sampling: bool
    max_nonfinite: int

    def __post_init__(self) -> None:
        counts = ("n_iters", "batch_size", "log_freq", "eval_freq", "snapshot_freq", "max_nonfinite")
        self.require("training", {**dict.fromkeys(counts, 1), "snapshot_freq_for_preemption": 1})


@dataclass(frozen=True)
class OptimSettings(Settings):
    optimizer: str
    lr: float
    beta1: float
    beta2: float
    eps: float
    weight_decay: float
    warmup: int
    schedule: str
    grad_clip: float

    def __post_init__(self) -> None:
        self.require("optim", {"lr": 0, "weight_decay": 0, "warmup": 0})
        if self.schedule not in ("constant", "cosine"):
            raise ValueError(f"unknown config.optim.schedule {self.schedule!r}; known: constant, cosine.")
        if self.optimizer not in ("Adam", "AdamW"):
            raise ValueError(f"unknown config.optim.optimizer {self.optimizer!r}; known: Adam, AdamW.")


@dataclass(frozen=True)
class SampleSettings(Settings):
    num_samples: int
    batch_size: int
    grid_size: int
    trajectory: int

    def __post_init__(self) -> None:
        self.require("sampling", {"num_samples": 1, "batch_size": 1, "grid_size": 1, "trajectory": 0})


@dataclass(frozen=True)
class EvalSettings(Settings):
    enable_loss: bool
    enable_bpd: bool
    enable_sampling: bool
    batch_size: int
    num_samples: int
    bpd_dataset: str
    dataset: str | None
    bpd_divergence: str
    bpd_repeats: int
    bpd_num_images: int
    bpd_rtol: float
    bpd_atol: float
    bpd_probes: int
    bpd_solver: str
    bpd_truncation: str
    t_min: float | None
    checkpoints: tuple[int, ...]
    begin_ckpt: int
    end_ckpt: int

    def __post_init__(self) -> None:
        self.require("eval", {"batch_size": 1, "num_samples": 2, "bpd_repeats": 1, "bpd_probes": 1, "bpd_num_images": 0})
        if self.split not in ("train", "test"):
            raise ValueError(f"config.eval.bpd_dataset is 'train' or 'test', got {self.split!r}.")
        if self.bpd_divergence not in ("rademacher", "gaussian", "exact"):
            raise ValueError(
                f"config.eval.bpd_divergence is 'rademacher', 'gaussian' or 'exact', got {self.bpd_divergence!r}."
            )

    @property
    def split(self) -> str:
        """The split whose likelihood is asked for; ``eval.dataset`` is another spelling."""
        return self.dataset or self.bpd_dataset
