"""What sampling needs."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from models.prediction.noise_model import Model
from run_lib.computing.numerics import Arithmetic
from run_lib.config.configuration import Configuration
from run_lib.config.guidance import Guidance, build_guidance
from run_lib.config.sampler import build_sampler, denoised, pick_sampler
from run_lib.config.settings import SampleSettings
from run_lib.config.subject import Subject
from run_lib.config.task import build_task
from run_lib.data.classes import numbered
from run_lib.data.layouts import CHANNELS
from run_lib.data.levels import DataSpec
from run_lib.training.tasks import TrainingTask
from samplers.ode import ODESampler
from samplers.pc import PCSampler


@dataclass(frozen=True)
class SamplingPlan:
    """What sampling needs.

    Attributes:
        subject: the network and its data.
        guidance: what guides the model, and the classes that samples are asked for.
        task: conditioning of samples.
        sampler: of the guided model.
        settings: numbers and sizes.
        picked: what ``sampling.predictor='auto'`` took, and why; empty: the configuration names its sampler.
        stored_grid: whether the sampler's times come with the checkpoint.
        trajectory: frames of the trajectory to write.
    """

    subject: Subject
    guidance: Guidance
    task: TrainingTask
    sampler: PCSampler | ODESampler
    settings: SampleSettings
    picked: str
    stored_grid: bool
    trajectory: int

    @property
    def model(self) -> Model:
        """What likelihoods evaluate: guided, its predictions not transformed."""
        return self.guidance.model

    @property
    def data(self) -> DataSpec:
        return self.subject.data

    @property
    def device(self) -> torch.device:
        return self.subject.placement.device

    @property
    def arithmetic(self) -> Arithmetic:
        """In which networks are evaluated."""
        return self.subject.placement.sampling

    @property
    def seed(self) -> int:
        """Of the samples."""
        return self.subject.seed if self.settings.seed is None else self.settings.seed

    @property
    def num_classes(self) -> int:
        """Of the network, or of the classifier that guides it; 0: none."""
        return self.guidance.requested.num_classes


def plan_sampling(configuration: Configuration, subject: Subject) -> SamplingPlan:
    """Guide the subject's model and build its sampler.

    Raises:
        ValueError: components that do not fit together.
    """
    section = configuration.values.sampling
    guidance = build_guidance(configuration, subject)
    if section.png:
        classes = guidance.requested.num_classes if section.png_by_class else None
        _check_images(subject.data.shown, classes)
    subject = numbered(subject, guidance.requested.numbering)
    picked = pick_sampler(configuration, guidance.model.process)
    return SamplingPlan(
        subject=subject,
        guidance=guidance,
        task=build_task(configuration, subject, guidance.requested),
        sampler=build_sampler(configuration, denoised(configuration, guidance.model, subject.data), picked),
        settings=SampleSettings.of(section),
        picked="" if picked is None else picked.why,
        stored_grid=picked is None and section.grid == "optimised" and section.method == "pc",
        trajectory=(section.trajectory or 0) if section.method == "pc" else 0,
    )


def _check_images(data: DataSpec, classes: int | None) -> None:
    """Refuse data whose samples are no images of 8 bits, or have no classes.

    Args:
        data: of the samples.
        classes: how many there are, where each gets a folder; None: it gets none.
    """
    if len(data.shape) != 3 or data.shape[0] not in CHANNELS or not 2 <= data.levels <= 256:
        kind = f"{data.levels} levels" if data.levels else "continuous values"
        raise ValueError(
            f"config.sampling.png=True writes images of 1 or 3 channels and at most 256 levels, and samples have the "
            f"shape {data.shape} and {kind}: leave it unset; samples.npz has them."
        )
    if classes == 0:
        raise ValueError(
            "config.sampling.png_by_class=True makes a folder for each class, and samples have none: leave it unset."
        )
