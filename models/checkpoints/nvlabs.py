"""NVlabs' snapshots of EDM and EDM2: pickles of whole networks, whose arguments say the architecture.

Karras et al. 2022 and 2024. A snapshot holds averaged weights alone: EDM's those of one average, EDM2's one file for
each. Weights may be in float16.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, final

import torch
from torch import Tensor

from models.base import Network, register_model
from models.checkpoints.architecture import Architecture, Described
from models.checkpoints.base import Family, register_family
from models.checkpoints.diffusers_schedule import NoiseSchedule
from models.checkpoints.misfits import ArchitectureError
from models.checkpoints.network_pickle import ARGUMENTS, BESIDE, CLASS, FORMAT, TABLES, WEIGHTS
from models.checkpoints.nvlabs_config import Snapshot, read_arguments
from models.checkpoints.nvlabs_names import by_level, nvlabs_names
from models.networks.edm import EDMPreconditioned
from models.networks.edm_baselines import IDDPMPreconditioned, VEPreconditioned, VPPreconditioned
from models.networks.preconditioned import Preconditioned
from sde_lib.settings import settings_of

_DRAWN = ("freqs", "phases")
"""Tables that are drawn once, and so are weights of ours."""
_LARGEST = 2**14
"""Pixels along a side."""
_WRAPPERS: Mapping[str, type[Preconditioned]] = {
    "edm": EDMPreconditioned,
    "edm_vp": VPPreconditioned,
    "edm_ve": VEPreconditioned,
    "edm_iddpm": IDDPMPreconditioned,
}


@final
@register_family(name="nvlabs")
class NVlabs(Family):
    """Networks of EDM (SongUNet, DhariwalUNet) and EDM2 in their preconditionings."""

    name: ClassVar[str] = "nvlabs"

    def recognises(self, payload: Any) -> bool:
        return isinstance(payload, Mapping) and payload.get("format") == FORMAT

    def tensors(self, payload: Mapping[str, Any], *, ema: bool) -> dict[str, Tensor]:
        """The weights with levels by number; those of attention and classes turned to ours."""
        drawn = {name: table for name, table in payload[TABLES].items() if name.endswith(_DRAWN)}
        side = int(payload[ARGUMENTS]["img_resolution"])
        model = snapshot(payload).model
        found: dict[str, Tensor] = {}
        for name, weight in {**payload[WEIGHTS], **drawn}.items():
            found |= _TURNED[model](by_level(name, side), weight)
        return found

    def key_map(self, network: Network) -> dict[str, str]:
        return nvlabs_names(network)

    def left_out(self, payload: Mapping[str, Any], network: Network, *, ema: bool) -> dict[str, str]:
        """Also refuses another preconditioning than the file's, which shows in no weight."""
        theirs, ours = build(snapshot(payload).architecture, weights=False), network
        wanted, found = map(_numbers, (theirs, ours))
        if type(theirs) is not type(ours) or not all(math.isclose(wanted[k], found[k]) for k in wanted):
            raise ArchitectureError(
                f"the file's network is in a {type(theirs).__name__} of {_shown(wanted)}, and here it is in a "
                f"{type(ours).__name__} of {_shown(found)}.",
                "Build the network that the file's arguments describe.",
            )
        reasons = dict.fromkeys(payload[TABLES], "a filter or table that follows from the arguments")
        reasons = {name: why for name, why in reasons.items() if not name.endswith(_DRAWN)}
        return reasons | dict.fromkeys(payload[BESIDE], "beside the network")

    def described(self, payload: Mapping[str, Any], size: tuple[int, int]) -> Described:
        found = snapshot(payload)
        untold = [
            "The data set, and how the network was trained: configs/edm and configs/edm2 have what was published."
        ]
        if found.half:
            untold.append("Its program evaluates it in float16: sampling.precision.")
        return Described(
            found.architecture, NoiseSchedule("edm", {}, True, "x0"), found.label_dropout, tuple(untold)
        )


def snapshot(payload: Mapping[str, Any]) -> Snapshot:
    """What the file's arguments say.

    Raises:
        ArchitectureError: its network is none of ours.
    """
    return read_arguments(payload[CLASS], payload[ARGUMENTS])


def build(architecture: Architecture, *, weights: bool = True) -> Network:
    """The network of an architecture, in its preconditioning.

    Args:
        architecture: as a file describes it.
        weights: initialise it; otherwise its weights are on the meta device.

    Raises:
        ValueError: an argument that no network of ours can have.
    """
    _check(architecture)
    with torch.device("cpu" if weights else "meta"):
        network: Network = register_model[architecture.name](**architecture.arguments)
    if architecture.preconditioning is None:
        return network
    return _WRAPPERS[architecture.preconditioning](network, **architecture.wrapping)


def _check(architecture: Architecture) -> None:
    """Refuse numbers out of range, which would take memory or time without an end."""
    given = {**architecture.arguments, **architecture.wrapping}
    factories = [register_model[architecture.name]]
    if architecture.preconditioning is not None:
        factories.append(_WRAPPERS[architecture.preconditioning])
    for setting in (setting for factory in factories for setting in settings_of(factory)):
        if setting.name in given and setting.name != "image_size":
            setting.check(given[setting.name], of=architecture.name)
    sides, levels = given["image_size"], len(given.get("channel_mult", ()))
    if (
        not all(type(side) is int and 0 < side <= _LARGEST for side in sides)
        or levels > _LARGEST.bit_length()
    ):
        raise ValueError(f"images of {sides} at {levels} levels are none that a network of ours has.")


def _song(name: str, weight: Tensor) -> dict[str, Tensor]:
    """One head, its channels ordered by channel, then q, k, v; ours has a matrix for each."""
    head, _, kind = name.rpartition(".")
    if head.endswith(".qkv"):
        split = weight.flatten(1) if kind == "weight" else weight
        return {f"{head}.{i}.{kind}": split[i::3].contiguous() for i in range(3)}
    if head.endswith(".proj") and kind == "weight":
        return {name: weight.flatten(1)}
    return {name: weight}


_HEAD = 64


def _dhariwal(name: str, weight: Tensor) -> dict[str, Tensor]:
    """Heads of 64 channels, ordered by head, channel, then q, k, v; ours by head, q, k, v, then channel."""
    head, _, kind = name.rpartition(".")
    if head.endswith(".qkv"):
        split = weight.reshape(-1, _HEAD, 3, *weight.shape[1:2]).transpose(1, 2).reshape(weight.shape)
        return {name: split.flatten(2) if kind == "weight" else split}
    if head.endswith(".proj") and kind == "weight":
        return {name: weight.flatten(2)}
    return {name: weight.T if name.endswith("map_label.weight") else weight}


_TURNED: dict[str, Callable[[str, Tensor], dict[str, Tensor]]] = {
    "SongUNet": _song,
    "DhariwalUNet": _dhariwal,
    "EDM2": lambda name, weight: {name: weight},
}


def _shown(settings: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value:g}" for name, value in settings.items()) or "no settings"


def _numbers(network: Network) -> dict[str, float]:
    """The settings of a preconditioning."""
    return {k: v for k, v in vars(network).items() if isinstance(v, int | float) and not isinstance(v, bool)}
