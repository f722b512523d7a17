"""How good a set of samples is: against data, or against a density in closed form."""

from __future__ import annotations

import abc
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from models.exact.mixtures import Modes
from run_lib.data.spec import DataSpec
from run_lib.evaluation.metrics import Gaussian, frechet_distance, precision_recall
from sde_lib.registry import Registry, unknown_name

Goal = Literal["least", "greatest", "one"]
"""Which value of a metric is the best."""


@dataclass(frozen=True)
class Metric:
    """A number that tells good samples from bad ones.

    Attributes:
        name: of the metric.
        goal: its best value.
        what: it in words, for tables and plots.
    """

    name: str
    goal: Goal
    what: str

    def loss(self, value: np.ndarray) -> np.ndarray:
        """What is least for the best samples."""
        return {"least": value, "greatest": -value, "one": np.abs(value - 1)}[self.goal]


@dataclass(frozen=True)
class Score:
    """One metric of one set of samples."""

    metric: str
    value: float


FRECHET = Metric("frechet", "least", "Fréchet distance")
PRECISION = Metric("precision", "greatest", "precision")
RECALL = Metric("recall", "greatest", "recall")
VARIANCE = Metric("variance", "one", "variance / the target's")
WEIGHTS = Metric("weights", "least", "total variation distance of the modes' shares")

Features = Callable[[np.ndarray], np.ndarray]
register_features: Registry[Callable[[np.ndarray], Features]] = Registry("feature space")
"""Functions of the real data (N, D), one row a sample, which give a map (N, D) -> (N, F)."""


@register_features(name="pixels")
def pixels(real: np.ndarray) -> Features:
    """The levels themselves."""
    return lambda samples: samples


@register_features(name="pca")
def pca(real: np.ndarray) -> Features:
    """The 20 first principal components of the real data."""
    from sklearn.decomposition import PCA

    fitted = PCA(min(20, *real.shape), random_state=0).fit(real)
    return lambda samples: np.asarray(fitted.transform(samples))


class Scorer(abc.ABC):
    """Scores sets of samples.

    Attributes:
        metrics: what it measures; samples are ranked by the first unless another is asked for.
    """

    metrics: tuple[Metric, ...]

    @abc.abstractmethod
    def scores(self, samples: np.ndarray) -> tuple[Score, ...]:
        """Of samples (N, ...), as levels of the data: one score for each of ``metrics``."""

    def metric(self, name: str | None) -> Metric:
        """The metric of the given name, the first without one.

        Raises:
            ValueError: it is none of these.
        """
        if name is None:
            return self.metrics[0]
        for metric in self.metrics:
            if metric.name == name:
                return metric
        raise ValueError(
            unknown_name("config.tune.metric for these data", name, [m.name for m in self.metrics])
        )


class AgainstData(Scorer):
    """Frechet distance to all real samples, precision and recall, in a feature space.

    Args:
        real: all real data, (N, ...).
        features: name of a feature space.
        count: samples of each set.

    Raises:
        ValueError: an unknown feature space, or fewer samples than a covariance of it needs.
    """

    def __init__(self, real: np.ndarray, features: str, count: int) -> None:
        self.metrics = (FRECHET, PRECISION, RECALL)
        rows = _rows(real)
        self._features = register_features[features](rows)
        self._real = self._features(rows)
        if count <= self._real.shape[1]:
            raise ValueError(
                f"config.tune.num_samples={count} cannot give a covariance of {self._real.shape[1]} features; "
                f"ask for more, or for fewer features (tune.features='pca')."
            )
        self._fitted = Gaussian.fit(self._real)

    def scores(self, samples: np.ndarray) -> tuple[Score, ...]:
        fake = self._features(_rows(samples))
        near = precision_recall(self._real, fake)
        return (
            Score("frechet", frechet_distance(Gaussian.fit(fake), self._fitted)),
            Score("precision", near.precision.value),
            Score("recall", near.recall.value),
        )


class AgainstModes(Scorer):
    """Against Gaussian modes in closed form.

    The Frechet distance to the true mean and covariance, where there are samples enough for a covariance; the
    variance of samples about the mean of their mode, in units of the mode's own; and, of several modes, half
    the sum of |share - weight|. A sample is of the mode that is likeliest to have made it.

    Args:
        modes: of the density.
        count: samples of each set.
    """

    def __init__(self, modes: Modes, count: int) -> None:
        self._means, self._stds = (v.cpu().numpy() for v in (modes.means, modes.stds))
        self._weights = modes.weights.cpu().numpy()
        kinds, dims = self._means.shape
        self.metrics = (
            *([FRECHET] if count > dims else []),
            *([WEIGHTS] if kinds > 1 else []),
            VARIANCE,
        )
        mean = self._weights @ self._means
        spread = np.diag(self._weights @ self._stds**2)
        between = (self._means * self._weights[:, None]).T @ self._means - np.outer(mean, mean)
        self._moments = Gaussian(mean, spread + between)

    def scores(self, samples: np.ndarray) -> tuple[Score, ...]:
        x = _rows(samples)
        squares = np.stack([((x - m) / s) ** 2 for m, s in zip(self._means, self._stds, strict=True)], 1)
        log_joint = np.log(self._weights) - 0.5 * squares.sum(2) - np.log(self._stds).sum(1)
        mode = log_joint.argmax(1)
        shares = np.bincount(mode, minlength=len(self._weights)) / len(x)
        found = {
            FRECHET: lambda: frechet_distance(Gaussian.fit(x), self._moments),
            WEIGHTS: lambda: 0.5 * np.abs(shares - self._weights).sum(),
            VARIANCE: lambda: squares[np.arange(len(x)), mode].mean(),
        }
        return tuple(Score(metric.name, float(found[metric]())) for metric in self.metrics)


def _rows(samples: np.ndarray) -> np.ndarray:
    return samples.reshape(len(samples), -1).astype(np.float64)


def scorer_of(data: DataSpec, features: str, count: int) -> Scorer:
    """What scores samples of these data: their density where it is known, else all of the data.

    Args:
        data: what a sample is.
        features: in which data are compared.
        count: samples of each set.
    """
    if data.density is not None:
        return AgainstModes(data.density.modes(data.shape), count)
    real = np.concatenate([data.load(split).images.numpy() for split in ("train", "test")])
    return AgainstData(real, features, count)
