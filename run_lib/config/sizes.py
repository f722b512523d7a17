"""Products of numbers that size what is allocated: refused before it is, where no work would ever need so much.

What each number may be on its own is declared with the setting.
"""

from __future__ import annotations

import math

from ml_collections import ConfigDict

from models.blocks.ranges import MOST_CHANNELS
from run_lib.pictures import MOST_PIXELS, MOST_POINTS, pixels_of_picture

MOST_ELEMENTS = 2**31
"""Values of one array: 8 GiB of float32."""
MOST_OF_A_BATCH = 2**29
"""Values of what is computed at once: 128 images of 1024x1024 in colour are 4e8. Their noise takes 8 bytes each."""
MOST_LEVELS = 2**38
"""Levels of a set of samples, 256 GiB as bytes."""
MOST_WEIGHTS = 2**32
"""Of a network, by the convolutions that its width and its blocks ask for at least."""


def check_sizes(config: ConfigDict, shape: tuple[int, ...]) -> None:
    """Refuse numbers by which arrays, networks or lists would be larger than any work needs.

    Args:
        config: complete.
        shape: of a sample.

    Raises:
        ValueError: naming the field, what it would take and the most that is allowed.
    """
    size = math.prod(shape)
    if size > MOST_ELEMENTS:
        raise ValueError(
            f"a sample of shape {shape} has {size} values, and at most {MOST_ELEMENTS} are allowed: lower "
            f"config.data.image_size, num_channels or shape."
        )
    _check_arrays(config, size)
    _check_network(config.model)
    _check_picture(config, shape)


def _check_arrays(config: ConfigDict, size: int) -> None:
    """Arrays of so many samples, each of ``size`` values."""
    sampling, drawn = config.sampling, config.sampling.num_samples
    arrays = {
        "training.batch_size": min(
            config.training.microbatch or config.training.batch_size, config.training.batch_size
        ),
        "sampling.batch_size": min(sampling.batch_size, drawn),
        "sampling.grid_size": min(sampling.grid_size, drawn),
        "tune.pilot_samples": config.tune.pilot_samples,
        "data.num_draws": config.data.get("num_draws") or 0,
        "control.measurements": config.control.get("measurements") or 0,
    }
    for path, count in arrays.items():
        if isinstance(count, int) and count * size > MOST_OF_A_BATCH:
            raise ValueError(
                f"config.{path}={count} asks for an array of {count} x {size} values, and at most {MOST_OF_A_BATCH} "
                f"are allowed: take at most {MOST_OF_A_BATCH // size}."
            )
    # Kept as levels, of a byte as a rule: 50,000 images of 256x256 are 10 GB.
    for path, count in (
        ("tune.num_samples", config.tune.num_samples),
        ("eval.num_samples", config.eval.get("num_samples")),
    ):
        if isinstance(count, int) and count * size > MOST_LEVELS:
            raise ValueError(
                f"config.{path}={count} keeps {count} x {size} levels, and at most {MOST_LEVELS} are allowed: take at "
                f"most {MOST_LEVELS // size}."
            )


def _check_network(model: ConfigDict) -> None:
    width, blocks = model.get("nf"), model.get("num_res_blocks")
    multiples = model.get("ch_mult", (1,))
    if multiples is not None and not multiples:
        raise ValueError(
            "config.model.ch_mult is empty: give a multiple of nf for each resolution, such as (1,2)."
        )
    multiples = multiples or (1,)
    if not isinstance(width, int) or not all(isinstance(m, int) for m in multiples):
        return
    if len(multiples) > 32:
        raise ValueError(
            f"config.model.ch_mult has {len(multiples)} resolutions, and at most 32 are allowed."
        )
    widest = width * max(multiples)
    if widest > MOST_CHANNELS:
        raise ValueError(
            f"config.model.nf={width} with ch_mult={tuple(multiples)} makes layers of {widest} channels, and at most "
            f"{MOST_CHANNELS} are allowed."
        )
    if (classes := model.num_classes) * 4 * width > MOST_ELEMENTS:
        raise ValueError(
            f"config.model.num_classes={classes} with nf={width} makes a table of {classes} x {4 * width} weights, and "
            f"at most {MOST_ELEMENTS} are allowed."
        )
    weights = 18 * sum((width * m) ** 2 for m in multiples) * (blocks if isinstance(blocks, int) else 1)
    if weights > MOST_WEIGHTS:
        raise ValueError(
            f"config.model.nf={width}, ch_mult={tuple(multiples)} and num_res_blocks={blocks} make a network of at "
            f"least {weights} weights, and at most {MOST_WEIGHTS} are allowed."
        )


def _check_picture(config: ConfigDict, shape: tuple[int, ...]) -> None:
    count = config.sampling.grid_size
    frames = config.sampling.get("trajectory") or 1
    if len(shape) != 3:
        if count > MOST_POINTS:
            raise ValueError(
                f"config.sampling.grid_size={count}: a picture has at most {MOST_POINTS} points: ask for fewer."
            )
        return
    pixels = pixels_of_picture(count, shape)
    if pixels > MOST_PIXELS:
        raise ValueError(
            f"config.sampling.grid_size={count}: a picture of so many samples of {shape[1]}x{shape[2]} has {pixels} "
            f"pixels, and at most {MOST_PIXELS} are allowed: take fewer."
        )
    if isinstance(frames, int) and frames * pixels > MOST_ELEMENTS:
        raise ValueError(
            f"config.sampling.trajectory={frames}: frames of {pixels} pixels each take {frames * pixels}, and at most "
            f"{MOST_ELEMENTS} are allowed: lower it, or sampling.grid_size."
        )
