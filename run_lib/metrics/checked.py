"""Features that a metric may use: enough of them, all finite, of one space."""

from __future__ import annotations

import numpy as np

from run_lib.metrics.base import Output, View
from run_lib.metrics.moments import BLOCK, Moments


def checked_rows(view: View, output: Output, least: int, title: str) -> np.ndarray:
    """The features of every image of a set (N, D), which may stay on disk.

    Args:
        view: the set.
        output: which features.
        least: images that are needed.
        title: of the metric, for messages.

    Raises:
        NoRowsError: only moments are known.
        ValueError: too few images, or features that are not finite.
    """
    check_count(view, least, title)
    rows = view.rows(output)
    for first in range(0, len(rows), BLOCK):
        bad = ~np.isfinite(rows[first : first + BLOCK]).all(1)
        if bad.any():
            raise ValueError(
                f"{title}: image {first + int(bad.argmax())} has {output} that are not finite (NaN or infinite); "
                "look for it in the images or in the extractor's weights."
            )
    return rows


def checked_pair(samples: View, reference: View | None, output: Output, least: int, title: str) -> Pair:
    """The features of two sets in one space.

    Raises:
        NoRowsError, ValueError: see ``checked_rows``; features of different lengths.
    """
    assert reference is not None
    ours, theirs = (checked_rows(view, output, least, title) for view in (samples, reference))
    if ours.shape[1] != theirs.shape[1]:
        raise ValueError(different_lengths(title, ours.shape[1], theirs.shape[1]))
    return ours, theirs


def checked_moments(view: View, output: Output, title: str) -> Moments:
    """Mean and covariance of a set.

    Raises:
        ValueError: they are not finite.
    """
    with np.errstate(invalid="ignore", over="ignore"):
        moments = view.moments(output)
    if not (np.isfinite(moments.mean).all() and np.isfinite(moments.covariance).all()):
        raise ValueError(
            f"{title}: the {output} have moments that are not finite (NaN or infinite); "
            "look for them in the images or in the extractor's weights."
        )
    return moments


def check_count(view: View, least: int, title: str) -> None:
    """Raises ``ValueError`` of too few images; published moments that record no count pass."""
    if 0 < view.count < least:
        raise ValueError(f"{title} needs {least} images or more, and there are {view.count}.")


def different_lengths(title: str, ours: int, theirs: int) -> str:
    return (
        f"{title}: the samples have {ours} features and the reference {theirs}; they come from different "
        "extractors or from images of different sizes."
    )


Pair = tuple[np.ndarray, np.ndarray]
