"""The Inception Score: how sure a classifier is of each image, and how evenly images fill its classes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from types import MappingProxyType
from typing import Annotated, ClassVar

import numpy as np
import torch

from run_lib.metrics.base import Goal, Measured, Output, SetMetric, View, register_metric
from run_lib.metrics.checked import checked_rows
from sde_lib.settings import Range


@register_metric(name="inception_score")
@dataclass(frozen=True)
class InceptionScore(SetMetric):
    """exp of the mean of KL(p(class | image) || p(class)) (Salimans et al. 2016), averaged over parts of the samples.

    The order of the samples is shuffled before they are split, since samples often come class by class. Finite parts
    make it too small, since their own mean stands for p(class).

    Args:
        splits: parts, each of which has its own p(class).
    """

    title: ClassVar[str] = "Inception Score"
    goals: ClassVar[Mapping[str, Goal]] = MappingProxyType({"": "greatest"})
    outputs: ClassVar[tuple[Output, ...]] = ("logits",)
    needs_rows: ClassVar[bool] = False
    needs_reference: ClassVar[bool] = False

    splits: Annotated[int, Range(least=1, most=10**6)] = 10

    def least(self, dimensions: int) -> int:
        return 2 * self.splits

    def measure(self, samples: View, reference: View | None, seed: int) -> tuple[Measured, ...]:
        rows = checked_rows(samples, "logits", self.least(0), self.title)
        order = np.random.default_rng(seed).permutation(len(rows))
        edges = [part * len(rows) // self.splits for part in range(self.splits + 1)]
        parts = [_score(rows[np.sort(order[a:b])]) for a, b in pairwise(edges)]
        scores = np.array([part.score for part in parts])
        error = math.sqrt(sum(part.stderr**2 for part in parts)) / self.splits
        bias = float(np.mean([part.bias for part in parts]))
        note = f"biased: about {100 * bias:.2g} % too small for want of samples" if bias > 0.005 else ""
        found = Measured("", float(scores.mean()), error, note=note)
        if self.splits == 1:
            return (found,)
        deviation = Measured(
            "deviation of splits", float(scores.std()), None, note="what papers print after +-"
        )
        return found, deviation


@dataclass(frozen=True)
class _Part:
    """Of some samples: their score, its standard error, and the share by which it is too small."""

    score: float
    stderr: float
    bias: float


def _score(logits: np.ndarray) -> _Part:
    logs = torch.from_numpy(logits.astype(np.float64)).log_softmax(1).numpy()
    shares = np.exp(logs)
    # The marginal is the mean of shares, and zero only where all of them are.
    marginal = shares.mean(0)
    seen = marginal > 0
    divergences = (shares[:, seen] * (logs[:, seen] - np.log(marginal[seen]))).sum(1)
    score = math.exp(divergences.mean())
    # The marginal's own error adds nothing to first order: the mean divergence is least there. To second order it
    # takes half of its chi-square distance from the truth.
    bias = (shares[:, seen].var(0, ddof=1) / marginal[seen]).sum() / (2 * len(logits))
    return _Part(score, score * divergences.std(ddof=1) / math.sqrt(len(logits)), float(bias))
