"""What a configuration may choose several of, each in a role of its own: evaluations, metrics, extractors."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from run_lib.config.choices import Names
from run_lib.config.chosen import extractor, metric
from run_lib.config.components import Role
from run_lib.evaluation import builtin  # noqa: F401 - registers evaluations
from run_lib.evaluation.base import register_evaluation
from run_lib.extractors.base import CONTEXT, register_extractor
from run_lib.metrics.base import register_metric
from sde_lib.registry import Registry

EVALUATION_CONTEXT = {
    "bpd": frozenset({"flow", "bound", "dequantisation"}),
    "sampling": frozenset({"scoring"}),
}
EVALUATION_FIELDS = {
    "bpd": {name: f"eval.bpd_{name}" for name in ("num_images", "repeats", "quick", "target")},
    "accuracy": {"levels": "eval.accuracy_levels"},
    "density": {"points": "eval.density_points"},
}


@functools.cache
def evaluation_role(name: str) -> Role:
    """``eval.enable_NAME``, which switches one evaluation on."""
    return Role(
        f"eval.enable_{name}",
        Names("evaluation", lambda: {name: register_evaluation[name]}),
        "eval",
        lambda config: name if config.eval.get(f"enable_{name}") else None,
        EVALUATION_CONTEXT.get(name, frozenset()),
        EVALUATION_FIELDS.get(name, {}),
        switch=True,
    )


@functools.cache
def metric_role(name: str) -> Role:
    """A metric among ``eval.metrics``."""
    return Role(
        "eval.metrics",
        Names("metric", lambda: {name: register_metric[name]}),
        "metrics",
        metric(name),
        under=f"eval.metrics={name + '@EXTRACTOR'!r}",
    )


@functools.cache
def extractor_role(name: str) -> Role:
    """An extractor that a metric among ``eval.metrics`` asks for."""
    return Role(
        "eval.metrics",
        Names("extractor", lambda: {name: register_extractor[name]}),
        "extractors",
        extractor(name),
        frozenset(CONTEXT),
        under=f"eval.metrics={'METRIC@' + name!r}",
    )


SEVERAL: dict[str, tuple[Registry[Any], Callable[[str], Role]]] = {
    "evaluation": (register_evaluation, evaluation_role),
    "metric": (register_metric, metric_role),
    "extractor": (register_extractor, extractor_role),
}
"""What a configuration may choose several of: each component has a role of its own."""
