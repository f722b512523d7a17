"""The loss of a classifier of noisy states."""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from losses.of_samples import Losses
from losses.times import TimeSampler
from models.prediction.classifier import NoisyClassifier
from sde_lib.noise import Noise


@dataclass(frozen=True)
class ClassifierLoss:
    """-log p(y | x_t) in nats at random times (Dhariwal & Nichol 2021, section 4.3 and appendix H).

    Args:
        times: distribution of the times.
    """

    times: TimeSampler

    def __call__(self, model: NoisyClassifier, x0: Tensor, noise: Noise, *, y: Tensor) -> Losses:
        """The loss of each sample.

        Args:
            model: the classifier.
            x0: data, (B, ...).
            noise: the samples' streams.
            y: class labels, (B,), int64.
        """
        t = self.times.sample(model.process, noise)
        noisy = model.process.perturb(x0, t, noise)
        values = F.cross_entropy(model(noisy.x, t), y, reduction="none")
        return self.times.weighted(t, values)
