"""A seed for each use of randomness, so that no two uses share random streams."""

from __future__ import annotations

import enum


class Use(enum.IntEnum):
    """The uses of randomness in a run."""

    INITIALISATION = 0
    TRAINING = 1
    VALIDATION = 2
    PREVIEW = 3
    SAMPLING = 4
    LIKELIHOOD = 5
    EVAL_LOSS = 6
    BOOTSTRAP = 7
    CONTROL = 8
    MEASUREMENT = 9
    OPERATOR = 10
    TUNING = 11
    PILOT = 12
    DEQUANTISATION = 13
    ORDER = 14
    DROPOUT = 15
    EXTRACTOR = 16


def step_seed(seed: int, use: Use, step: int) -> int:
    """The seed of torch's own generator in a step, in the 64 bits that it takes."""
    return (stream_seed(seed, use) * 1_000_003 + step) % 2**64


def stream_seed(seed: int, use: Use) -> int:
    """The seed of one use of randomness in a run with the given seed."""
    return seed * 1000 + int(use)
