"""What a sweep has found."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from run_lib.statistics import Interval, t_interval
from run_lib.tuning.comparison import Comparison, run_around
from run_lib.tuning.scores import Metric
from run_lib.tuning.sweep import Candidate, Sweep


@dataclass(frozen=True)
class Row:
    """A candidate, the scores of its sets (metrics, repeats) in the order of the metrics, and its cost."""

    candidate: Candidate
    values: np.ndarray
    nfe: float
    seconds: float

    def interval(self, metric: int, confidence: float) -> Interval:
        return t_interval(self.values[metric], confidence)


@dataclass(frozen=True)
class Findings:
    """A whole sweep.

    Attributes:
        sweep: what was tried.
        metrics: what was measured.
        ranked_by: the metric that decides.
        rows: one for each candidate, in the sweep's order.
        comparison: by the deciding metric, with the candidates' numbers.
        confidence: of every interval.
    """

    sweep: Sweep
    metrics: tuple[Metric, ...]
    ranked_by: Metric
    rows: tuple[Row, ...]
    comparison: Comparison
    confidence: float

    @property
    def best(self) -> Candidate:
        return self.rows[self.comparison.best].candidate

    @property
    def at_the_edge(self) -> bool:
        """Whether the best of one number's values is its least or its largest: a better one may lie beyond."""
        if not self.sweep.numeric:
            return False
        values = [row.candidate.changes[0].value for row in self.rows]
        return self.best.changes[0].value in (min(values), max(values))

    @property
    def as_good(self) -> list[Candidate]:
        """The candidates that cannot be told from the best: of one number, those next to it without a gap."""
        equal = self.comparison.equal
        if not self.sweep.numeric:
            return [row.candidate for row, same in zip(self.rows, equal, strict=True) if same]
        field = self.sweep.fields[0]
        order = sorted(range(len(self.rows)), key=lambda i: self.rows[i].candidate[field])
        return [self.rows[i].candidate for i in run_around(self.comparison.best, equal, order)]
