"""A picture of the samples that are nearest to images of the reference, each above its image."""

from __future__ import annotations

from pathlib import Path

from run_lib.metrics.neighbours import nearest_pairs
from run_lib.pictures import rows_of_images, save_png
from run_lib.scoring.features import FeatureStore, Images
from run_lib.scoring.measuring import Scoring
from run_lib.scoring.references import Reference

COUNT = 10
"""Pairs that are shown."""


def show_nearest(
    scoring: Scoring,
    images: Images,
    reference: Reference | None,
    store: FeatureStore,
    levels: int,
    path: Path,
) -> None:
    """Write the picture, in the space of the first metric that looks at nearest neighbours; without one, none.

    Args:
        scoring: whose features have been made.
        images: the samples.
        reference: its images; without images nothing is shown.
        store: of the features.
        levels: of a value; 0: continuous data, which have no black and white and are not shown.
        path: of the picture, a PNG.
    """
    measure = next((one for one in scoring.measures if one.metric.shows_nearest), None)
    if measure is None or reference is None or reference.images is None or not levels:
        return
    samples, real = scoring.views(measure, images, reference, store)
    assert real is not None, "there is a reference"
    pairs = nearest_pairs(samples.rows("features"), real.rows("features"), COUNT)
    above = images.rows.read(pairs.samples).float() / (levels - 1)
    below = reference.images.rows.read(pairs.reference).float() / (levels - 1)
    save_png(rows_of_images([list(above), list(below)]), path)
