"""Samples as an extractor is given them: of the shape and the levels that it was made for."""

from __future__ import annotations

import torch
from torch import Tensor


def check_samples(samples: Tensor, shape: tuple[int, ...], levels: int, reader: str) -> None:
    """Refuse samples that an extractor was not made for.

    Args:
        samples: (B, ...).
        shape: of one.
        levels: number of values of a pixel; 0: continuous data.
        reader: the extractor's name, for messages.

    Raises:
        ValueError: another shape, fractions or values that are no levels, or continuous data that are not finite.
    """
    if tuple(samples.shape[1:]) != tuple(shape):
        raise ValueError(
            f"extractor {reader!r} was made for samples of shape {tuple(shape)}, and got {tuple(samples.shape[1:])}: "
            f"give it images of one size and number of channels."
        )
    if not levels:
        if not bool(torch.isfinite(samples).all()):
            raise ValueError(f"extractor {reader!r} got samples that are not finite.")
        return
    if samples.is_floating_point():
        raise ValueError(
            f"extractor {reader!r} sees integer levels from 0 to {levels - 1}, and got {samples.dtype}."
        )
    if samples.numel():
        least, most = (int(one) for one in samples.aminmax())
        if least < 0 or most >= levels:
            raise ValueError(
                f"extractor {reader!r} sees levels from 0 to {levels - 1}, and got values from {least} to {most}."
            )


def in_words(levels: int) -> str:
    """The range of samples, for a protocol."""
    return f"{levels} levels" if levels else "continuous"
