"""Scores of sets of samples, and the interface of whatever computes them."""

from __future__ import annotations

import abc
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from run_lib.metrics.base import Goal
from sde_lib.registry import Registry, unknown_name


@dataclass(frozen=True)
class Metric:
    """A number that tells good samples from bad ones.

    Attributes:
        name: the metric's name in settings and tables.
        goal: which of its values is the best.
        what: the metric in words, for plots.
    """

    name: str
    goal: Goal
    what: str

    def loss(self, value: np.ndarray) -> np.ndarray:
        """A function of the metric that is least for the best samples."""
        return {"least": value, "greatest": -value, "one": np.abs(value - 1)}[self.goal]


@dataclass(frozen=True)
class Score:
    """One metric of one set of samples."""

    metric: str
    value: float


class Scorer(abc.ABC):
    """Scores sets of samples.

    Attributes:
        metrics: what it measures. Samples are ranked by the first one, unless another is chosen.
    """

    metrics: tuple[Metric, ...]

    @abc.abstractmethod
    def scores(self, samples: np.ndarray) -> tuple[Score, ...]:
        """One score for each of ``metrics``, of samples (N, ...) given as levels of the data."""

    @property
    def protocol(self) -> Mapping[str, str]:
        """What its scores depend on beside the samples, the data and the configuration, in words, by name: hashes of
        other files, versions."""
        return {}

    def metric(self, name: str | None) -> Metric:
        """The metric of the given name; the first one without a name.

        Raises:
            ValueError: no metric has this name.
        """
        if name is None:
            return self.metrics[0]
        for metric in self.metrics:
            if metric.name == name:
                return metric
        raise ValueError(
            unknown_name("config.tune.metric for these data", name, [m.name for m in self.metrics])
        )


CONTEXT = ("data", "real", "modes", "count", "spaces")
"""What the program gives a scorer that names it: the data set, all of its samples (N, ...), the modes of its density,
the number of samples in each set that will be scored, and the metrics of ``tune.metrics`` in the spaces of their
extractors (``tuning.by_metrics.InSpace``)."""

register_scorer: Registry[type[Scorer]] = Registry("scorer")
"""Subclasses of ``Scorer``. Their constructors may name what ``CONTEXT`` lists, which the
program gives; every other parameter is a setting, with a type, a default and a description under Args."""


def as_rows(samples: np.ndarray) -> np.ndarray:
    """Samples (N, ...) as rows (N, D) in float64."""
    return samples.reshape(len(samples), -1).astype(np.float64)
