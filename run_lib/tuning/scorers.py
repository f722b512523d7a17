"""Scorers of samples: against data, or against a density in closed form; and which of them suits a data set."""

from __future__ import annotations

import numpy as np

from models.exact.mixtures import Modes
from run_lib.metrics.gaussians import frechet_distance
from run_lib.metrics.moments import Moments
from run_lib.metrics.precision_recall import precision_recall
from run_lib.tuning.features import register_features
from run_lib.tuning.scores import Metric, Score, Scorer, as_rows, register_scorer

FRECHET = Metric("frechet", "least", "Fréchet distance")
PRECISION = Metric("precision", "greatest", "precision")
RECALL = Metric("recall", "greatest", "recall")
VARIANCE = Metric("variance", "one", "variance / the target's")
WEIGHTS = Metric("weights", "least", "total variation distance of the modes' shares")


@register_scorer(name="data")
class AgainstData(Scorer):
    """Fréchet distance to all real samples, precision and recall, in a feature space.

    Args:
        features: the feature space: pixels, pca, or one of a plugin's.

    Raises:
        ValueError: the feature space is unknown, or a set has too few samples for a covariance of the features.
    """

    def __init__(self, real: np.ndarray, count: int, features: str = "pixels") -> None:
        self.metrics = (FRECHET, PRECISION, RECALL)
        rows = as_rows(real)
        self._features = register_features[features](rows)
        self._real = self._features(rows)
        if count <= self._real.shape[1]:
            raise ValueError(
                f"config.tune.num_samples={count} cannot give a covariance of {self._real.shape[1]} features; "
                f"ask for more, or for fewer features (tune.features='pca')."
            )
        self._fitted = Moments.of(self._real)

    def scores(self, samples: np.ndarray) -> tuple[Score, ...]:
        fake = self._features(as_rows(samples))
        near = precision_recall(self._real, fake)
        return (
            Score("frechet", frechet_distance(Moments.of(fake), self._fitted)),
            Score("precision", near.precision.value),
            Score("recall", near.recall.value),
        )


@register_scorer(name="modes")
class AgainstModes(Scorer):
    """Distances to Gaussian modes in closed form.

    Each sample is assigned to the mode that is likeliest to have made it. The scores are the Fréchet distance to
    the true mean and covariance, where a set has samples enough for a covariance; of several modes, the total
    variation distance of their shares, half the sum of |share - weight|; and the variance of samples about the
    mean of their mode, in units of the mode's own variance.
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
        self._moments = Moments(mean, spread + between)

    def scores(self, samples: np.ndarray) -> tuple[Score, ...]:
        x = as_rows(samples)
        squares = np.stack([((x - m) / s) ** 2 for m, s in zip(self._means, self._stds, strict=True)], 1)
        log_joint = np.log(self._weights) - 0.5 * squares.sum(2) - np.log(self._stds).sum(1)
        mode = log_joint.argmax(1)
        shares = np.bincount(mode, minlength=len(self._weights)) / len(x)
        found = {
            FRECHET: lambda: frechet_distance(Moments.of(x), self._moments),
            WEIGHTS: lambda: 0.5 * np.abs(shares - self._weights).sum(),
            VARIANCE: lambda: squares[np.arange(len(x)), mode].mean(),
        }
        return tuple(Score(metric.name, float(found[metric]())) for metric in self.metrics)
