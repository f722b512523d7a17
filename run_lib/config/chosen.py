"""Which component a configuration chooses for each role; None where it leaves the role empty."""

from __future__ import annotations

from collections.abc import Callable

from ml_collections import ConfigDict

from run_lib.config.choices import AUTO, EDITS, MASKS
from run_lib.config.mode import register_mode
from run_lib.extractors.base import register_extractor
from run_lib.scoring.asked import PIXELS, asked, listed_names
from sde_lib.registry import snake_case, unknown_name

DEFAULT_METHODS = {"inpaint": "replacement", "colorize": "replacement"}
"""Methods of tasks of ``--mode control``; of others, ``pseudo_inverse``."""


BPD_METHODS = ("ode", "vlb", "both")
"""By the ODE, the variational bound, or both."""


def mode(config: ConfigDict) -> str | None:
    """The program's mode; none where plans are made from Python."""
    name: str | None = config.mode.get("name")
    return name if name is not None and name in register_mode else None


def generates(config: ConfigDict) -> bool:
    return bool(config.training.task != "classifier")


def objective(config: ConfigDict) -> str | None:
    """Of a model of data: ``hybrid`` where variances are learned, ``denoising`` where they are not."""
    if not generates(config):
        return None
    name: str | None = config.training.get("objective")
    return name or ("denoising" if config.model.variance is None else "hybrid")


def weighting(config: ConfigDict) -> str | None:
    if objective(config) != "denoising":
        return None
    return "likelihood" if config.training.likelihood_weighting else config.training.weighting


def preview(config: ConfigDict) -> str | None:
    """Of a training that draws samples."""
    draws = config.training.snapshot_sampling and generates(config)
    return config.training.preview if draws else None


def part_of_loop(field: str) -> Callable[[ConfigDict], str | None]:
    """A part of the predictor-corrector loop."""
    return lambda config: config.sampling[field] if config.sampling.method == "pc" else None


def picks_sampler(config: ConfigDict) -> bool:
    """Whether the predictor and its grid are chosen for the number of steps."""
    return snake_case(part_of_loop("predictor")(config) or "") == AUTO


def grid(config: ConfigDict) -> str | None:
    """Of the predictor-corrector loop, unless it comes with the predictor."""
    return None if picks_sampler(config) else part_of_loop("grid")(config)


def mask(config: ConfigDict) -> str | None:
    if config.control.task != "inpaint":
        return None
    name = config.control.get("mask") or "half"
    return name if name in MASKS else "image"


def restoration_method(config: ConfigDict) -> str | None:
    task = config.control.task
    if task in EDITS:
        return None
    return config.control.method or DEFAULT_METHODS.get(task, "pseudo_inverse")


def interpolation_method(config: ConfigDict) -> str | None:
    return (config.control.method or "ddim") if config.control.task == "interpolate" else None


def scorer(config: ConfigDict) -> str:
    """Of sets of samples: draws of an exact model have a density, and no other data set."""
    named: str | None = config.tune.scorer
    return named or ("modes" if snake_case(config.data.dataset) == "exact" else "data")


def metrics(config: ConfigDict) -> str | tuple[str, ...]:
    """What sets of images are measured by: an evaluation's samples, or what ``--mode score`` is given; else nothing."""
    if config.mode.get("name") == "tune":
        by_metrics = config.tune.scorer == "metrics" and not config.tune.grid
        return config.tune.metrics if by_metrics else ()
    scores = config.mode.get("name") == "score"
    if not scores and not config.eval.get("enable_sampling"):
        return ()
    named: str | tuple[str, ...] | None = config.eval.metrics
    return named or ("fid" if scores else PIXELS)


def metric(name: str) -> Callable[[ConfigDict], str | None]:
    """A metric, where it is among those that are asked for."""
    return lambda config: name if any(one.metric == name for one in asked(metrics(config))) else None


def extractor(name: str) -> Callable[[ConfigDict], str | None]:
    """An extractor, where one of the metrics that are asked for is in its space, or statistics are."""

    def chosen(config: ConfigDict) -> str | None:
        of_metrics = {one.extractor for one in asked(metrics(config))}
        return name if name in of_metrics | set(statistics_of(config)) else None

    return chosen


def statistics_of(config: ConfigDict) -> tuple[str, ...]:
    """The extractors in whose spaces ``--mode stats`` writes statistics."""
    names = listed_names(config.stats.extractors) if config.mode.get("name") == "stats" else ()
    for name in names:
        if name not in register_extractor:
            raise ValueError(unknown_name("config.stats.extractors", name, list(register_extractor)))
    return names


def part_of_likelihood(
    field: str, methods: tuple[str, ...] = BPD_METHODS
) -> Callable[[ConfigDict], str | None]:
    """A part of likelihoods, where they are evaluated by one of the methods."""

    def chosen(config: ConfigDict) -> str | None:
        used = config.eval.enable_bpd and config.eval.bpd_method in methods
        return config.eval[field] if used else None

    return chosen
