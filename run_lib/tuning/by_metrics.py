"""Sets of samples scored by metrics of images, each in the space of an extractor."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from run_lib.data.rows import Rows
from run_lib.extractors.base import Extractor
from run_lib.metrics.base import InMemory, Output, SetMetric, View
from run_lib.tuning.scores import Metric, Score, Scorer, register_scorer

BATCH = 64
"""Images that an extractor is given at a time."""


@dataclass(frozen=True, eq=False)
class Space:
    """An extractor, and the reference as it sees it.

    Attributes:
        name: of the extractor, as a configuration names it.
        extractor: the map from images to features.
        reference: what samples are held against, asked for some outputs of the extractor when the first set is scored.
    """

    name: str
    extractor: Extractor
    reference: Callable[[Collection[Output]], View]


@dataclass(frozen=True)
class InSpace:
    """A metric in the space of an extractor.

    Attributes:
        listed: as a configuration lists it, such as ``frechet@pixels``.
        metric: what it measures.
        space: where; metrics of one extractor share it.
        seed: of whatever the metric draws, the same for every set.
    """

    listed: str
    metric: SetMetric
    space: Space
    seed: int

    def number(self, name: str) -> str:
        """What ``tune.metric`` calls one of its numbers: ``kernel@pca``, or ``precision_recall@pca/recall`` where it is
        one of several."""
        return f"{self.listed}/{name}" if name else self.listed

    def check(self, count: int) -> None:
        """See that sets of so many samples can be ranked by it.

        Raises:
            ValueError: they cannot.
        """
        metric, has = self.metric, self.space.extractor.dimensions
        if not metric.goals:
            raise ValueError(
                f"config.tune.metrics: no set of samples is better than another by {self.listed}."
            )
        lacking = [output for output in metric.outputs if output not in has]
        if lacking:
            raise ValueError(
                f"config.tune.metrics: {self.listed} needs {' and '.join(lacking)}, and {self.space.name} gives "
                f"{', '.join(has)}."
            )
        least = metric.least(max(has[output] for output in metric.outputs))
        if count < least:
            raise ValueError(
                f"config.tune.num_samples={count} are too few for {self.listed}, which needs {least}: ask for more."
            )


def features(
    extractor: Extractor,
    rows: Rows | np.ndarray,
    outputs: Collection[Output],
    labels: np.ndarray | None = None,
) -> InMemory:
    """Images (N, C, H, W) as an extractor sees them, a batch at a time.

    Args:
        extractor: the map from images to features.
        rows: integer levels, or continuous data.
        outputs: what is wanted of it.
        labels: the class of each image (N,).
    """
    found: dict[Output, list[np.ndarray]] = {output: [] for output in outputs}
    for first in range(0, len(rows), BATCH):
        some = range(first, min(first + BATCH, len(rows)))
        images = (
            torch.from_numpy(rows[first : some.stop]) if isinstance(rows, np.ndarray) else rows.read(some)
        )
        for output, values in extractor(images, tuple(outputs)).items():
            found[output].append(values)
    return InMemory({output: np.concatenate(values) for output, values in found.items()}, labels)


@register_scorer(name="metrics")
class ByMetrics(Scorer):
    """Metrics of sets of images, each in the space of an extractor, against the training images: ``tune.metrics``.

    Raises:
        ValueError: no metrics; a metric that no set can be ranked by, that an extractor has no output for, or that
            needs more samples than a set has.
    """

    def __init__(self, spaces: Sequence[InSpace], count: int) -> None:
        self._measures = tuple(spaces)
        if not self._measures:
            raise ValueError(
                "config.tune.metrics is empty: name metrics as METRIC@EXTRACTOR, separated by commas."
            )
        for one in self._measures:
            one.check(count)
        self.metrics = tuple(
            Metric(one.number(name), goal, f"{name or one.metric.title}, {one.space.extractor.title}")
            for one in self._measures
            for name, goal in one.metric.goals.items()
        )

    @property
    def protocol(self) -> dict[str, str]:
        found = {f"{one.listed}: version": str(one.metric.version) for one in self._measures}
        for space in self._read:
            found |= {f"{space.name}: {key}": value for key, value in space.extractor.protocol.items()}
        return found

    def scores(self, samples: np.ndarray) -> tuple[Score, ...]:
        views = {space: features(space.extractor, samples, read) for space, read in self._read.items()}
        found: dict[str, float] = {}
        for one in self._measures:
            reference = self._references[one.space] if one.metric.needs_reference else None
            measured = one.metric.measure(views[one.space], reference, one.seed)
            found |= {one.number(number.name): number.value for number in measured}
        return tuple(Score(metric.name, found[metric.name]) for metric in self.metrics)

    @functools.cached_property
    def _read(self) -> dict[Space, tuple[Output, ...]]:
        """The outputs of each space that some metric reads."""
        return _outputs(self._measures)

    @functools.cached_property
    def _references(self) -> dict[Space, View]:
        held = _outputs([one for one in self._measures if one.metric.needs_reference])
        return {space: space.reference(read) for space, read in held.items()}


def _outputs(measures: Sequence[InSpace]) -> dict[Space, tuple[Output, ...]]:
    found: dict[Space, dict[Output, None]] = {}
    for one in measures:
        found.setdefault(one.space, {}).update(dict.fromkeys(one.metric.outputs))
    return {space: tuple(outputs) for space, outputs in found.items()}
