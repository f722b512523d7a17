"""Metrics in the spaces of extractors, as ``tune.metrics`` lists them."""

from __future__ import annotations

from collections.abc import Collection

import torch

from run_lib.config.scoring import ScoringPlan
from run_lib.data.levels import DataSpec
from run_lib.extractors.base import Extractor
from run_lib.metrics.base import Output, View
from run_lib.tuning.by_metrics import InSpace, Space, features


def metrics_in_spaces(plan: ScoringPlan, data: DataSpec, device: torch.device) -> tuple[InSpace, ...]:
    """The metrics of a plan, held against the training images; of latents against those that they are decoded to.

    Args:
        plan: of the metrics and their extractors.
        data: the data set.
        device: on which extractors compute, and latents are decoded.

    Raises:
        ValueError: weights that are missing, images that an extractor does not take.
    """
    rows = data.as_shown(data.load("train"), device).rows
    built = plan.build(data.shown.shape, data.shown.levels, rows, device)

    def space(name: str, extractor: Extractor) -> Space:
        def reference(outputs: Collection[Output]) -> View:
            return features(extractor, rows, outputs)

        return Space(name, extractor, reference)

    spaces = {name: space(name, extractor) for name, extractor in built.extractors.items()}
    return tuple(
        InSpace(str(one.asked), one.metric, spaces[one.asked.extractor], built.seed) for one in built.measures
    )
