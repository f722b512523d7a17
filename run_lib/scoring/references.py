"""What sets of images are held against: images, statistics of them, or a file that has both."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from run_lib.extractors.base import Extractor
from run_lib.fingerprint import of_arrays, of_rows
from run_lib.metrics.base import NoRowsError, Output, View
from run_lib.metrics.moments import Moments
from run_lib.references.reading import has_images, is_statistics, read_statistics
from run_lib.references.sets import open_set
from run_lib.references.statistics import ABOUT, Statistics
from run_lib.scoring.features import FeatureStore, Images


@dataclass(frozen=True)
class Known(View):
    """A set of images of which a file of statistics tells.

    Attributes:
        statistics: what it tells.
    """

    statistics: Statistics
    labels: np.ndarray | None = None

    @property
    def count(self) -> int:
        return max(moments.count for moments in self.statistics.moments.values())

    def moments(self, output: Output) -> Moments:
        if output not in self.statistics.moments:
            raise ValueError(
                f"{self.statistics.path} has {', '.join(self.statistics.moments)} of "
                f"{self.statistics.extractor!r}, and no {output}."
            )
        return self.statistics.moments[output]

    def rows(self, output: Output) -> np.ndarray:
        if output not in self.statistics.rows:
            raise NoRowsError(
                f"{self.statistics.path} has means and covariances alone, and the features of every image are needed: "
                f"give the images."
            )
        return self.statistics.rows[output]

    @property
    def fingerprint(self) -> str:
        """Of all moments."""
        held = sorted(self.statistics.moments.items())
        return of_arrays(*(torch.from_numpy(a) for _, m in held for a in (m.mean, m.covariance)))


@dataclass(frozen=True)
class Reference:
    """What sets of images are held against.

    Attributes:
        title: what it is, in words.
        images: the images; None: they are not there.
        known: statistics, by the name of the extractor that they are of: they go before those of the images.
    """

    title: str
    images: Images | None = None
    known: Mapping[str, Known] = field(default_factory=dict)

    def knows(self, extractor: str, outputs: Collection[Output], *, rows: bool) -> bool:
        """Whether statistics are enough: they have all outputs, and each image's where these are needed."""
        found = self.known.get(extractor)
        held = {} if found is None else found.statistics.rows if rows else found.statistics.moments
        return set(outputs) <= set(held)

    def view(
        self, name: str, extractor: Extractor, outputs: Collection[Output], store: FeatureStore, *, rows: bool
    ) -> View:
        """The reference in the space of an extractor, by statistics where they are enough."""
        if self.knows(name, outputs, rows=rows):
            return self.known[name]
        assert self.images is not None, "the check before any work refuses others"
        return store.view(self.images, extractor, outputs)

    def check(
        self, asked: str, name: str, extractor: Extractor, outputs: Collection[Output], *, rows: bool
    ) -> None:
        """Refuse a metric that it is not enough for.

        Args:
            asked: the metric, for messages.
            name: of the extractor.
            extractor: built.
            outputs: of the extractor, that the metric reads.
            rows: whether it needs each image's.

        Raises:
            ValueError: statistics of another extractor, or made in another way; images are needed and not there.
        """
        if self.knows(name, outputs, rows=rows):
            self.known[name].statistics.check(name, extractor)
            return
        if self.images is not None:
            return
        if name in self.known:
            self.known[name].statistics.check(name, extractor)
            raise ValueError(
                f"{asked} needs {', '.join(outputs)} of every image of the reference, and {self.title} has "
                f"{', '.join(self.known[name].statistics.moments)} as mean and covariance: give the images themselves."
                if rows
                else f"{asked} needs {', '.join(outputs)}, and {self.title} has statistics of "
                f"{', '.join(self.known[name].statistics.moments)}."
            )
        others = ", ".join(map(repr, self.known))
        raise ValueError(
            f"{asked} is in the space of {name!r}, and {self.title} has statistics of {others}: give those of "
            f"{name!r}, or the images."
        )

    @property
    def fingerprint(self) -> str:
        """Of all that it has."""
        parts = {name: one.fingerprint for name, one in self.known.items()}
        if self.images is not None:
            parts[""] = f"{self.images.fingerprint}, {self.images.count}"
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]

    def described(self, view: View, extractor: str) -> dict[str, str]:
        """One of its views, in the space of an extractor, in the words of a protocol."""
        found = {"reference": f"{view.count or 'an unknown number'} of {self.title}"}
        known = self.known.get(extractor)
        if known is not None and known is view:
            about = known.statistics.protocol.get(ABOUT)
            found["reference's form"] = (
                f"statistics ({known.statistics.form}){f', of {about}' if about else ''}"
            )
            found["reference's fingerprint"] = known.fingerprint
        elif self.images is not None:
            found["reference's fingerprint"] = self.images.fingerprint
        return found


def open_images(path: Path, levels: int = 256) -> Images:
    """Images of whatever program, which are read as they are needed.

    Raises:
        ValueError: there are none, or they cannot be read.
    """
    split = open_set(path, levels=levels)
    return Images.of_split(split, path.name, of_rows(split.rows))


def open_reference(path: Path, shape: tuple[int, ...], levels: int) -> Reference:
    """What images are held against.

    Args:
        path: of images, of statistics, or of both, as guided-diffusion's batches are.
        shape: of an image that is scored.
        levels: of its values.

    Raises:
        ValueError: it cannot be read, or its images have another shape.
    """
    known = {one.extractor: Known(one) for one in read_statistics(path)} if is_statistics(path) else {}
    if known and not has_images(path):
        return Reference(path.name, None, known)
    images = open_images(path, levels)
    if images.rows.shape != shape:
        raise ValueError(
            f"{path} has images of {images.rows.shape}, and those that are scored are of {shape}: bring both to one "
            f"size by the same program."
        )
    return Reference(path.name, images, known)
