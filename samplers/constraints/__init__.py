"""Projections of the state onto what is known of it."""

from samplers.constraints.repaint import Resampling, repaint, resampled
from samplers.constraints.replacement import Replacement

__all__ = ["Replacement", "Resampling", "repaint", "resampled"]
