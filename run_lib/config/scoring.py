"""What scoring sets of images needs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from run_lib.computing.placement import Placement
from run_lib.config.chosen import metrics
from run_lib.config.components import Chosen
from run_lib.config.configuration import Configuration
from run_lib.config.placing import build_placement
from run_lib.data.rows import Rows
from run_lib.extractors.base import Extractor
from run_lib.scoring.asked import PIXELS, asked, listed_names
from run_lib.scoring.measuring import Measure, Scoring


@dataclass(frozen=True)
class Extraction:
    """Extractors that are chosen, and how their features are made.

    Attributes:
        chosen: by name.
        weights: file or folder of an extractor's weights, by its name; of any by the empty name.
        batch_size: images that are given to one at a time.
        folder: name of that of the features.
    """

    chosen: Mapping[str, Chosen]
    weights: Mapping[str, Path]
    batch_size: int
    folder: str

    def build(
        self, shape: tuple[int, ...], levels: int, reference: Rows | None, device: torch.device
    ) -> dict[str, Extractor]:
        """The extractors for images of one kind.

        Args:
            shape: of an image.
            levels: of its values; 0: continuous data.
            reference: to which some extractors are fitted; None: there are no images.
            device: on which they compute.

        Raises:
            ValueError: weights that are missing, or an extractor that cannot take such images.
        """
        return {
            name: chosen.build(
                shape=shape,
                levels=levels,
                reference=reference,
                device=device,
                weights=self.weights.get(name, self.weights.get("")),
            )
            for name, chosen in self.chosen.items()
        }


@dataclass(frozen=True)
class ScoringPlan:
    """What is measured, and where.

    Attributes:
        pixels: whether the numbers in pixel space are among it.
        measures: the metrics in the spaces of extractors.
        extraction: of the features.
        by_class: whether each class is scored, too.
        seed: of what metrics draw.
    """

    pixels: bool
    measures: tuple[Measure, ...]
    extraction: Extraction
    by_class: bool
    seed: int

    def build(
        self, shape: tuple[int, ...], levels: int, reference: Rows | None, device: torch.device
    ) -> Scoring:
        """The metrics, and their extractors for images of one kind (``Extraction.build``)."""
        extractors = self.extraction.build(shape, levels, reference, device)
        return Scoring(self.measures, extractors, self.by_class, self.seed)


def plan_extraction(configuration: Configuration, names: Iterable[str]) -> Extraction:
    """The extractors of some names.

    Raises:
        ValueError: weights of an extractor that is none of them.
    """
    section = configuration.values.eval
    chosen = {name: configuration.choose(f"extractor {name}") for name in dict.fromkeys(names)}
    return Extraction(
        chosen, _weights(section.extractor_weights, tuple(chosen)), section.extractor_batch, section.features
    )


def plan_scoring(configuration: Configuration) -> ScoringPlan:
    """The metrics and extractors that ``eval.metrics`` lists.

    Raises:
        ValueError: unknown names; weights of an extractor that no metric asks for.
    """
    listed = metrics(configuration.values)
    wanted = asked(listed)
    return ScoringPlan(
        pixels=PIXELS in listed_names(listed),
        measures=tuple(Measure(one, configuration.choose(f"metric {one.metric}").build()) for one in wanted),
        extraction=plan_extraction(configuration, (one.extractor for one in wanted)),
        by_class=configuration.values.eval.by_class,
        seed=configuration.values.seed,
    )


def _weights(text: str, extractors: tuple[str, ...]) -> dict[str, Path]:
    """``FILE`` for any, or ``inception=FILE,dinov2=FOLDER``."""
    if not text:
        return {}
    pairs = [part.partition("=") for part in text.split(",")]
    if any(equals and name not in extractors for name, equals, _ in pairs):
        wrong = next(name for name, equals, _ in pairs if equals and name not in extractors)
        raise ValueError(
            f"config.eval.extractor_weights names {wrong!r}, and eval.metrics asks for "
            f"{', '.join(extractors) or 'no extractor'}."
        )
    if not all(equals for _, equals, _ in pairs):
        return {"": Path(text)}
    return {name: Path(path) for name, _, path in pairs}


@dataclass(frozen=True)
class ScorePlan:
    """What ``--mode score`` needs.

    Attributes:
        samples: path of the images.
        reference: path of those they are held against, or of statistics; None: nothing.
        scoring: what is measured.
        placement: device and arithmetic.
        config_hash: of the configuration.
    """

    samples: Path
    reference: Path | None
    scoring: ScoringPlan
    placement: Placement
    config_hash: str


def plan_score(configuration: Configuration) -> ScorePlan:
    """The plan of ``--mode score``.

    Raises:
        ValueError: no images are named, or metrics that need a model's data.
    """
    values = configuration.values
    if not values.score.samples:
        raise ValueError(
            "which images? --config.score.samples=PATH of a folder, .zip, .npz or .npy, and "
            "--config.score.reference=PATH of those that they are held against, or of their statistics."
        )
    scoring = plan_scoring(configuration)
    if scoring.pixels:
        raise ValueError(
            "the numbers of eval.metrics='pixels' are against a model's own data: take frechet@pixels, fid, or "
            "another of --mode list."
        )
    reference = Path(values.score.reference) if values.score.reference else None
    return ScorePlan(
        Path(values.score.samples),
        reference,
        scoring,
        build_placement(values).in_float32(),
        configuration.record.hash,
    )
