"""config.model -> the network: what it is told by the process, and settings that no network of ours has."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import nullcontext
from typing import Any

import torch
from ml_collections import ConfigDict
from torch import Tensor

from models.base import Network
from models.prediction.conventions import Setting
from run_lib.config.components import Chosen
from run_lib.config.configuration import Configuration
from run_lib.config.roles import NETWORK_FIELDS, STATED


def build_network(
    configuration: Configuration, setting: Setting, *, weights: bool, **context: Any
) -> Network:
    """The network that ``config.model`` names.

    Args:
        configuration: complete.
        setting: process and labels that it is trained with.
        weights: initialise it; otherwise its weights are on the meta device, shapes without numbers.
        context: constructor arguments that come from elsewhere, for networks that take them.

    Raises:
        ValueError: an unknown network, a setting that it cannot have, labels that it cannot read.
    """
    values, chosen = configuration.values.model, configuration.choose("network")
    levels = setting.time.sigmas_by_label()
    context |= {"sigmas": levels}
    if (scaled := _scale_by_sigma(chosen, values, setting, levels)) is not None:
        context["scale_by_sigma"] = scaled
    if values.fir is not None:
        context["fir_kernel"] = (values.fir_kernel or (1, 3, 3, 1)) if values.fir else None
    # Numbers that are checked must exist: only weights can do without.
    shapes_alone = not weights and getattr(chosen.factory, "has_weights", True)
    with torch.device("meta") if shapes_alone else nullcontext():
        network: Network = chosen.build(**context)
    _check_labels(values.name, network, levels)
    if (wrapper := configuration.find("preconditioning")) is not None:
        network = wrapper.build(network=network)
    if configuration.values.training.uncertainty:
        network.train_log_variance()
    _check_stated(values, chosen.takes, network)
    return network


def _scale_by_sigma(
    chosen: Chosen, values: ConfigDict, setting: Setting, levels: Tensor | None
) -> bool | None:
    """Whether a network that can divide by sigma does; None leaves it the network's default."""
    wanted: bool | None = values.scale_by_sigma
    if setting.output != "score":
        if wanted:
            raise ValueError(
                f"config.model.scale_by_sigma=True divides a score by its noise level, but this process's "
                f"networks give "
                f"{setting.output}; set it to False, or training.sde to vesde or smld."
            )
        return False
    scales = "scale_by_sigma" in chosen.takes and (
        chosen.value("scale_by_sigma") if wanted is None else wanted
    )
    by_label = "embedding" not in chosen.takes or chosen.value("embedding") == "positional"
    if scales and by_label and levels is None:
        raise ValueError(
            f"config.model.scale_by_sigma=True needs a noise level for each label of {chosen.name}, and continuous "
            "training has none; set training.continuous=False, or take ncsnpp with embedding_type='fourier'."
        )
    return wanted


def _check_labels(name: str, network: Network, levels: Tensor | None) -> None:
    if network.time_label == "level" and levels is None:
        raise ValueError(
            f"network {name!r} is told which of its noise levels a state has, counted from the largest: set "
            f"training.sde='vesde' and training.continuous=False, or training.sde='smld'."
        )
    if getattr(network, "fourier", None) is not None and levels is not None:
        raise ValueError(
            "the Fourier embedding takes the logarithm of a noise level, and discrete training labels "
            "levels by their "
            "index: set model.embedding_type='positional', or training.continuous=True."
        )


def _check_stated(values: ConfigDict, takes: Collection[str], network: Network) -> None:
    """Refuse a field that the network has no argument for, unless it states what the network is anyway."""
    taken = {field.partition(".")[2] for field in map(NETWORK_FIELDS.get, takes) if field} | set(takes)
    stated = STATED | {"scale_by_sigma": (getattr(network, "sigmas", None) is not None,)}
    for field in sorted(stated.keys() - taken):
        if values[field] not in (None, *stated[field]):
            raise ValueError(
                f"config.model.{field}={values[field]!r}: network {values.name!r} has it "
                f"{stated[field][0]!r} always; leave it unset."
            )
