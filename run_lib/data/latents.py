"""Data that are latents of a codec: how they are scaled for the network, and the images that they stand for."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import torch
from torch import Tensor

from run_lib.data.codecs import Codec
from run_lib.data.rows import Indices, OfOthers, Rows
from sde_lib.settings import Range

if TYPE_CHECKING:
    from run_lib.data.levels import DataSpec
    from run_lib.data.split import Split

Levels = Annotated[int, Range(least=2, most=2**16)]
Mean: TypeAlias = Annotated[float | tuple[float, ...], Range()] | None
Std: TypeAlias = Annotated[float | tuple[float, ...], Range(above=0)] | None


@dataclass(frozen=True)
class Coding:
    """What a file of latents says of them.

    Attributes:
        codec: the registered name of what made them.
        fingerprint: its own.
        image_shape: of the images (C, H, W).
        mean, std: of the latents, by channel.
    """

    codec: str
    fingerprint: str
    image_shape: tuple[int, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def as_json(self) -> dict[str, Any]:
        """For the file beside the latents."""
        return {
            "codec": self.codec,
            "fingerprint": self.fingerprint,
            "image_shape": list(self.image_shape),
            "mean": list(self.mean),
            "std": list(self.std),
        }

    @classmethod
    def of_json(cls, held: Any) -> Coding:
        """What such a file says.

        Raises:
            ValueError: a predicate that follows the file's name.
        """
        wrong = ValueError('has "latents" that --mode pack has not written')
        if not isinstance(held, Mapping):
            raise wrong
        names = [held.get(name) for name in ("codec", "fingerprint")]
        numbers = [held.get(name) for name in ("image_shape", "mean", "std")]
        if not all(isinstance(name, str) for name in names) or not all(map(_are_numbers, numbers)):
            raise wrong
        shape, mean, std = (tuple(of) for of in numbers if of is not None)
        return cls(str(names[0]), str(names[1]), tuple(map(int, shape)), mean, std)


def _are_numbers(values: Any) -> bool:
    return isinstance(values, list) and all(
        isinstance(value, int | float) and math.isfinite(value) for value in values
    )


@dataclass(frozen=True)
class Latents:
    """Latents of a codec in place of images.

    The network sees (z - mean) / std of latents z.

    Args:
        codec: maps images to latents and back.
        name: under which it is registered.
        shape: of a latent, without the batch.
        codec_levels: number of values of a pixel of the images, 256 for 8 bits.
        codec_batch: images that are encoded or decoded at a time.
        latent_mean: taken from the latents: one number or one for each channel; auto: as --mode stats has measured it;
            unset: what is published with the codec.
        latent_std: what they are then divided by, likewise.

    Raises:
        ValueError: as many numbers as neither one nor the channels, or latents of a shape that the codec does not make.
    """

    codec: Codec
    name: str
    shape: tuple[int, ...]
    codec_levels: Levels = 256
    codec_batch: Annotated[int, Range(least=1, most=2**16)] = 16
    latent_mean: Mean = None
    latent_std: Std = None

    def __post_init__(self) -> None:
        for field, values in (("latent_mean", self.mean), ("latent_std", self.std)):
            if len(values) not in (1, self.shape[0]):
                raise ValueError(
                    f"config.data.{field} has {len(values)} numbers, and latents have {self.shape[0]} channels: give "
                    f"one number, or one for each."
                )
        if min(self.std) <= 0:
            raise ValueError(f"config.data.latent_std must be above 0, and is {self.std}.")

    @property
    def mean(self) -> tuple[float, ...]:
        """One number, or one for each channel."""
        return self.codec.mean if self.latent_mean is None else as_numbers(self.latent_mean)

    @property
    def std(self) -> tuple[float, ...]:
        """One number, or one for each channel."""
        return self.codec.std if self.latent_std is None else as_numbers(self.latent_std)

    @functools.cached_property
    def image_shape(self) -> tuple[int, ...]:
        """Of a decoded sample (C, H, W)."""
        return self.codec.image_shape(self.shape)

    @property
    def log_volume(self) -> float:
        """Of a latent: the logarithm of the volume that has the volume 1 where it is scaled, in nats."""
        each = math.prod(self.shape) / len(self.std)
        return each * sum(map(math.log, self.std))

    def _columns(self, values: tuple[float, ...], like: Tensor) -> Tensor:
        """Numbers of channels as they go with a batch (B, C, ...)."""
        return like.new_tensor(values).reshape(1, -1, *[1] * (like.ndim - 2))

    def scaled(self, z: Tensor) -> Tensor:
        """Latents (B, C, ...) as the network sees them."""
        return (z - self._columns(self.mean, z)) / self._columns(self.std, z)

    def unscaled(self, x: Tensor) -> Tensor:
        """The codec's latents (B, C, ...) of what the network sees; the inverse of ``scaled``."""
        return x * self._columns(self.std, x) + self._columns(self.mean, x)

    def decoded(self, x: Tensor) -> Tensor:
        """Images (B, C, H, W) of what the network sees, some at a time."""
        return torch.cat([self.codec.decode(self.unscaled(some)) for some in x.split(self.codec_batch)])

    def seen(self, x: Tensor) -> Tensor:
        """What the network sees of images (B, C, H, W) in [-1, 1], some at a time."""
        return self.scaled(torch.cat([self.codec.encode(some) for some in x.split(self.codec_batch)]).float())

    def encoded(self, split: Split, images: DataSpec, device: torch.device) -> Split:
        """The latents of images, made as they are read.

        Args:
            split: of images.
            images: says what their levels mean.
            device: on which they are made.
        """
        return replace(split, rows=Encoding(split.rows, self, images, device))

    def check(self, split: Split, where: str) -> None:
        """Refuse what are no latents of this codec. Those of whom nothing is said are taken to be.

        Raises:
            ValueError: images, or latents of another codec.
        """
        coding = split.coding
        if coding is None and (split.rows.shape != self.shape or not split.rows.dtype.is_floating_point):
            raise ValueError(
                f"{where} is of shape {split.rows.shape} and {split.rows.dtype}, no latents of shape {self.shape}: "
                f"images are encoded once, by --mode pack with the same configuration, which prints what to set."
            )
        if coding is not None and (coding.codec, coding.fingerprint) != (self.name, self.codec.fingerprint):
            raise ValueError(
                f"{where} holds latents of {coding.codec!r} ({coding.fingerprint}), and config.data.codec is "
                f"{self.name!r} ({self.codec.fingerprint}): take the codec that made them, or pack the images again."
            )


def as_numbers(values: float | tuple[float, ...]) -> tuple[float, ...]:
    """One number or several, as several."""
    return (float(values),) if isinstance(values, int | float) else tuple(values)


@dataclass(frozen=True)
class Encoding(OfOthers):
    """Rows of images, read as latents: float32 on the CPU, not scaled.

    Attributes:
        rows: of levels.
        latents: of which codec.
        images: says what levels mean.
        device: on which they are made.
    """

    rows: Rows
    latents: Latents
    images: DataSpec
    device: torch.device

    @property
    def shape(self) -> tuple[int, ...]:
        return self.latents.shape

    @property
    def dtype(self) -> torch.dtype:
        return torch.float32

    def __len__(self) -> int:
        return len(self.rows)

    def read(self, indices: Indices) -> Tensor:
        wanted = torch.as_tensor(indices)
        return torch.cat(list(self._parts(wanted))) if len(wanted) else torch.zeros(0, *self.shape)

    def _parts(self, wanted: Tensor) -> Iterator[Tensor]:
        for some in wanted.split(self.latents.codec_batch):
            x = self.images.at_levels(self.rows.read(some).to(self.device))
            z = self.latents.codec.encode(x)
            if tuple(z.shape) != (len(some), *self.shape):
                raise ValueError(
                    f"config.data.codec={self.latents.name!r} encoded {tuple(x.shape)} as {tuple(z.shape)}, and "
                    f"config.data says {self.shape}: set data.shape to the latents'."
                )
            yield z.float().cpu()


@dataclass(frozen=True)
class Scaled(OfOthers):
    """Rows of latents as the network sees them."""

    rows: Rows
    latents: Latents

    def __len__(self) -> int:
        return len(self.rows)

    def read(self, indices: Indices) -> Tensor:
        return self.latents.scaled(self.rows.read(indices))
