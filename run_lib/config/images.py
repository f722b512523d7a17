"""config.reconstruct and config.control: the fields that are no component's own, read once."""

from __future__ import annotations

from dataclasses import dataclass

from run_lib.config.settings import Settings


@dataclass(frozen=True)
class ReconstructSettings(Settings):
    input: str
    output: str
    num_images: int
    batch_size: int
    noise_removal: bool
    resize: bool
    convert: bool
    label: int | None


@dataclass(frozen=True)
class ControlSettings(Settings):
    task: str
    method: str | None
    input: str
    output: str
    num_images: int
    samples: int
    noise_std: float
    resize: bool
    convert: bool
    label: int | None
