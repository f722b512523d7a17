"""config.control -> what is done with the images."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from run_lib.config.capabilities import need
from run_lib.config.choices import MASKS
from run_lib.config.components import Chosen
from run_lib.config.configuration import Configuration
from run_lib.config.images import ControlSettings
from run_lib.config.sampling import SamplingPlan
from run_lib.data.images import read_mask
from run_lib.data.levels import DataSpec
from run_lib.editing.restorations import (
    LinearRestoration,
    Method,
    NoisedEdit,
    Projected,
    ProjectedLatents,
    Restoration,
    Wrapped,
)
from run_lib.seeds import Use, stream_seed
from samplers.constraints import Replacement
from samplers.editing import intermediate_time
from samplers.operators import LinearOperator, Through, check_adjoint
from samplers.pc import PCSampler
from sde_lib.registry import unknown_name

SECTION = "config.control"


def build_restoration(
    configuration: Configuration, sampling: SamplingPlan, settings: ControlSettings
) -> Restoration:
    """What ``control.task`` and ``control.method`` say, checked.

    Raises:
        ValueError: an unknown name; settings that do not fit the task, the method or the data; a method that
            cannot do the task with this sampler.
    """
    task = configuration.choose("control task")
    if task.name == "sdedit":
        return _sdedit(sampling, settings, task.build())
    operator = build_operator(configuration, sampling)
    method = _method(configuration.choose("restoration"), sampling, settings, operator)
    return LinearRestoration(operator, settings.noise_std, sampling.data, method)


def build_operator(configuration: Configuration, sampling: SamplingPlan) -> LinearOperator:
    """The task's operator, whose adjoint has passed the dot-product test.

    Raises:
        ValueError: an unknown task or mask, settings out of range, an adjoint that is none.
    """
    mask = configuration.find("mask")
    if mask is None:
        operator = _construct(configuration.choose("control task"), sampling)
    elif mask.name == "image":
        operator = _mask_of_image(mask, sampling, configuration.values.control.mask)
    else:
        operator = _construct(mask, sampling)
    check_adjoint(operator, (2, *sampling.data.shown.shape))
    return operator


def _construct(chosen: Chosen, sampling: SamplingPlan, **context: Tensor) -> LinearOperator:
    """An operator; sizes that are not set and have no default are half of the image's."""
    shape = sampling.data.shown.shape
    half = {
        "height": shape[1] // 2,
        "width": shape[2] // 2,
        "fraction": 0.5,
        "measurements": max(1, int(np.prod(shape)) // 2),
        "lines": max(2, shape[1] // 2),
    }
    unset = {name: value for name, value in half.items() if name not in chosen.settings}
    seed = stream_seed(sampling.seed, Use.OPERATOR)
    operator: LinearOperator = chosen.build(shape=shape, seed=seed, **unset, **context)
    return operator


def _mask_of_image(chosen: Chosen, sampling: SamplingPlan, name: str) -> LinearOperator:
    path = Path(name)
    if not path.is_file():
        raise ValueError(
            f"{unknown_name(f'{SECTION}.mask', name, list(MASKS))} Or give an image file, white where pixels are "
            f"known and black where they are not."
        )
    try:
        return _construct(chosen, sampling, known=read_mask(path))
    except ValueError as error:
        raise ValueError(f"{SECTION}.mask={name}: {error}") from error


def _method(
    chosen: Chosen, sampling: SamplingPlan, settings: ControlSettings, operator: LinearOperator
) -> Method:
    if chosen.name in ("replacement", "repaint"):
        return _projected(chosen, sampling, settings, operator)
    data = sampling.data
    measured = operator if data.latents is None else Through(operator, data.decoded)
    posterior = chosen.build(model=sampling.sampler.model, operator=measured, noise_std=settings.noise_std)
    return Wrapped(sampling.sampler, posterior)


def _projected(
    chosen: Chosen, sampling: SamplingPlan, settings: ControlSettings, operator: LinearOperator
) -> Method:
    what = f"{SECTION}.method={chosen.name!r}"
    sampler = _loop(
        sampling, what, "take a method that wraps the model (dps, pseudo_inverse, moment_matching)"
    )
    need(sampler.model.process, Replacement.needs, what)
    walk: Callable[[PCSampler], PCSampler] = _as_it_is
    if chosen.name == "repaint":

        def walk(constrained: PCSampler) -> PCSampler:
            resampled: PCSampler = chosen.build(sampler=constrained)
            return resampled

        walk(sampler)  # to be refused now if its settings are out of range
    noise_std = settings.noise_std
    if noise_std and operator.gain is None:
        raise ValueError(
            f"{what} counts a measurement's noise only where A A^T is a multiple of the "
            f"identity, which {type(operator).__name__}'s is not: set {SECTION}.noise_std=0, or take "
            f"pseudo_inverse or moment_matching."
        )
    if sampling.data.latents is not None:
        within = _operator_of_latents(what, sampling.data, settings, operator)
        return ProjectedLatents(Projected(sampler, within, 0.0, walk), operator, sampling.data)
    return Projected(sampler, operator, noise_std, walk)


def _operator_of_latents(
    what: str, data: DataSpec, settings: ControlSettings, operator: LinearOperator
) -> LinearOperator:
    """What an operator of images knows of their latents.

    Raises:
        ValueError: nothing; or a measurement with noise, of which latents have another.
    """
    image, cells, otherwise = data.shown.shape, data.shape[1:], "take dps, which goes through the decoder"
    if settings.noise_std:
        raise ValueError(
            f"{what} projects latents, and a measurement's noise is none that is known of latents: set "
            f"{SECTION}.noise_std=0, or {otherwise}."
        )
    fits = len(cells) == 2 and not any(side % cell for side, cell in zip(image[1:], cells, strict=True))
    found = operator.of_cells(image, cells) if fits else None
    if found is None:
        raise ValueError(
            f"{what} projects latents, which know of task {settings.task!r} nothing that could be set: "
            f"{otherwise}, or the task 'inpaint'."
        )
    if not bool(found.apply(torch.ones(1, *data.shape)).any()):
        raise ValueError(
            f"{what} projects latents, and this mask hides a pixel of every block of "
            f"{image[1] // cells[0]} x {image[2] // cells[1]}, so that none is known: {otherwise}, or another mask."
        )
    return found


def _as_it_is(sampler: PCSampler) -> PCSampler:
    return sampler


def _loop(sampling: SamplingPlan, what: str, otherwise: str) -> PCSampler:
    """The predictor-corrector sampler.

    Raises:
        ValueError: the configuration has another.
    """
    if not isinstance(sampling.sampler, PCSampler):
        raise ValueError(
            f"{what} works between the steps of a predictor: set sampling.method='pc', or {otherwise}."
        )
    return sampling.sampler


def _sdedit(sampling: SamplingPlan, settings: ControlSettings, strength: float) -> NoisedEdit:
    refuse_measurement(settings)
    sampler = _loop(sampling, f"{SECTION}.task='sdedit'", "take task interpolate")
    intermediate_time(sampler.model.process, strength)
    return NoisedEdit(sampler, strength, sampling.data)


def refuse_measurement(settings: ControlSettings) -> None:
    """Refuse what only a measurement has, for a task without one."""
    if settings.noise_std:
        raise ValueError(f"task {settings.task!r} measures nothing: leave {SECTION}.noise_std at 0.")
    if settings.task == "sdedit" and settings.method is not None:
        raise ValueError(
            f"task 'sdedit' takes the sampler as it is and no {SECTION}.method, got {settings.method!r}; leave it "
            f"unset."
        )
