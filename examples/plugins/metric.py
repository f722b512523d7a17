"""A metric of sets of images: the energy distance of their features to the reference's."""

from dataclasses import dataclass
from typing import Annotated

from scipy.spatial.distance import cdist

from run_lib.metrics.base import Measured, SetMetric, register_metric
from sde_lib import Range


@register_metric
@dataclass(frozen=True)
class EnergyDistance(SetMetric):
    """2 E|X - Y|^p - E|X - X'|^p - E|Y - Y'|^p (Szekely & Rizzo 2013).

    Args:
        power: p, of the distances.
    """

    title = "energy distance"
    power: Annotated[float, Range(above=0, below=2)] = 1.0

    def measure(self, samples, reference, seed):
        x, y = samples.rows("features"), reference.rows("features")
        xy, xx, yy = ((cdist(a, b) ** self.power).mean() for a, b in ((x, y), (x, x), (y, y)))
        return (Measured("", float(2 * xy - xx - yy), None),)
