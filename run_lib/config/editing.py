"""What the modes that work on given images need."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from run_lib.config.configuration import Configuration
from run_lib.config.images import ControlSettings, ReconstructSettings
from run_lib.config.inversions import build_inversion
from run_lib.config.restoration import build_restoration, refuse_measurement
from run_lib.config.sampling import SamplingPlan
from run_lib.data.inputs import check_images
from run_lib.editing.restorations import Restoration
from run_lib.sample_folder import WRITTEN
from samplers.editing import Inversion

MOST_SAMPLES = 2**20
"""Of one image: its results' streams are those of indices image * 2^20 + number, however many there are."""
DECIDING = ("data", "model", "guidance", "sampling", "reconstruct", "plugins")
"""Parts of a configuration on which reconstructions depend; of training, the process alone."""
_NO_EFFECT = {
    "sampling": {*WRITTEN, "batch_size", "seed", "predictor", "corrector"},
    "reconstruct": {"output", "num_images", "batch_size"},
}
"""Fields of them on which none depends."""


@dataclass(frozen=True)
class Interpolation:
    """From one image to the next, by their latents.

    Attributes:
        inversion: the map from images to latents and back.
        frames: of each pair, both ends included.
    """

    inversion: Inversion
    frames: int


@dataclass(frozen=True)
class ControlPlan:
    """What ``--mode control`` needs.

    Attributes:
        sampling: the model and its sampler.
        settings: which images, how many results of each, where they go.
        work: what is done with the images.
        facts: what the report says of the settings; plain data.
    """

    sampling: SamplingPlan
    settings: ControlSettings
    work: Restoration | Interpolation
    facts: Mapping[str, Any]


@dataclass(frozen=True)
class ReconstructionPlan:
    """What ``--mode reconstruct`` needs.

    Attributes:
        sampling: the model.
        settings: which images and where results go.
        inversion: the map from images to latents and back.
        depends_on: all that a reconstruction depends on, but for the weights; plain data.
    """

    sampling: SamplingPlan
    settings: ReconstructSettings
    inversion: Inversion
    depends_on: Mapping[str, Any]


def plan_control(configuration: Configuration, sampling: SamplingPlan) -> ControlPlan:
    """Build the operator and the method, or the interpolation.

    Raises:
        ValueError: settings that do not fit the task, the method, the data or the sampler.
    """
    settings = ControlSettings.of(configuration.values.control)
    check_images(sampling.data.shown, "config.control.input")
    if settings.samples > MOST_SAMPLES:
        raise ValueError(
            f"config.control.samples is at most {MOST_SAMPLES}, got {settings.samples}: ask for fewer."
        )
    record = sampling.subject.record.values
    facts = {
        "task": settings.task,
        "control": {name: value for name, value in record["control"].items() if value not in (None, "")},
        "sampling": {
            name: record["sampling"][name] for name in ("method", "predictor", "corrector", "num_steps")
        },
        **({"sampler": sampling.picked} if sampling.picked else {}),
        "seed": sampling.seed,
        "config_hash": sampling.subject.record.hash,
    }
    work: Restoration | Interpolation
    if settings.task == "interpolate":
        work = _interpolation(configuration, sampling, settings)
    else:
        work = build_restoration(configuration, sampling, settings)
    return ControlPlan(sampling, settings, work, facts)


def _interpolation(
    configuration: Configuration, sampling: SamplingPlan, settings: ControlSettings
) -> Interpolation:
    refuse_measurement(settings)
    if settings.samples > 1:
        raise ValueError(
            f"task 'interpolate' draws nothing: config.control.samples is 1, got {settings.samples}."
        )
    inversion = build_inversion(
        configuration, sampling.sampler.model, configuration.choose("interpolation"), noise_removal=False
    )
    return Interpolation(inversion, configuration.choose("control task").build())


def plan_reconstruction(configuration: Configuration, sampling: SamplingPlan) -> ReconstructionPlan:
    """Build the map from images to latents and back.

    Raises:
        ValueError: no input is named; a process or settings that do not allow the map.
    """
    settings = ReconstructSettings.of(configuration.values.reconstruct)
    if not settings.input:
        raise ValueError(
            "which images? Set --config.reconstruct.input to a folder, an .npz, or test for the test split."
        )
    inversion = build_inversion(
        configuration,
        sampling.sampler.model,
        configuration.choose("inversion"),
        noise_removal=settings.noise_removal,
    )
    return ReconstructionPlan(sampling, settings, inversion, _depends_on(sampling, settings.input))


def _depends_on(sampling: SamplingPlan, source: str) -> dict[str, Any]:
    record = sampling.subject.record.values
    parts: dict[str, Any] = {}
    for section in DECIDING:
        value, ignored = record[section], _NO_EFFECT.get(section)
        parts[section] = {k: v for k, v in value.items() if k not in ignored} if ignored else value
    where = source if source in ("test", "train") else str(Path(source).resolve())
    parts["reconstruct"] = {**parts["reconstruct"], "input": where}
    return parts | {"training": {name: record["training"][name] for name in ("sde", "continuous")}}
