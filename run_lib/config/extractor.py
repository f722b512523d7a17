"""What training a classifier for its features needs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from run_lib.computing.placement import Placement
from run_lib.config.configuration import Configuration
from run_lib.config.settings import Settings
from run_lib.config.subject import build_subject
from run_lib.data.levels import DataSpec


@dataclass(frozen=True)
class ExtractorSettings(Settings):
    n_iters: int
    batch_size: int
    lr: float
    features: int


@dataclass(frozen=True)
class ExtractorPlan:
    """What training a classifier of the data needs.

    Attributes:
        data: with labels.
        settings: numbers and sizes.
        placement: device; the arithmetic is float32.
        seed: of everything random.
        path: of the file; None: in the work directory.
    """

    data: DataSpec
    settings: ExtractorSettings
    placement: Placement
    seed: int
    path: Path | None


def plan_extractor(configuration: Configuration) -> ExtractorPlan:
    """The data of a configuration, whatever its network.

    Raises:
        ValueError: they are no images, or the file has another ending.
    """
    values = configuration.values
    subject = build_subject(configuration, weights=values.data.dataset == "exact")
    if len(subject.data.shape) != 3:
        raise ValueError(
            f"--mode extractor trains a classifier of images, (C, H, W), and these data have the shape "
            f"{subject.data.shape}: their extractors are pixels and pca."
        )
    path = Path(values.extractor.path) if values.extractor.path else None
    if path is not None and path.suffix != ".safetensors":
        raise ValueError(f"config.extractor.path={path} is a safetensors file: end it with .safetensors.")
    return ExtractorPlan(
        subject.data,
        ExtractorSettings.of(values.extractor),
        subject.placement.in_float32(),
        values.seed,
        path,
    )
