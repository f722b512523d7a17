"""Configurations that together choose every component, and what a mode's work does not touch of its plan."""

from __future__ import annotations

from typing import Any

from tests.run_lib.effects import Case, Unused
from tests.run_lib.program import TINY

BASE = str(TINY)
SMALL = {"device": "cpu"}
NEEDED: dict[str, dict[str, Any]] = {
    "tune": {"tune.sweep": "num_steps=2"},
    "reconstruct": {"reconstruct.input": "test"},
}
"""Fields without which a mode has nothing to do."""


def parts(text: str) -> Unused:
    """``Class.field`` of each word."""
    return frozenset((kind, name) for kind, _, name in (word.partition(".") for word in text.split()))


_WEIGHTS_AVERAGED = "Placement.precision DataSpec.random_flip"
_FILES = "SampleSettings.num_samples SamplingPlan.trajectory"
UNUSED: dict[str, Unused] = {
    "train": parts("Subject.sampling Subject.training Averages.used_ema_rate"),
    "sample": parts(f"{_WEIGHTS_AVERAGED} Subject.training DataSpec.loader DataSpec.name DataSpec.density"),
    "eval": parts(f"{_WEIGHTS_AVERAGED} {_FILES} SampleSettings.grid_size"),
    "tune": parts(f"{_WEIGHTS_AVERAGED} {_FILES} SampleSettings.grid_size Subject.training"),
    "control": parts(f"{_WEIGHTS_AVERAGED} {_FILES} Subject.training RequestedClasses.labels"),
    "reconstruct": parts(
        f"{_WEIGHTS_AVERAGED} SamplingPlan.sampler SamplingPlan.settings SamplingPlan.trajectory "
        "SamplingPlan.stored_grid Subject.training RequestedClasses.labels"
    ),
    "convert": parts(
        f"{_WEIGHTS_AVERAGED} Subject.sampling Optimisation.schedule Optimisation.grad_clip DataSpec.loader "
        "DataSpec.name DataSpec.density DataSpec.levels DataSpec.centered DataSpec.dequantize DataSpec.labelled"
    ),
}
"""Parts of a plan, class and field, that the mode's work does not touch: several modes share what holds them."""
PREVIEWS = parts(f"{_FILES} Subject.sampling Subject.training Averages.used_ema_rate")
INTERPOLATION = parts("SamplingPlan.sampler SampleSettings.seed SamplingPlan.stored_grid")
LIKELIHOOD = parts(
    "EvaluationPlan.objective SamplingPlan.settings SamplingPlan.sampler SamplingPlan.stored_grid"
)


def base(mode: str, unused: Unused | None = None, **fields: Any) -> Case:
    """A mode of the digits, small; with further fields."""
    touched = UNUSED.get(mode, frozenset()) if unused is None else unused
    return Case(BASE, mode, SMALL | NEEDED.get(mode, {}) | fields, touched)
