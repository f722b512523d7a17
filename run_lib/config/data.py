"""config.data -> the data set and what the network sees of it."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from models import register_model
from models.base import Network
from models.exact.mixtures import ExactScore
from run_lib.config.components import Chosen
from run_lib.config.configuration import Configuration
from run_lib.data.augment import Augmentation
from run_lib.data.batches import Reading
from run_lib.data.codecs import Codec
from run_lib.data.latents import Latents
from run_lib.data.levels import DataSpec, Loader
from run_lib.data.listing import announce, what_was_read
from run_lib.data.split import Split
from run_lib.data.user_sets import as_split


def build_data(
    configuration: Configuration, shape: tuple[int, ...], network: Network, augment: Augmentation | None
) -> DataSpec:
    """The data set, which is read when it is asked for, and what the network sees of it.

    Args:
        configuration: complete.
        shape: of a sample.
        network: of which the data may be drawn, if it is an exact score.
        augment: what is done to training samples.

    Raises:
        ValueError: settings that have no meaning for such data.
    """
    section = configuration.values.data
    if section.levels == 1:
        raise ValueError(
            f"data.levels is the number of values of a pixel, 2 or more, or 0 for continuous data; "
            f"got {section.levels}."
        )
    density = network if isinstance(network, ExactScore) else None
    labelled = bool(configuration.values.model.num_classes)
    latents, reading = _build_latents(configuration, shape), Reading(section.num_workers, section.max_corrupt)
    stored, levels = (
        (shape, section.levels) if latents is None else (latents.image_shape, latents.codec_levels)
    )
    context = {"root": Path(section.root), "shape": stored, "levels": levels, "density": density}
    loader = _loader(configuration.choose("data set"), context, labelled)
    images = None
    if latents is not None:
        images = DataSpec(
            name=section.dataset,
            loader=loader,
            density=None,
            shape=stored,
            levels=levels,
            centered=True,
            dequantize=False,
            random_flip=False,
            labelled=labelled,
            reading=reading,
        )
    flags = ("uniform_dequantization",) if len(shape) == 3 else ("uniform_dequantization", "random_flip")
    for flag in flags if section.levels == 0 else flags[1:]:
        if section[flag]:
            raise ValueError(
                f"data.{flag}=True has no meaning for data of shape {shape} with data.levels="
                f"{section.levels}; set it to False."
            )
    if section.dataset == "exact" and section.levels:
        raise ValueError(f"draws from a density are continuous: set data.levels=0, not {section.levels}.")
    return DataSpec(
        name=section.dataset,
        loader=loader,
        density=density if section.dataset == "exact" else None,
        shape=shape,
        levels=section.levels,
        centered=section.centered,
        dequantize=section.uniform_dequantization,
        random_flip=section.random_flip,
        labelled=labelled,
        reading=reading,
        augment=augment,
        latents=latents,
        images=images,
    )


def _build_latents(configuration: Configuration, shape: tuple[int, ...]) -> Latents | None:
    """The latents that the data are; None: they are none.

    Raises:
        ValueError: settings that have no meaning for latents, or a codec that makes none of this shape.
    """
    chosen, section = configuration.find("codec"), configuration.values.data
    if chosen is None:
        return None
    for field, wanted in (("levels", 0), ("random_flip", False), ("augment", "none")):
        if section[field] != wanted:
            raise ValueError(
                f"config.data.{field}={section[field]!r} is of images, and with data.codec={chosen.name!r} the network "
                f"sees latents, which are continuous and are not mirrored as images are: set it to {wanted!r}."
            )
    if section.dataset == "exact" or configuration.values.training.task == "superres":
        raise ValueError(
            f"data.codec={chosen.name!r} is of images in files: it goes neither with draws from a density nor with "
            f"training.task='superres'."
        )
    codec: Codec = chosen.build()
    if not isinstance(codec, Codec):
        raise ValueError(f"data.codec={chosen.name!r} made a {type(codec).__name__}, which is no Codec.")
    latents: Latents = configuration.choose("latents").build(codec=codec, name=chosen.name, shape=shape)
    return latents


def build_augmentation(configuration: Configuration, shape: tuple[int, ...]) -> Augmentation | None:
    """What is done to training samples at random; None: nothing.

    Raises:
        ValueError: it has no meaning for samples of this shape, or the network cannot be told of it.
    """
    chosen = configuration.find("augmentation")
    if chosen is None:
        return None
    found: Augmentation = chosen.build()
    if len(shape) < 2 or (found.of_images and len(shape) != 3):
        raise ValueError(
            f"data.augment={chosen.name!r} has no meaning for data of shape {shape}; set it to 'none'."
        )
    if found.num_labels and "augment_labels" not in configuration.choose("network").takes:
        raise ValueError(
            f"data.augment={chosen.name!r} tells the network what was done to an image, and "
            f"{configuration.values.model.name!r} cannot be told: take 'flip' or 'crop', or one of "
            f"{', '.join(sorted(_told_of_augmentation()))}."
        )
    return found


def _told_of_augmentation() -> Iterator[str]:
    """The networks that can be."""
    for name in register_model:
        if "augment_labels" in inspect.signature(register_model[name]).parameters:
            yield name


def _loader(dataset: Chosen, context: Mapping[str, Any], labelled: bool) -> Loader:
    if context["density"] is None and "density" in dataset.takes:
        raise ValueError(
            f"data set {dataset.name!r} is drawn from the density of an exact model: set model.name to gaussian or "
            f"gaussian_mixture, or choose another data.dataset."
        )

    @functools.cache
    def load(split: str) -> Split:
        found = as_split(dataset.build(split=split, **context), labelled=labelled)
        announce(what_was_read(f"{dataset.name}, {split} split", found))
        return found

    return load
