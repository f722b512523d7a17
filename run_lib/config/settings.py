"""The numbers of a run, read from a configuration once and checked."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal, TypeVar, get_args

from ml_collections import ConfigDict

from likelihood.ode import Truncation
from models.prediction.reverse import check_variance
from run_lib.placement import PRECISIONS
from sde_lib.integrate import TABLEAUS
from sde_lib.registry import unknown_name

SCIPY_METHODS = ("RK23", "RK45", "DOP853", "Radau", "BDF", "LSODA")
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
    enable_loss: bool
    enable_bpd: bool
    enable_sampling: bool
    enable_accuracy: bool
    enable_restoration: bool
    accuracy_levels: int
    batch_size: int
    num_samples: int
    bpd_method: str
    bpd_variance: str
    bpd_respacing: str | None
    bpd_dataset: str
    dataset: str | None
    bpd_levels: int
    bpd_bound_of: str
    bpd_divergence: Literal["rademacher", "gaussian", "hutch++", "exact"]
    bpd_rank: int
    bpd_repeats: int
    bpd_importance_weighted: bool
    bpd_quick: bool
    bpd_target: float
    bpd_latents: bool
    bpd_dequantisation: str
    dequantisation_steps: int
    dequantisation_batch_size: int
    dequantisation_lr: float
    dequantisation_width: int
    bpd_max_steps: int
    bpd_num_images: int
    bpd_rtol: float
    bpd_atol: float
    bpd_probes: int
    bpd_solver: str
    bpd_truncation: Literal["state", "noised"]
    t_min: float | None
    checkpoints: tuple[int, ...]
    begin_ckpt: int
    end_ckpt: int

    def __post_init__(self) -> None:
        self.require(
            "eval",
            {"batch_size": 1, "num_samples": 2, "bpd_repeats": 1, "bpd_probes": 1, "bpd_num_images": 0},
        )
        if self.split not in ("train", "test"):
            spelling = "dataset" if self.dataset else "bpd_dataset"
            raise ValueError(f"config.eval.{spelling} is 'train' or 'test', got {self.split!r}.")
        if not (self.bpd_rtol > 0 and self.bpd_atol > 0):
            raise ValueError(
                f"config.eval.bpd_rtol and bpd_atol must be positive, got {self.bpd_rtol} and {self.bpd_atol}."
            )
        if self.bpd_solver not in (*TABLEAUS, *SCIPY_METHODS):
            raise ValueError(
                f"unknown config.eval.bpd_solver {self.bpd_solver!r}; known: {', '.join(TABLEAUS)}; and of "
                f"scipy, as references: {', '.join(SCIPY_METHODS)}."
            )
        if self.bpd_method not in ("ode", "vlb", "both"):
            raise ValueError(unknown_name("config.eval.bpd_method", self.bpd_method, ["ode", "vlb", "both"]))
        check_variance(self.bpd_variance)
        self.require("eval", {"accuracy_levels": 1})
        if self.bpd_truncation not in get_args(Truncation):
            raise ValueError(
                f"unknown config.eval.bpd_truncation {self.bpd_truncation!r}; known: "
                f"{', '.join(get_args(Truncation))}."
            )
        if self.bpd_divergence not in ("rademacher", "gaussian", "hutch++", "exact"):
            raise ValueError(
                f"config.eval.bpd_divergence is 'rademacher', 'gaussian', 'hutch++' or 'exact', got "
                f"{self.bpd_divergence!r}."
            )
        self._check_dequantisation()
        if not self.bpd_target > 0:
            raise ValueError(f"config.eval.bpd_target must be positive, got {self.bpd_target}.")

    def _check_dequantisation(self) -> None:
        least: dict[str, float] = {
            "bpd_levels": 2,
            "bpd_max_steps": 1,
            "bpd_rank": 1,
            "dequantisation_steps": 1,
        }
        self.require("eval", {**least, "dequantisation_batch_size": 1, "dequantisation_width": 1})
        if self.bpd_dequantisation not in ("uniform", "variational"):
            raise ValueError(
                unknown_name(
                    "config.eval.bpd_dequantisation", self.bpd_dequantisation, ["uniform", "variational"]
                )
            )
        if self.bpd_bound_of not in ("levels", "density"):
            raise ValueError(
                unknown_name("config.eval.bpd_bound_of", self.bpd_bound_of, ["levels", "density"])
            )
        if self.bpd_importance_weighted and (self.bpd_divergence != "exact" or self.bpd_repeats < 2):
            raise ValueError(
                "config.eval.bpd_importance_weighted averages probabilities, which probes would bias upwards, over "
                "repeats: set bpd_divergence='exact' and bpd_repeats to 2 or more."
            )

    @property
    def split(self) -> str:
        """The split whose likelihood is asked for; ``eval.dataset`` is another spelling."""
        return self.dataset or self.bpd_dataset
