"""Statistics of the features of a set of images, ours and those of other programs: read, checked and written."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from run_lib.extractors.base import Extractor
from run_lib.files import as_json, atomic
from run_lib.metrics.base import Output
from run_lib.metrics.moments import Moments

ABOUT = "images"
"""The entry of a protocol that says of which images statistics are; all others say how their features were made."""
OUTPUTS: tuple[Output, ...] = ("features", "logits", "spatial")
ASYMMETRY = 1e-5
"""Of a covariance against its transpose, relative to its largest entry: float32 leaves some."""


@dataclass(frozen=True)
class Statistics:
    """What a file tells of a set of images in the space of one extractor.

    Attributes:
        path: of the file.
        form: whose file it is, in words.
        extractor: the registered name of that whose features it is of.
        moments: means and covariances, by output; their count is 0 where no number of images is recorded.
        rows: features of every image (N, D) by output, where it has these.
        protocol: how the features were made, and of which images; empty: the file does not say.
        label_counts: images of each class (K,); None where classes are not known.
    """

    path: Path
    form: str
    extractor: str
    moments: Mapping[Output, Moments]
    rows: Mapping[Output, np.ndarray] = field(default_factory=dict)
    protocol: Mapping[str, str] = field(default_factory=dict)
    label_counts: np.ndarray | None = None

    def check(self, name: str, extractor: Extractor) -> None:
        """Refuse statistics of other features than an extractor's.

        Args:
            name: the extractor's registered name.
            extractor: which makes the features that they are held against.

        Raises:
            ValueError: they are of another extractor, size, weights, resize or range.
        """
        if self.extractor != name:
            raise ValueError(
                f"{self.path} has statistics of the extractor {self.extractor!r} ({self.form}), and {name!r} is asked "
                f"for: take METRIC@{self.extractor}, or statistics of {name!r}."
            )
        for output, found in self.moments.items():
            expected = extractor.dimensions.get(output)
            if expected is not None and expected != len(found.mean):
                raise ValueError(
                    f"{self.path} has {output} of {len(found.mean)} dimensions, and {name!r} gives {expected}: "
                    f"they are of another network or layer."
                )
        here = dict(extractor.protocol)
        there = {key: value for key, value in self.protocol.items() if key != ABOUT}
        wrong = [key for key in {**here, **there} if there and here.get(key) != there.get(key)]
        if wrong:
            what = "; ".join(f"{key}: {there.get(key)!r} there, {here.get(key)!r} here" for key in wrong)
            raise ValueError(
                f"{self.path} has statistics that {name!r} made in another way ({what}): write them anew by "
                f"--mode stats, or give the images."
            )


_ANEW = "fetch the file again, or make it anew with --mode stats --config.stats.extractors=NAME."


def checked_moments(where: str, mean: np.ndarray, covariance: np.ndarray, count: int = 0) -> Moments:
    """A mean and a covariance from a file, in float64.

    Args:
        where: they are from, for messages.
        mean: (D,).
        covariance: (D, D).
        count: images that they are of; 0: it is not recorded.

    Raises:
        ValueError: other shapes or types, values that are not finite, no covariance.
    """
    size = mean.shape[0] if mean.ndim == 1 else 0
    if not size or covariance.shape != (size, size):
        raise ValueError(
            f"{where}: the mean has the shape {mean.shape} and the covariance {covariance.shape}; expected "
            f"(D,) and (D, D)."
        )
    if mean.dtype.kind != "f" or covariance.dtype.kind != "f":
        raise ValueError(
            f"{where}: mean and covariance are {mean.dtype} and {covariance.dtype}; expected floats."
        )
    mean, covariance = mean.astype(np.float64), covariance.astype(np.float64)
    if not (np.isfinite(mean).all() and np.isfinite(covariance).all()):
        raise ValueError(f"{where}: the mean or the covariance has values that are not finite; {_ANEW}")
    largest = float(np.abs(covariance).max())
    if float(np.abs(covariance - covariance.T).max()) > ASYMMETRY * largest:
        raise ValueError(f"{where}: the covariance is not symmetric; {_ANEW}")
    if float(covariance.diagonal().min()) < -ASYMMETRY * largest:
        raise ValueError(f"{where}: the covariance has a negative variance; {_ANEW}")
    return Moments(mean, covariance, count)


def checked_rows(where: str, rows: np.ndarray) -> np.ndarray:
    """Features of every image (N, D) from a file, as they are.

    Raises:
        ValueError: another shape or type, fewer than two images, values that are not finite.
    """
    if rows.ndim != 2 or rows.dtype.kind != "f" or len(rows) < 2 or not rows.shape[1]:
        raise ValueError(
            f"{where} is {rows.dtype} of shape {rows.shape}; expected floats (N, D) of two images or more."
        )
    if not np.isfinite(rows).all():
        raise ValueError(f"{where} has values that are not finite; {_ANEW}")
    return rows


def write_statistics(
    path: Path,
    extractor: str,
    moments: Mapping[Output, Moments],
    protocol: Mapping[str, str],
    labels: np.ndarray | None = None,
) -> None:
    """Write statistics in our form: an ``.npz`` with ``OUTPUT_mean``, ``OUTPUT_covariance``, ``count``, ``protocol``.

    Args:
        path: of the file.
        extractor: the registered name of that whose features they are of.
        moments: of the same images, by output.
        protocol: the extractor's, and under ``images`` of which images they are.
        labels: the class of each image (N,), of which the file keeps how many each has.
    """
    (count,) = {found.count for found in moments.values()}
    arrays: dict[str, Any] = {f"{output}_mean": found.mean for output, found in moments.items()}
    arrays |= {f"{output}_covariance": found.covariance for output, found in moments.items()}
    if labels is not None:
        arrays["label_counts"] = np.bincount(labels[labels >= 0])
    facts = np.array(as_json({"extractor": extractor, "protocol": dict(protocol)}))
    with atomic(path) as partial, partial.open("wb") as file:
        np.savez(file, count=np.array(count), protocol=facts, **arrays)


def write_score_sde(path: Path, features: np.ndarray, logits: np.ndarray | None = None) -> None:
    """Write statistics in score_sde's form, ``*_stats.npz``: the features of every image, ``pool_3``.

    Args:
        path: of the file.
        features: (N, D); they may stay on disk.
        logits: (N, K), where there are any.
    """
    arrays: dict[str, Any] = (
        {"pool_3": features} if logits is None else {"pool_3": features, "logits": logits}
    )
    with atomic(path) as partial, partial.open("wb") as file:
        np.savez(file, **arrays)


def as_protocol(text: str) -> tuple[str, dict[str, str]]:
    """The extractor and the protocol that a file of ours has.

    Raises:
        ValueError: it is of another form; a predicate that follows the file's name.
    """
    try:
        held = json.loads(text)
        name, protocol = held["extractor"], held["protocol"]
        whole = isinstance(name, str) and all(isinstance(value, str) for value in protocol.values())
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise ValueError("has a protocol that is none of ours") from error
    if not whole:
        raise ValueError("has a protocol that is none of ours")
    return name, dict(protocol)
