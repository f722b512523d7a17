"""config.reconstruct and config.control, read once and checked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from ml_collections import ConfigDict

from run_lib.config.fields import Section
from run_lib.config.inversions import build_inversion
from run_lib.config.settings import Settings
from samplers.editing import Inversion


@dataclass(frozen=True)
class ReconstructSettings(Settings):
    input: str
    output: str
    num_images: int
    batch_size: int
    method: str
    num_steps: int | None
    noise_removal: bool
    resize: bool
    convert: bool
    label: int | None

    def __post_init__(self) -> None:
        self.require("reconstruct", {"num_images": 0, "batch_size": 1})


@dataclass(frozen=True)
class ControlSettings(Settings):
    task: str
    method: str | None
    input: str
    output: str
    num_images: int
    samples: int
    noise_std: float
    mask: str | None
    strength: float | None
    frames: int | None
    resize: bool
    convert: bool
    label: int | None

    def __post_init__(self) -> None:
        self.require("control", {"num_images": 0, "samples": 1, "noise_std": 0})
        if self.frames is not None:
            self.require("control", {"frames": 2})


@dataclass(frozen=True)
class Edits:
    """What the modes that work on given images need of a configuration.

    ``inversion`` is called with ``method``, ``num_steps`` and ``noise_removal``; ``section`` gives operators and
    methods of control their settings.
    """

    reconstruct: ReconstructSettings
    control: ControlSettings
    section: Section
    inversion: Callable[..., Inversion]

    @classmethod
    def of(cls, sections: ConfigDict, sampling: Section) -> Edits:
        return cls(
            ReconstructSettings.of(sections.reconstruct),
            ControlSettings.of(sections.control),
            Section("control", sections.control),
            partial(build_inversion, sampling),
        )
