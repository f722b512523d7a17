"""The diffusers family: folders (or hub ids) of a ``UNet2DModel`` or a DiT and its scheduler, both ways.

``config.json`` and ``diffusion_pytorch_model.safetensors`` (or ``.bin``) lie under ``unet/``, ``transformer/`` or at
the root, ``scheduler_config.json`` under ``scheduler/`` or at the root. Published weights are the averaged
ones; a folder has no others.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, final

import torch
from torch import Tensor

from models.base import Network
from models.checkpoints.architecture import Architecture, Described
from models.checkpoints.base import Family, register_family
from models.checkpoints.diffusers_config import read_unet
from models.checkpoints.diffusers_dit import (
    as_transformer,
    is_transformer,
    read_transformer,
    transformer_weights,
)
from models.checkpoints.diffusers_folder import WEIGHTS, read_configs
from models.checkpoints.diffusers_names import as_unet, diffusers_names
from models.checkpoints.diffusers_schedule import UNTOLD, NoiseSchedule, read_schedule, told_schedule
from models.checkpoints.misfits import ArchitectureError
from models.networks.dit import DiT

_MARKS = frozenset({"conv_in.weight", "time_embedding.linear_1.weight", "conv_norm_out.weight"})
# Names of attention layers in files from before diffusers 0.13, among them google's.
_RENAMED = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}
_NO_CONFIG = (
    "this file is the weights of a diffusers folder without the config that says what they mean; "
    "give the folder."
)
# Such files may have the Fourier frequencies twice.
_FREQUENCIES, _FREQUENCIES_AGAIN = "time_proj.weight", "time_proj.W"


@dataclass(frozen=True)
class Published:
    """The contents of a diffusers folder: its network as one of ours, and its noise schedule if it has a scheduler."""

    architecture: Architecture
    schedule: NoiseSchedule | None


def describe_folder(path: str | os.PathLike[str]) -> Published:
    """The network and the noise schedule of a diffusers folder or hub id, from its configs alone.

    Raises:
        ValueError: no such folder, or a function or a process that we have not; naming the setting and why.
    """
    configs = read_configs(path)
    try:
        schedule = None if configs.scheduler is None else read_schedule(configs.scheduler)
        if is_transformer(configs.unet):
            return Published(read_transformer(configs.unet), schedule)
        return Published(read_unet(configs.unet).architecture(), schedule)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


@final
@register_family(name="diffusers")
class Diffusers(Family):
    """``UNet2DModel`` where its architecture is our ``ddpm`` or ``ncsnpp``."""

    name: ClassVar[str] = "diffusers"

    def recognises(self, payload: Any) -> bool:
        if not isinstance(payload, Mapping) or is_transformer(payload.get("unet_config", {})):
            return False
        return "unet_config" in payload or payload.keys() >= _MARKS

    def tensors(self, payload: Mapping[str, Any], *, ema: bool) -> dict[str, Tensor]:
        """The weights under diffusers' present names; 1x1 shortcuts as matrices where ours are."""
        if "unet_config" not in payload:
            raise ValueError(_NO_CONFIG)
        flat = not read_unet(payload["unet_config"]).skip
        weights = {_present_name(name): weight for name, weight in payload["weights"].items()}
        again = weights.pop(_FREQUENCIES_AGAIN, None)
        if again is not None and not torch.equal(weights.setdefault(_FREQUENCIES, again), again):
            raise ValueError(f"the file's {_FREQUENCIES} and {_FREQUENCIES_AGAIN} differ; one must be wrong.")
        return {
            name: _as_matrix(weight) if flat and _is_shortcut(name) else weight
            for name, weight in weights.items()
        }

    def key_map(self, network: Network) -> dict[str, str]:
        as_unet(network)
        return diffusers_names(network)

    def left_out(self, payload: Mapping[str, Any], network: Network, *, ema: bool) -> dict[str, str]:
        """Also refuses a network whose settings are not the folder's: most show in no weight."""
        theirs = read_unet(payload["unet_config"])
        if differences := as_unet(network, theirs.sample_size).differences(theirs):
            raise ArchitectureError(
                f"the diffusers folder does not fit the network: {'; '.join(differences)}.",
                "Build the network that models.describe_folder gives.",
            )
        reasons = {"unet_config": "the network's settings, compared with the network's own"}
        if "scheduler_config" in payload:
            reasons["scheduler_config"] = "the noise schedule, which is the config's to take"
        if _FREQUENCIES_AGAIN in payload["weights"]:
            reasons[_FREQUENCIES_AGAIN] = f"{_FREQUENCIES} once more"
        return reasons

    def described(self, payload: Mapping[str, Any]) -> Described:
        if "unet_config" not in payload:
            raise ValueError(_NO_CONFIG)
        return Described(
            read_unet(payload["unet_config"]).architecture(), told_schedule(payload), 0.0, UNTOLD
        )


def export_diffusers(
    network: Network,
    folder: str | os.PathLike[str],
    *,
    sample_size: tuple[int, int] | int,
    schedule: NoiseSchedule | None = None,
) -> None:
    """Write ``network`` as a folder that ``from_pretrained`` of ``UNet2DModel`` or a DiT loads.

    Args:
        network: our ``ddpm``, ``ncsnpp`` or ``dit``, with the weights to publish.
        folder: made where it does not exist; files of an earlier export are overwritten.
        sample_size: of the data, which the network does not know: one int for a square.
        schedule: written as a scheduler's config beside it.

    Raises:
        ValueError: diffusers has no such network; naming the setting that it lacks.
    """
    from safetensors.torch import save_file

    if isinstance(network, DiT):
        config, weights = as_transformer(network), transformer_weights(network)
    else:
        size = (sample_size, sample_size) if isinstance(sample_size, int) else sample_size
        config = dict(as_unet(network, size).config())
        names, parameters = diffusers_names(network), dict(network.named_parameters())
        weights = {theirs: _as_conv(theirs, parameters[ours]) for ours, theirs in names.items()}
    home = Path(folder)
    home.mkdir(parents=True, exist_ok=True)
    save_file(weights, home / WEIGHTS[0], metadata={"format": "pt"})
    _write(home / "config.json", config)
    if schedule is not None:
        _write(home / "scheduler_config.json", schedule.config())


def _write(file: Path, content: Mapping[str, Any]) -> None:
    file.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _present_name(name: str) -> str:
    layer, _, kind = name.rpartition(".")
    head, _, last = layer.rpartition(".")
    return f"{head}.{_RENAMED[last]}.{kind}" if ".attentions." in name and last in _RENAMED else name


def _is_shortcut(name: str) -> bool:
    return name.endswith("conv_shortcut.weight")


def _as_matrix(weight: Tensor) -> Tensor:
    return weight.flatten(1) if weight.shape[2:] == (1, 1) else weight


def _as_conv(name: str, weight: Tensor) -> Tensor:
    weight = weight.detach().cpu().contiguous()
    return weight[:, :, None, None] if _is_shortcut(name) and weight.ndim == 2 else weight
