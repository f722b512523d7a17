"""Metrics in the spaces of extractors, as ``tune.metrics`` lists them."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Collection
from typing import Any

import torch

from run_lib.data.levels import DataSpec
from run_lib.extractors.base import Extractor, register_extractor
from run_lib.metrics.base import Output, View, register_metric
from run_lib.tuning.by_metrics import InSpace, Space, features


def metrics_in_spaces(listed: str, data: DataSpec, seed: int, device: torch.device) -> tuple[InSpace, ...]:
    """The metrics of a list such as ``frechet@pixels,kernel@pca``, each once, with their own defaults.

    Args:
        listed: metrics, each with an extractor, separated by commas.
        data: whose training images samples are held against.
        seed: of whatever metrics draw.
        device: on which extractors compute.

    Raises:
        ValueError: an unknown metric or extractor, or none.
    """

    @functools.cache
    def space(name: str) -> Space:
        rows = data.load("train").rows
        factory = register_extractor[name]
        context = {
            "shape": data.shape,
            "levels": data.levels,
            "reference": rows,
            "device": device,
            "weights": None,
        }
        named: dict[str, Any] = {
            key: context[key] for key in inspect.signature(factory).parameters if key in context
        }
        extractor: Extractor = factory(**named)

        def reference(outputs: Collection[Output]) -> View:
            return features(extractor, rows, outputs)

        return Space(name, extractor, reference)

    found = {}
    for one in filter(None, (part.strip() for part in listed.split(","))):
        metric, at, extractor = one.partition("@")
        if not at:
            raise ValueError(
                f"config.tune.metrics: {one!r} is measured in the space of an extractor: write {one}@EXTRACTOR, with "
                f"one of {', '.join(sorted(register_extractor)) or 'those of --config.plugins'}."
            )
        found[one] = InSpace(one, register_metric[metric](), space(extractor), seed)
    if not found:
        raise ValueError(
            "config.tune.metrics is empty: name metrics as METRIC@EXTRACTOR, separated by commas."
        )
    return tuple(found.values())
