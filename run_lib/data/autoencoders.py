"""Autoencoders of diffusers as codecs, from local folders: ``AutoencoderKL`` and ``AutoencoderDC``.

Rombach et al. 2022 (KL) and Chen et al. 2025 (DC). A folder is one that ``save_pretrained`` writes, or a pipeline's
with a folder ``vae`` in it. Of a distribution of latents the mean is taken. Weights are read from safetensors alone.
"""

from __future__ import annotations

import functools
import hashlib
import json
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from models.checkpoints.reader import read_payload
from run_lib.data.codecs import Codec, register_codec

WEIGHTS = "diffusion_pytorch_model.safetensors"
CHUNK = 2**24
# Names of attention layers in files from before diffusers 0.13, among them Stable Diffusion's first.
_RENAMED = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}


@dataclass(frozen=True)
class Autoencoder(Codec):
    """An autoencoder in a folder.

    Attributes:
        kind: its class in diffusers.
        path: of the folder.

    Raises:
        ValueError: no such folder, or its config is of another class.
    """

    kind: str
    path: str
    _widths: ClassVar[Mapping[str, str]] = {
        "AutoencoderKL": "block_out_channels",
        "AutoencoderDC": "encoder_block_out_channels",
    }

    def __post_init__(self) -> None:
        if (found := self.config.get("_class_name")) != self.kind:
            raise ValueError(
                f"config.data.codec_path={self.path} holds a {found!r}, and this codec is {self.kind}: give the folder "
                f"of one, or another data.codec."
            )
        if not (self._home / WEIGHTS).is_file():
            raise ValueError(
                f"{self._home} has no {WEIGHTS}: write the folder by save_pretrained(..., safe_serialization=True)."
            )

    @functools.cached_property
    def _home(self) -> Path:
        folder = Path(self.path)
        places = (folder, folder / "vae")
        home = next((place for place in places if (place / "config.json").is_file()), None)
        if not self.path or home is None:
            raise ValueError(
                f"config.data.codec_path={self.path!r} is no folder of an autoencoder of diffusers: it must hold "
                f"config.json and {WEIGHTS}, or a folder vae with them."
            )
        return home

    @functools.cached_property
    def config(self) -> Mapping[str, Any]:
        """The constructor's arguments, and the class."""
        file = self._home / "config.json"
        try:
            found = json.loads(file.read_text(encoding="utf-8"))
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{file} is no JSON: write the folder again with diffusers.") from error
        if not isinstance(found, dict):
            raise ValueError(f"{file} holds no object: write the folder again with diffusers.")
        return found

    @functools.cached_property
    def fingerprint(self) -> str:
        sha = hashlib.sha256((self._home / "config.json").read_bytes())
        with (self._home / WEIGHTS).open("rb") as stream:
            while chunk := stream.read(CHUNK):
                sha.update(chunk)
        return f"{self.kind} {sha.hexdigest()[:16]}"

    @property
    def mean(self) -> tuple[float, ...]:
        if (listed := self.config.get("latents_mean")) is not None:
            return tuple(float(value) for value in listed)
        return (float(self.config.get("shift_factor") or 0.0),)

    @property
    def std(self) -> tuple[float, ...]:
        """The inverse of the published scaling factor."""
        if (listed := self.config.get("latents_std")) is not None:
            return tuple(float(value) for value in listed)
        usual = 0.18215 if self.kind == "AutoencoderKL" else 1.0
        return (1.0 / float(self.config.get("scaling_factor", usual)),)

    def image_shape(self, latent: tuple[int, ...]) -> tuple[int, ...]:
        channels = self.config.get("latent_channels", 4 if self.kind == "AutoencoderKL" else 32)
        if len(latent) != 3 or latent[0] != channels:
            raise ValueError(
                f"{self.path} makes latents of {channels} channels in two dimensions, and config.data says "
                f"{latent}: set data.num_channels={channels} and data.image_size to the latents'."
            )
        widths = self.config.get(self._widths[self.kind], (0,))
        factor = 2 ** (len(widths) - 1)
        return (int(self.config.get("in_channels", 3)), latent[1] * factor, latent[2] * factor)

    @functools.cached_property
    def network(self) -> Any:
        """Diffusers' module with its weights, in evaluation.

        Raises:
            ValueError: diffusers is not installed, or the weights are damaged, missing or others'.
        """
        try:
            import diffusers
        except ImportError:
            raise ValueError(
                "config.data.codec is an autoencoder of diffusers: pip install 'score-pc[diffusers]'."
            ) from None
        weights = read_payload(self._home / WEIGHTS)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of settings that later versions write
            network: nn.Module = getattr(diffusers, self.kind).from_config(dict(self.config))
        held = network.state_dict()
        named = {_present_name(name, held): weight for name, weight in weights.items()}
        wrong = sorted(held.keys() ^ named.keys()) or sorted(
            name for name, weight in named.items() if weight.numel() != held[name].numel()
        )
        if wrong:
            raise ValueError(
                f"{self._home / WEIGHTS} does not fit its config.json: {len(wrong)} weights are missing, of another "
                f"shape or not the network's, first {wrong[0]}. Fetch the folder again."
            )
        # Of old files the projections of attention are convolutions of one pixel.
        network.load_state_dict({name: weight.reshape(held[name].shape) for name, weight in named.items()})
        return network.float().eval().requires_grad_(False)

    def __getstate__(self) -> dict[str, str]:
        return {"kind": self.kind, "path": self.path}  # another process reads the weights itself

    @torch.no_grad()
    def encode(self, x: Tensor) -> Tensor:
        found = self.network.to(x.device).encode(x)
        latents: Tensor = found.latent_dist.mode() if self.kind == "AutoencoderKL" else found.latent
        return latents

    def decode(self, z: Tensor) -> Tensor:
        images: Tensor = self.network.to(z.device).decode(z).sample
        return images


def _present_name(name: str, held: Mapping[str, Tensor]) -> str:
    layer, _, kind = name.rpartition(".")
    head, _, last = layer.rpartition(".")
    return f"{head}.{_RENAMED[last]}.{kind}" if name not in held and last in _RENAMED else name


@register_codec(name="autoencoder_kl")
def autoencoder_kl(path: str = "") -> Autoencoder:
    """Diffusers' ``AutoencoderKL``, as of Stable Diffusion; the mean of the latents' distribution is taken.

    Args:
        path: its folder, with ``config.json`` and safetensors.
    """
    return Autoencoder("AutoencoderKL", path)


@register_codec(name="autoencoder_dc")
def autoencoder_dc(path: str = "") -> Autoencoder:
    """Diffusers' ``AutoencoderDC``, the deep-compression autoencoder.

    Args:
        path: its folder, with ``config.json`` and safetensors.
    """
    return Autoencoder("AutoencoderDC", path)
