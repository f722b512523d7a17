"""What tuning a sampler needs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from ml_collections import ConfigDict

from models.exact.mixtures import Modes
from run_lib.computing.numerics import AS_THEY_ARE, Compilation
from run_lib.config.components import Chosen
from run_lib.config.configuration import Configuration, read
from run_lib.config.effects import check_effects
from run_lib.config.sampling import SamplingPlan, plan_sampling
from run_lib.config.scoring import plan_scoring
from run_lib.config.settings import TuneSettings
from run_lib.config.spaces import metrics_in_spaces
from run_lib.config.subject import Subject, build_subject
from run_lib.config.sweep import Candidate, Sweep, parse_sweep
from run_lib.data.levels import DataSpec
from run_lib.sample_folder import WRITTEN
from run_lib.tuning.by_metrics import InSpace
from run_lib.tuning.scores import CONTEXT, Scorer

CPU = torch.device("cpu")
IRRELEVANT = {
    "sampling": WRITTEN,
    "tune": ("sweep", "repeats", "metric", "confidence", "processes", "folder", "grid", "pilot_samples"),
}
"""Fields that do not change the score of a set."""
SECTIONS = (
    "seed",
    "plugins",
    "data",
    "model",
    "sampling",
    "tune",
    "init_from",
    "init_from_ema",
    "resume_from",
)


@dataclass(frozen=True)
class TuningPlan:
    """What tuning a sampler needs.

    Attributes:
        sampling: of the configuration as it is.
        settings: numbers and sizes.
        scorer: what scores a set of samples.
        sweep: what is tried; None: a time grid is to be found instead.
        values: the configuration as plain data, from which other processes build a candidate's plan.
        depends_on: what the scores depend on, for the record.
    """

    sampling: SamplingPlan
    settings: TuneSettings
    scorer: Chosen
    sweep: Sweep | None
    values: Mapping[str, Any]
    depends_on: Mapping[str, Any]


def plan_tuning(configuration: Configuration, sampling: SamplingPlan) -> TuningPlan:
    """Read the sweep, and build every candidate once to see that it can be.

    Raises:
        ValueError: a sweep of another form, or a candidate that cannot be built.
    """
    settings, values = TuneSettings.of(configuration.values.tune), configuration.plain()
    sweep = None if settings.grid else parse_sweep(settings.sweep)
    compiled = sampling.subject.placement.sampling.compiled
    for candidate in sweep.candidates if sweep else ():
        plan_candidate(values, candidate, compiled, sampling.subject)
    scorer = configuration.choose("scorer")
    depends_on = _depends_on(sampling.subject.record.values, sweep)
    return TuningPlan(sampling, settings, scorer, sweep, values, depends_on)


def scorer_of(values: Mapping[str, Any], data: DataSpec, count: int, device: torch.device) -> Scorer:
    """The scorer of a configuration given as plain data, from which other processes build their own.

    Args:
        values: the configuration.
        data: the data set that samples are compared with.
        count: number of samples in each set that will be scored.
        device: on which extractors compute, and latents are decoded.

    Raises:
        ValueError: as of ``build_scorer``.
    """
    configuration = read(ConfigDict(dict(values)), [], "tune")
    scoring = plan_scoring(configuration)
    return build_scorer(
        configuration.choose("scorer"),
        data,
        count,
        lambda: metrics_in_spaces(scoring, data, device),
        device,
    )


def build_scorer(
    chosen: Chosen,
    data: DataSpec,
    count: int,
    spaces: Callable[[], tuple[InSpace, ...]] = tuple,
    device: torch.device = CPU,
) -> Scorer:
    """The scorer that a configuration chooses, given what it names of ``CONTEXT``.

    Args:
        chosen: the scorer and its settings.
        data: the data set that samples are compared with.
        count: number of samples in each set that will be scored.
        spaces: metrics in the spaces of extractors, built where they are asked for.
        device: on which latents are decoded, as samples of them are.

    Raises:
        ValueError: the scorer needs a density that is not known, or cannot score sets of this size.
    """

    def modes() -> Modes:
        if data.density is None:
            raise ValueError(
                f"scorer {chosen.name!r} needs the density of the data, and that of {data.name!r} is not known; take "
                f"scorer 'data'."
            )
        return data.density.modes(data.shape)

    def real() -> np.ndarray:
        found = (data.load_if_any(split, "its part of the real data") for split in ("train", "test"))
        return np.concatenate(
            [data.as_shown(split, device).images.numpy() for split in found if split is not None]
        )

    context: dict[str, Callable[[], Any]] = {
        "data": lambda: data.shown,
        "real": real,
        "modes": modes,
        "count": lambda: count,
        "spaces": spaces,
    }
    scorer: Scorer = chosen.build(**{name: context[name]() for name in CONTEXT if name in chosen.takes})
    return scorer


def plan_candidate(
    values: Mapping[str, Any],
    candidate: Candidate,
    compiled: Compilation = AS_THEY_ARE,
    like: Subject | None = None,
) -> SamplingPlan:
    """The sampling plan of one point of a sweep.

    Args:
        values: the configuration as plain data.
        candidate: what is changed in its sampling section.
        compiled: what has been decided to compile.
        like: of another candidate, whose network this one takes; None: it has a new one.

    Raises:
        ValueError: the sampler cannot have these settings, or one of them would change nothing.
    """
    try:
        return plan_changed(values, candidate, compiled, like)
    except ValueError as error:
        raise ValueError(f"{candidate} of config.tune.sweep: {error}") from error


def plan_changed(
    values: Mapping[str, Any], candidate: Candidate, compiled: Compilation, like: Subject | None
) -> SamplingPlan:
    """The same, whoever asks for the changes.

    Raises:
        ValueError: the sampler cannot have these settings, or one of them would change nothing.
    """
    config = ConfigDict(dict(values))
    with config.ignore_type():
        for change in candidate.changes:
            config.sampling[change.field] = change.value
    changed = read(config, [f"sampling.{change.field}" for change in candidate.changes], "sample")
    subject = build_subject(changed, compiled={"sampling": compiled}, like=like)
    plan = plan_sampling(changed, subject)
    check_effects(changed)
    return plan


def _depends_on(record: Mapping[str, Any], sweep: Sweep | None) -> dict[str, Any]:
    """All that the scores of a sweep depend on, but for the weights; plain data."""
    fields = sweep.fields if sweep else ()
    kept: dict[str, Any] = {"sweep over": ", ".join(fields)}
    for section in SECTIONS:
        values = record[section]
        if not isinstance(values, dict):
            kept[section] = values
            continue
        left_out = (*IRRELEVANT.get(section, ()), *(fields if section == "sampling" else ()))
        kept |= {f"{section}.{field}": v for field, v in values.items() if field not in left_out}
    return kept | {f"training.{field}": record["training"][field] for field in ("sde", "continuous")}
