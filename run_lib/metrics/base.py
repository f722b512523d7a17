"""What a metric of a set of images is given, and what it gives."""

from __future__ import annotations

import abc
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar, Literal

import numpy as np

from run_lib.metrics.moments import Moments
from sde_lib.registry import Registry

Output = Literal["features", "logits", "spatial"]
"""What an extractor can give of an image: a vector of features, scores of classes, features of a few channels of a map
(sFID's)."""


Goal = Literal["least", "greatest", "one"]
"""Which value of a number is the best."""


class NoRowsError(ValueError):
    """A set of which only moments are known, where a metric needs the features of every image."""


class View(abc.ABC):
    """A set of images as an extractor sees it.

    Attributes:
        labels: the class of each (N,); None where they are not known.
    """

    labels: np.ndarray | None

    @property
    @abc.abstractmethod
    def count(self) -> int: ...

    @abc.abstractmethod
    def moments(self, output: Output) -> Moments:
        """Mean and covariance of an output, in float64.

        Raises:
            ValueError: the set has no such output; the message says which it has.
        """

    @abc.abstractmethod
    def rows(self, output: Output) -> np.ndarray:
        """An output for every image (N, D), float32; it may stay on disk, and is never changed.

        Raises:
            NoRowsError: only moments are known.
        """

    def of_class(self, label: int) -> View:
        """The images of one class, of a set that knows the class of each.

        Raises:
            NoRowsError: it does not.
        """
        raise NoRowsError("the classes of these images are not known one by one.")


@dataclass(frozen=True)
class InMemory(View):
    """A set whose features are in memory.

    Attributes:
        outputs: name of an output -> (N, D).
        labels: the class of each image (N,).
    """

    outputs: dict[Output, np.ndarray]
    labels: np.ndarray | None = None

    @property
    def count(self) -> int:
        return len(next(iter(self.outputs.values())))

    def moments(self, output: Output) -> Moments:
        return Moments.of(self.rows(output))

    def rows(self, output: Output) -> np.ndarray:
        if output not in self.outputs:
            raise ValueError(f"this extractor gives {', '.join(self.outputs)}, and no {output}.")
        return self.outputs[output]


@dataclass(frozen=True)
class Measured:
    """One number of a set of images.

    Attributes:
        name: of the number within its metric; empty: the metric's only one.
        value: the estimate.
        stderr: its standard error with the reference held fixed, over sets of as many images; None: it has none.
        unit: of the value; empty: a pure number.
        note: what else a reader must know, in words: warnings about too few samples, references.
        low, high: a 95 % interval, where it is not the value and twice the standard error.
    """

    name: str
    value: float
    stderr: float | None
    unit: str = ""
    note: str = ""
    low: float | None = None
    high: float | None = None


class SetMetric(abc.ABC):
    """A metric of a set of images against a reference set, in the space of an extractor.

    Implementations are frozen dataclasses of their settings, registered by ``register_metric``.

    Attributes:
        version: part of each number's protocol: raised whenever the same images get another value.
        outputs: of the extractor, that it reads.
        needs_rows: whether the reference must be there image by image; else its moments are enough.
        needs_reference: whether there must be a reference at all.
        shows_nearest: whether a picture of the nearest samples and images goes with its numbers.
        title: of its numbers in tables, before the extractor's name.
        goals: which value is the best, of each number that every measurement has and sets can be ranked by, by its
            name; the first ranks unless another is asked for. Empty: sets cannot be ranked by it.
    """

    version: ClassVar[int] = 1
    outputs: ClassVar[tuple[Output, ...]] = ("features",)
    needs_rows: ClassVar[bool] = True
    needs_reference: ClassVar[bool] = True
    shows_nearest: ClassVar[bool] = False
    title: ClassVar[str]
    goals: ClassVar[Mapping[str, Goal]] = MappingProxyType({})

    def least(self, dimensions: int) -> int:
        """Images without which it has no meaning, for features of so many dimensions."""
        return 2

    @abc.abstractmethod
    def measure(self, samples: View, reference: View | None, seed: int) -> tuple[Measured, ...]:
        """The numbers of a set of images; the same for the same sets and seed.

        Args:
            samples: the images.
            reference: what they are held against; None only where ``needs_reference`` is false.
            seed: of whatever is drawn: subsets, directions, resampled sets.

        Raises:
            ValueError: too few images; the message says how many are needed.
        """


register_metric: Registry[type[SetMetric]] = Registry("metric")
"""Metrics of sets of images by name. A configuration lists them as ``eval.metrics``: ``frechet@pixels`` is the metric
``frechet`` in the space of the extractor ``pixels``."""
