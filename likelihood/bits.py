"""Log-densities as bits per dimension of discrete data."""

from __future__ import annotations

import math

from torch import Tensor


def bits_per_dim(logp: Tensor, num_dims: int, *, levels: int | None, data_range: float) -> Tensor:
    """-log p / (D ln 2) + log2(levels / range): what a dequantised value costs to store.

    The density is over values scaled to an interval of width ``data_range`` and dequantised within bins
    of width ``data_range / levels``; the second term turns the density into a probability per bin
    (Theis et al. 2016, section 3.1). For 256 levels it is 7 on [-1, 1] and 8 on [0, 1]. The uniform
    density on the range costs exactly log2(levels).

    Args:
        logp: log-densities in nats, any shape.
        num_dims: D, the number of elements of a sample.
        levels: distinct values that an element of the undequantised data takes.
        data_range: width of the interval: 2 for centred data, 1 for uncentred.

    Raises:
        ValueError: continuous data (no levels), which have a density in nats and no cost in bits.
    """
    if levels is None or levels < 1:
        raise ValueError(
            f"bits/dim is the cost of data with a number of levels, got levels={levels}. Continuous data "
            "have none, and their density as bits/dim is meaningless: report nats, or set "
            "data.levels (256 for 8-bit images) and dequantise."
        )
    if num_dims < 1 or data_range <= 0:
        raise ValueError(f"num_dims and data_range must be positive, got {num_dims} and {data_range}.")
    return -logp.double() / (num_dims * math.log(2)) + math.log2(levels / data_range)
