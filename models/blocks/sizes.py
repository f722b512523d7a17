"""The spatial sizes of DDPM and NCSN++: the levels of an image, and which sizes a network can process."""

from __future__ import annotations

from collections.abc import Sequence

from models.blocks.convolution import RANKS, Sizes


def resolutions(image_size: Sizes, levels: int) -> list[int]:
    """The longer side at each level; an attention resolution is compared with it."""
    side = image_size if isinstance(image_size, int) else max(image_size)
    return [side // 2**level for level in range(levels)]


def spatial_rank(image_size: Sizes) -> int:
    """The number of spatial axes: a bare int is a square image.

    Raises:
        ValueError: a rank without convolutions, or a size that is not positive.
    """
    sizes = (image_size, image_size) if isinstance(image_size, int) else tuple(image_size)
    if len(sizes) not in RANKS or min(sizes) < 1:
        raise ValueError(
            f"image_size {image_size!r} is not a size; give one int (a square image) or one positive int "
            "for each of 1, 2 or 3 spatial axes."
        )
    return len(sizes)


def check_divisible(
    shape: Sequence[int],
    *,
    channels: int,
    rank: int,
    factor: int,
    why: str = "the network's total down-sampling",
    remedy: str = "give the network fewer levels (channel_mult)",
) -> None:
    """Refuse a sample shape (C, ...) that a network of total down-sampling ``factor`` cannot process.

    Args:
        shape: of a sample.
        channels, rank: that the network takes.
        factor: that every size must divide by.
        why: what the factor is, for the message.
        remedy: what to do beside resizing or padding the data.

    Raises:
        ValueError: naming the axis and the nearest sizes that work.
    """
    if len(shape) != rank + 1:
        raise ValueError(
            f"sample shape {tuple(shape)} has {len(shape) - 1} spatial axes; this network has {rank}."
        )
    if shape[0] != channels:
        raise ValueError(
            f"sample shape {tuple(shape)} has {shape[0]} channels; this network takes {channels}."
        )
    for size in shape[1:]:
        if size < factor or size % factor:
            below = size // factor * factor
            near = f"{below} or {below + factor}" if below else f"{factor}"
            raise ValueError(
                f"sample shape {tuple(shape)}: size {size} does not divide by {factor}, {why}; allowed are "
                f"multiples of {factor}, the nearest {near}. "
                f"Resize or pad the data, or {remedy}."
            )
