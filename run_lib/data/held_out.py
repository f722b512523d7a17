"""The part of a data set without a test split that is held out of training, as its test split."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from run_lib.data.split import MissingSplitError, Split


def part_of(everything: Split, split: str, fraction: float, names: Sequence[str] = ()) -> Split:
    """What is held out, or the rest.

    Args:
        everything: all samples.
        split: "test", the samples that are held out, or "train", the others.
        fraction: of the samples that are held out, in [0, 1).
        names: of the samples. The hash of a name decides, so that a sample stays where it is when others are added;
            without names, a permutation of as many rows.

    Raises:
        MissingSplitError: nothing is held out.
    """
    if split == "train" and not fraction:
        return everything
    count = len(everything)
    if names:
        held = np.fromiter((_place(name) < fraction for name in names), bool, count)
    else:
        held = np.zeros(count, bool)
        held[np.random.default_rng(0).permutation(count)[: round(count * fraction)]] = True
    chosen = np.flatnonzero(held if split == "test" else ~held)
    if not len(chosen):
        raise MissingSplitError(
            f"the data have no {split} split: data.test_fraction={fraction} of {count} samples leaves it none: "
            f"set another fraction between 0 and 1, or add samples."
        )
    return everything.picked(chosen)


def _place(name: str) -> float:
    """A number in [0, 1) that is a function of the name."""
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=6).digest(), "big") / 2**48
