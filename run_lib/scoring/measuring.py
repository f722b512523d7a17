"""A set of images against a reference, by several metrics: each number with all that it was made by."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from run_lib.extractors.base import Extractor
from run_lib.files import as_json, of_json
from run_lib.metrics.base import Goal, Measured, Output, SetMetric, View
from run_lib.scoring.asked import TITLES, Asked
from run_lib.scoring.features import FeatureStore, Images, OnDisk
from run_lib.scoring.references import Reference
from run_lib.sharing.parts import Part, Parts


@dataclass(frozen=True)
class Measure:
    """A metric that is asked for, built.

    Attributes:
        asked: its names.
        metric: what it does.
    """

    asked: Asked
    metric: SetMetric

    def title(self, extractor: Extractor, number: Measured) -> str:
        """What a report calls one of its numbers: by the papers' name where they have one, else by the extractor's."""
        papers = TITLES.get(self.asked.named) if extractor.published else None
        space = extractor.title if extractor.published else f"{extractor.title}, not as published"
        if number.name == "infinity":
            return f"{papers}-infinity" if papers else f"{self.metric.title} at infinity, {space}"
        if papers:
            return f"{papers}, {number.name}" if number.name else papers
        return f"{number.name or self.metric.title}, {space}"

    @property
    def version(self) -> dict[str, str]:
        """What its numbers depend on beside the images and the extractor."""
        said = ", ".join(f"{name}={value}" for name, value in vars(self.metric).items())
        return {"metric": f"{self.asked.metric}, version {self.metric.version}{f', {said}' if said else ''}"}


@dataclass(frozen=True)
class Scored:
    """One number of a set of images.

    Attributes:
        title: in a report.
        number: its value and error.
        count: images that it is of.
        protocol: all that it was made by, in words.
        goal: which value is the best; None: none is.
        label: the class that it is of; None: all images.
    """

    title: str
    number: Measured
    count: int
    protocol: Mapping[str, str]
    goal: Goal | None = None
    label: int | None = None


@dataclass(frozen=True)
class Scoring:
    """What sets of images are scored by.

    Attributes:
        measures: the metrics.
        extractors: built, by their registered names.
        by_class: score each class, too, where both sets have classes.
        seed: of whatever metrics draw.
    """

    measures: tuple[Measure, ...]
    extractors: Mapping[str, Extractor]
    by_class: bool
    seed: int

    def outputs(self, extractor: str) -> tuple[Output, ...]:
        """What the metrics read of an extractor."""
        found = {o for m in self.measures if m.asked.extractor == extractor for o in m.metric.outputs}
        return tuple(sorted(found))

    def check(self, count: int, reference: Reference | None) -> None:
        """Refuse what cannot be measured, before any work.

        Args:
            count: images that will be scored.
            reference: what they are held against; None: nothing.

        Raises:
            ValueError: outputs that an extractor does not have, too few images, a reference that is not enough.
        """
        for one in self.measures:
            extractor, name = self.extractors[one.asked.extractor], one.asked.extractor
            for output in one.metric.outputs:
                if output not in extractor.dimensions:
                    raise ValueError(
                        f"{one.asked} reads {output}, and the extractor {name!r} gives "
                        f"{', '.join(extractor.dimensions)}; take {one.asked.metric}@inception."
                    )
                least = one.metric.least(extractor.dimensions[output])
                if count < least:
                    raise ValueError(
                        f"{one.asked} needs at least {least} images, and there are {count}: "
                        f"draw more, or leave this metric out."
                    )
            if not one.metric.needs_reference:
                continue
            if reference is None:
                raise ValueError(
                    f"{one.asked} compares with a reference, and none is given: set "
                    f"--config.score.reference to a folder, an .npz or statistics, or leave this metric out."
                )
            reference.check(str(one.asked), name, extractor, one.metric.outputs, rows=one.metric.needs_rows)

    def score(
        self, images: Images, reference: Reference | None, store: FeatureStore, folder: Path
    ) -> Iterator[Scored]:
        """Every number of a set, processes sharing the metrics; those that are done are read from ``folder``."""
        views = [self.views(measure, images, reference, store) for measure in self.measures]
        todo = [(k, label) for k, pair in enumerate(views) for label in self._labels(*pair)]

        def compute(rows: range) -> Part:
            which, label = todo[rows.start]
            samples, real = (_of_class(view, label) for view in views[which])
            assert samples is not None
            found = self.measures[which].metric.measure(samples, real, self.seed)
            return {"found": np.array(as_json([dataclasses.asdict(number) for number in found]))}

        parts = Parts(folder / self.key([images.fingerprint], reference), store.processes)
        each = [range(i, i + 1) for i in range(len(todo))]
        for (which, label), part in zip(todo, parts.each("metrics", each, compute, sized=False), strict=True):
            measure, (samples, real) = self.measures[which], (_of_class(view, label) for view in views[which])
            assert samples is not None
            extractor = self.extractors[measure.asked.extractor]
            protocol = {
                **measure.version,
                **extractor.protocol,
                "images": f"{samples.count} of {images.title}",
                **images.facts,
                **(
                    {}
                    if real is None or reference is None
                    else reference.described(real, measure.asked.extractor)
                ),
                "seed of the metric": str(self.seed),
            }
            for held in of_json(str(part["found"])):
                number = Measured(**held)
                title = measure.title(extractor, number)
                yield Scored(
                    title if label is None else f"{title}, class {label}",
                    number,
                    samples.count,
                    protocol,
                    measure.metric.goals.get(number.name),
                    label,
                )

    def views(
        self, measure: Measure, images: Images, reference: Reference | None, store: FeatureStore
    ) -> tuple[OnDisk, View | None]:
        """The images and the reference as a metric sees them; features that are there are not made again."""
        name, metric = measure.asked.extractor, measure.metric
        extractor = self.extractors[name]
        samples = store.view(images, extractor, self.outputs(name))
        if reference is None or not metric.needs_reference:
            return samples, None
        return samples, reference.view(name, extractor, metric.outputs, store, rows=metric.needs_rows)

    def _labels(self, samples: OnDisk, real: View | None) -> list[int | None]:
        found: list[int | None] = [None]
        if self.by_class and samples.labels is not None and real is not None and real.labels is not None:
            both = set(samples.labels.tolist()) & set(real.labels.tolist())
            found += sorted(int(label) for label in both if label >= 0)
        return found

    def key(self, images: Sequence[str], reference: Reference | None) -> str:
        """A name for all that the numbers of sets of images depend on.

        Args:
            images: the fingerprint of each set.
            reference: what they are held against.
        """
        made_from = {
            "images": list(images),
            "reference": None if reference is None else reference.fingerprint,
            "extractors": {name: dict(one.protocol) for name, one in self.extractors.items()},
            "measures": [[str(measure.asked), measure.version["metric"]] for measure in self.measures],
            "by class": self.by_class,
            "seed": self.seed,
        }
        return hashlib.sha256(json.dumps(made_from, sort_keys=True).encode()).hexdigest()[:16]


def _of_class(view: View | None, label: int | None) -> View | None:
    if label is None or view is None:
        return view
    return view.of_class(label)
