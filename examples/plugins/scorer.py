"""A scorer of samples: energy distance to the data."""

from typing import Annotated

import numpy as np
from scipy.spatial.distance import cdist

from run_lib.tuning.scores import Metric, Score, Scorer, as_rows, register_scorer
from sde_lib import Range

ENERGY = Metric("energy", "least", "energy distance")


@register_scorer
class Energy(Scorer):
    """2 E|X - Y|^p - E|X - X'|^p - E|Y - Y'|^p (Szekely & Rizzo 2013).

    Args:
        power: p, of the distances.
    """

    def __init__(self, real: np.ndarray, power: Annotated[float, Range(above=0, below=2)] = 1.0):
        self.metrics, self.real, self.power = (ENERGY,), as_rows(real), power

    def scores(self, samples: np.ndarray) -> tuple[Score, ...]:
        x, y = as_rows(samples), self.real
        xy, xx, yy = ((cdist(a, b) ** self.power).mean() for a, b in ((x, y), (x, x), (y, y)))
        return (Score("energy", float(2 * xy - xx - yy)),)
