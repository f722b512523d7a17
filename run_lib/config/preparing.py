"""What packing and measuring data need."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from run_lib.config.chosen import statistics_of
from run_lib.config.configuration import Configuration
from run_lib.config.scoring import Extraction, plan_extraction
from run_lib.config.subject import build_subject
from run_lib.data.facts import facts_key
from run_lib.data.levels import DataSpec
from run_lib.placement import Placement


@dataclass(frozen=True)
class PreparationPlan:
    """What work on data needs.

    Attributes:
        data: the data set.
        root: where its files are.
        key: what its measurements are filed under.
        path: folder to write to; None: the work directory's, or beside the data.
        extraction: of the features whose statistics are written, too.
        placement: of the extractors.
    """

    data: DataSpec
    root: Path
    key: str
    path: Path | None
    extraction: Extraction
    placement: Placement


def plan_preparation(configuration: Configuration) -> PreparationPlan:
    """The data of a configuration; the network has no numbers, unless the data are drawn from its density."""
    values = configuration.values
    subject = build_subject(configuration, weights=values.data.dataset == "exact")
    path = Path(values.pack.path) if values.pack.path else None
    return PreparationPlan(
        data=subject.data,
        root=Path(values.data.root),
        key=facts_key(values.data),
        path=path,
        extraction=plan_extraction(configuration, statistics_of(values)),
        placement=subject.placement,
    )
