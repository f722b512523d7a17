"""What packing and measuring data need."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from run_lib.computing.placement import Placement
from run_lib.config.chosen import statistics_of
from run_lib.config.configuration import Configuration
from run_lib.config.scoring import Extraction, plan_extraction
from run_lib.config.subject import build_subject
from run_lib.data.facts import facts_key
from run_lib.data.levels import DataSpec


@dataclass(frozen=True)
class StatisticsPlan:
    """What writing statistics of features needs.

    Attributes:
        extraction: of the features.
        placement: of the extractors.
    """

    extraction: Extraction
    placement: Placement


@dataclass(frozen=True)
class PreparationPlan:
    """What work on data needs.

    Attributes:
        data: the data set.
        root: where its files are.
        key: what its measurements are filed under.
        path: folder to write to; None: the work directory's, or beside the data.
        statistics: what writing those of features needs; None: none are asked for.
        device: on which images become latents.
    """

    data: DataSpec
    root: Path
    key: str
    path: Path | None
    statistics: StatisticsPlan | None
    device: torch.device


def plan_preparation(configuration: Configuration) -> PreparationPlan:
    """The data of a configuration; the network has no numbers, unless the data are drawn from its density."""
    values = configuration.values
    subject = build_subject(configuration, weights=values.data.dataset == "exact")
    path = Path(values.pack.path) if values.pack.path else None
    names = statistics_of(values)
    statistics = (
        StatisticsPlan(plan_extraction(configuration, names), subject.placement.in_float32())
        if names
        else None
    )
    return PreparationPlan(
        data=subject.data,
        root=Path(values.data.root),
        key=facts_key(values.data),
        path=path,
        statistics=statistics,
        device=subject.placement.device if values.data.codec else torch.device("cpu"),
    )
