"""The results of a sweep: the scores of each candidate, and the comparison of all."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from run_lib.config.sweep import Candidate, Sweep
from run_lib.statistics import Interval, t_interval
from run_lib.tuning.comparison import Comparison, runs
from run_lib.tuning.scores import Metric


@dataclass(frozen=True)
class CandidateScores:
    """The scores of one candidate, and what they cost.

    Attributes:
        candidate: the settings that were tried.
        values: scores of its sets of samples, (metrics, repeats).
        nfe: network evaluations for each sample.
        seconds: time that all its sets took.
        lost: indices of samples that are not finite.
    """

    candidate: Candidate
    values: np.ndarray
    nfe: float
    seconds: float
    lost: tuple[int, ...] = ()

    @property
    def failed(self) -> bool:
        """Whether a sample or a score is not finite: such a candidate is never chosen."""
        return bool(self.lost) or not bool(np.isfinite(self.values).all())

    def interval(self, metric: int, confidence: float) -> Interval:
        """Student's interval of one metric's mean over the sets."""
        return t_interval(self.values[metric], confidence)


@dataclass(frozen=True)
class SweepResult:
    """The results of a whole sweep.

    Attributes:
        sweep: the candidates.
        metrics: the metrics of each set of samples.
        ranked_by: the metric by which candidates are compared.
        rows: the scores of each candidate, in the order of the sweep.
        comparison: of the candidates by that metric; its indices are those of ``rows``.
        confidence: of every interval of a mean, and of all differences to the best together.
    """

    sweep: Sweep
    metrics: tuple[Metric, ...]
    ranked_by: Metric
    rows: tuple[CandidateScores, ...]
    comparison: Comparison
    confidence: float

    @property
    def best(self) -> Candidate:
        return self.rows[self.comparison.best].candidate

    @property
    def at_the_edge(self) -> bool:
        """Whether one number was varied and its best value is the least or the largest: a better one may lie beyond."""
        if not self.sweep.numeric:
            return False
        values = [row.candidate.changes[0].value for row in self.rows]
        return self.best.changes[0].value in (min(values), max(values))

    @property
    def runs(self) -> list[list[Candidate]]:
        """The candidates that cannot be told from the best: of one number's values, in their order, apart where one
        that can lies between; else all in one, in the order of the sweep."""
        order, equal = list(range(len(self.rows))), self.comparison.equal
        if self.sweep.numeric:
            order.sort(key=lambda i: self.rows[i].candidate[self.sweep.fields[0]])
            return [[self.rows[i].candidate for i in run] for run in runs(equal, order)]
        return [[self.rows[i].candidate for i in order if equal[i]]]

    @property
    def as_good(self) -> list[Candidate]:
        """The candidates that cannot be told from the best, itself among them."""
        return [candidate for run in self.runs for candidate in run]
