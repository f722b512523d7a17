"""A configuration's network: what it is told by the process, and settings that no network of ours has."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor

from models import register_model
from models.base import Network
from models.networks.edm import EDMPreconditioned
from models.prediction.conventions import Setting
from run_lib.config.fields import Section

# Fields of score_sde that state what a network is; where the network has no such choice, the one value it
# can have.
_STATED: dict[str, tuple[Any, ...]] = {
    "attention_type": ("ddpm",),
    "conditional": (True,),
    "conv_size": (3,),
    "interpolation": ("bilinear",),
    "nonlinearity": ("swish",),
    "normalization": ("GroupNorm",),
}


def build_network(section: Section, setting: Setting, *, weights: bool, **context: Any) -> Network:
    """The network that ``config.model`` names.

    Args:
        section: ``config.model``.
        setting: process and labels that it is trained with.
        weights: initialise it; otherwise its parameters are on the meta device, shapes without numbers.
        context: constructor arguments that come from elsewhere than the section, for networks that take them.

    Raises:
        ValueError: an unknown network, a setting that it cannot have, labels that it cannot read.
    """
    values = section.values
    factory = register_model[values.name]
    levels = setting.time.sigmas_by_label()
    context |= {"sigmas": levels}
    if (scaled := _scale_by_sigma(section, setting, levels)) is not None:
        context["scale_by_sigma"] = scaled
    if values.fir is not None:
        context["fir_kernel"] = (values.fir_kernel or (1, 3, 3, 1)) if values.fir else None
    with nullcontext() if weights else torch.device("meta"):
        network: Network = section.construct(factory, **context)
    section.taken |= {"variance", "output", "used_ema_rate"} | (
        {"fir"} if "fir_kernel" in section.taken else set()
    )
    _check_labels(values.name, network, levels)
    network = _preconditioned(section, network)
    _check_stated(section, network)
    return network


def _preconditioned(section: Section, network: Network) -> Network:
    kind = section.values.preconditioning
    section.taken.add("preconditioning")
    if kind is None:
        return network
    if kind != "edm":
        raise ValueError(f"unknown config.model.preconditioning {kind!r}; known: edm.")
    wrapped: Network = section.construct(EDMPreconditioned, network=network)
    return wrapped


def _scale_by_sigma(section: Section, setting: Setting, levels: Tensor | None) -> bool | None:
    """Whether a network that can divide by sigma does; None leaves it the network's default."""
    wanted: bool | None = section.values.scale_by_sigma
    if setting.output != "score":
        if wanted:
            raise ValueError(
                f"config.model.scale_by_sigma=True divides a score by its noise level, but this process's "
                f"networks give "
                f"{setting.output}; set it to False, or training.sde to vesde or smld."
            )
        return False
    if section.values.name == "ddpm" and levels is None and wanted:
        raise ValueError(
            "config.model.scale_by_sigma=True needs a noise level for each label of ddpm, and continuous "
            "training has "
            "none; set training.continuous=False, or take ncsnpp with embedding_type='fourier'."
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


def _check_stated(section: Section, network: Network) -> None:
    """Refuse a field that the network has no argument for, unless it states what the network is anyway."""
    values = section.values
    stated = _STATED | {
        "scale_by_sigma": (getattr(network, "sigmas", None) is not None,),
        "resamp_with_conv": (True,),
    }
    for field in stated.keys() - section.taken:
        if values[field] not in (None, *stated[field]):
            raise ValueError(
                f"config.model.{field}={values[field]!r}: network {values.name!r} has it "
                f"{stated[field][0]!r} always; leave "
                f"it unset."
            )
    section.taken |= stated.keys()
    section.refuse_untaken(f"network {values.name!r} and this process")
