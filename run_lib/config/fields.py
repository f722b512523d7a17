"""What the fields of ``configs/base.py`` may be: types, ranges and choices, each said once and checked here alone.

A component's settings are declared by the component (``sde_lib.settings``); these are no component's own. A field
that names a component is a string here, and its role knows the names.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any, Literal

from ml_collections import ConfigDict

from configs.base import get_config as base_config
from models.power_average import WIDEST
from models.prediction.noise_model import Output
from models.prediction.variances import VarianceOutput
from run_lib.computing.numerics import Precision
from run_lib.config.chosen import BPD_METHODS
from run_lib.config.components import choose, reasons
from run_lib.config.roles import ROLES
from run_lib.training.formats import CONFIG, FORMATS
from sde_lib.hints import declared
from sde_lib.ranges import Range
from sde_lib.settings import Setting

Natural = Annotated[int, Range(least=0, words="must be at least 0")]
Count = Annotated[int, Range(least=1)]
Finite = Annotated[float, Range()]
Nonnegative = Annotated[float, Range(least=0, words="must be at least 0")]
Width = Annotated[float, Range(above=0, most=WIDEST, words=f"must be above 0 and at most {WIDEST:.4f}")]
Rate = Annotated[float, Range(least=0, below=1)]
Size = Annotated[int, Range(least=1, most=2**16)]
Pixels = Annotated[int, Range(least=1, most=2**15)]
Seed = Annotated[int, Range(least=0, below=2**40, words="must be at least 0 and below 2^40")]
Split = Literal["train", "test"]


def _one_of(names: Iterable[str]) -> Any:
    """The hint of a name among those of a table, which knows what each does."""
    return Literal.__getitem__(tuple(names))


HINTS: dict[str, Any] = {
    "seed": Seed,
    "compile": Literal["off", "on", "auto"],
    "data.image_size": Pixels | tuple[Pixels, ...],
    "data.num_channels": Size,
    "data.levels": Annotated[int, Range(least=0, most=2**16)],
    "data.shape": tuple[Size, ...],
    "data.num_workers": Annotated[int, Range(least=0, most=2**8)] | None,
    "data.max_corrupt": Natural,
    "model.output": Output | None,
    "model.variance": VarianceOutput | None,
    "model.out_channels": Size | None,
    "model.preconditioning": str | None,
    "model.num_classes": Annotated[int, Range(least=0, most=10**6)],
    "model.num_scales": Annotated[int, Range(least=1, most=10**6)],
    "model.ema_rate": Rate,
    "model.ema_rates": tuple[Rate, ...],
    "model.ema_stds": tuple[Width, ...],
    "model.used_ema_rate": Rate | None,
    "training.objective": str | None,
    "training.n_iters": Count,
    "training.batch_size": Annotated[int, Range(least=1, most=10**8)],
    "training.accumulate": Annotated[int, Range(least=1, most=10**6)],
    "training.microbatch": Natural,
    "training.precision": Precision,
    "training.loss_scale": Nonnegative,
    "training.loss_scale_growth": Annotated[float, Range(above=0, most=1)],
    "training.log_freq": Count,
    "training.eval_freq": Count,
    "training.snapshot_freq": Count,
    "training.snapshot_freq_for_preemption": Count,
    "training.keep_last": Count,
    "training.ema_snapshot_freq": Natural,
    "training.max_nonfinite": Count,
    "optim.lr": Nonnegative,
    "optim.grad_clip": Finite,
    "sampling.precision": Precision,
    "sampling.chain": Literal["levels", "interpolated"] | None,
    "sampling.dynamic_threshold": Annotated[float, Range(above=0, most=1)] | None,
    "sampling.num_samples": Annotated[int, Range(least=1, most=10**8)],
    "sampling.batch_size": Count,
    "sampling.seed": Seed | None,
    "sampling.grid_size": Count,
    "guidance.labels": tuple[Natural | str, ...] | None,
    "ema.std": Width | tuple[Width, ...],
    "ema.step": Natural,
    "convert.to": _one_of((*FORMATS, CONFIG)),
    "extractor.n_iters": Count,
    "extractor.batch_size": Annotated[int, Range(least=2, most=10**6)],
    "extractor.lr": Annotated[float, Range(above=0, most=1)],
    "extractor.features": Annotated[int, Range(least=2, most=2**12)],
    "reconstruct.num_images": Natural,
    "reconstruct.batch_size": Count,
    "reconstruct.label": Natural | None,
    "control.method": str | None,
    "control.num_images": Natural,
    "control.samples": Count,
    "control.label": Natural | None,
    "control.noise_std": Nonnegative,
    "control.mask": str | None,
    "tune.repeats": Annotated[int, Range(least=2, most=10**4)],
    "tune.num_samples": Annotated[int, Range(least=2, most=10**8)],
    "tune.metric": str | None,
    "tune.scorer": str | None,
    "tune.metrics": str | tuple[str, ...],
    "tune.confidence": Annotated[float, Range(above=0, below=1)],
    "tune.processes": Annotated[int, Range(least=1, most=2**10)],
    "tune.rows": Annotated[int, Range(least=0, most=10**3)],
    "tune.pilot_samples": Count,
    "eval.batch_size": Count,
    "eval.precision": Precision,
    "eval.bpd_method": _one_of(BPD_METHODS),
    "eval.bpd_dataset": Split,
    "eval.dataset": Split | None,
    "eval.metrics": str | tuple[str, ...] | None,
    "eval.extractor_batch": Count,
    "eval.checkpoints": tuple[Natural, ...],
    "eval.begin_ckpt": Annotated[int, Range(least=0, most=10**6)],
    "eval.end_ckpt": Annotated[int, Range(least=0, most=10**6)],
}
"""Every field that is a number, a choice or a sequence, or may be unset. Another is of its default's type."""


@functools.cache
def declared_fields() -> Mapping[str, Setting]:
    """Path -> what a field of ``configs/base.py`` may be."""
    found = {}
    for path, kind, default in _fields(base_config()):
        said = declared(HINTS.get(path, kind))
        found[path] = Setting(
            f"config.{path}", said.type, said.optional, default, said.choices, said.range, "", said.element
        )
    return found


def _fields(config: ConfigDict, prefix: str = "") -> Iterator[tuple[str, type, Any]]:
    for name in config:
        if isinstance(config[name], ConfigDict):
            yield from _fields(config[name], f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", config.get_type(name), config[name]


def check_values(config: ConfigDict) -> None:
    """Check every field of a complete configuration, and every setting of every component that it chooses.

    Raises:
        ValueError: with all that is wrong: a type, a range, a number that is not finite, a name that nobody knows.
    """
    found: list[str] = []
    for path, setting in declared_fields().items():
        section, _, field = path.partition(".")
        value = config[section][field] if field else config[section]
        with reasons(found):
            _refuse_blanks(path, setting.check(value))
    for role in ROLES.values() if not found else ():
        with reasons(found):
            choose(role, config)
    if found:
        raise ValueError(" ".join(dict.fromkeys(found)))


def _refuse_blanks(path: str, value: Any) -> None:
    """A name of nothing but blanks would be a file that nobody sees."""
    if isinstance(value, str) and value and not value.strip():
        raise ValueError(f"config.{path} holds blanks alone, {value!r}: give it a value, or leave it out.")
