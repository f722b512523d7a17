"""config.control -> what is done with the images."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from run_lib.config.experiment import Experiment
from run_lib.config.objectives import need
from run_lib.editing.restorations import (
    LinearRestoration,
    Method,
    NoisedEdit,
    Projected,
    Restoration,
    Wrapped,
)
from run_lib.seeds import Use, stream_seed
from samplers.constraints import Replacement, repaint
from samplers.editing import intermediate_time
from samplers.inverse import register_posterior
from samplers.operators import LinearOperator, check_adjoint, register_operator
from samplers.pc import PCSampler
from sde_lib.registry import unknown_name

SECTION = "config.control"
OPERATORS = {
    "colorize": "grey",
    "superres": "downsample",
    "deblur": "blur",
    "compressed_sensing": "compressed_sensing",
    "mri": "fourier",
}
"""Tasks whose operator has another name, or the same."""
MASKS = {"half": "mask_half", "box": "mask_box", "random": "mask_random"}
EDITS = ("sdedit", "interpolate")
DEFAULT_METHODS = {"inpaint": "replacement", "colorize": "replacement"}
"""Methods of tasks; of others, ``pseudo_inverse``."""
SHARED_FIELDS = {"label", "method"}
"""Fields, unset by default, that every task takes."""


def tasks() -> list[str]:
    """Everything that control.task may be: ours, and operators by their own names."""
    return [
        "inpaint",
        *OPERATORS,
        *EDITS,
        *(name for name in register_operator if name not in OPERATORS.values()),
    ]


def build_restoration(e: Experiment) -> Restoration:
    """What ``control.task`` and ``control.method`` say, checked, its tables on the device.

    Raises:
        ValueError: an unknown name; settings that do not fit the task, the method or the data; a method that
            cannot do the task with this sampler.
    """
    settings, section = e.edits.control, e.edits.section
    section.taken |= SHARED_FIELDS
    if settings.task == "sdedit":
        restoration: Restoration = _sdedit(e)
        section.taken |= {"strength"}
        section.refuse_untaken("task 'sdedit'")
        return restoration
    operator = build_operator(e).to(e.device)
    name = settings.method or DEFAULT_METHODS.get(settings.task, "pseudo_inverse")
    method = _method(e, name, operator)
    section.refuse_untaken(f"task {settings.task!r} and method {name!r}")
    return LinearRestoration(operator, settings.noise_std, e.data, method)


def build_operator(e: Experiment) -> LinearOperator:
    """The task's operator, whose adjoint has passed the dot-product test.

    Raises:
        ValueError: an unknown task or mask, settings out of range, an adjoint that is none.
    """
    settings, section, shape = e.edits.control, e.edits.section, e.data.shape
    if settings.task == "inpaint":
        section.taken |= {"mask"}
        operator = _mask(e, settings.mask or "half")
    else:
        name = OPERATORS.get(settings.task, settings.task)
        if name not in register_operator:
            raise ValueError(unknown_name(f"{SECTION}.task", settings.task, tasks()))
        operator = _construct(e, name)
    check_adjoint(operator, (2, *shape))
    return operator


def _construct(e: Experiment, name: str, **context: Tensor) -> LinearOperator:
    """An operator with settings of the section; sizes that have no default are half of the image's."""
    builder, shape = register_operator[name], e.data.shape
    half = {
        "height": shape[1] // 2,
        "width": shape[2] // 2,
        "fraction": 0.5,
        "measurements": max(1, int(np.prod(shape)) // 2),
        "lines": max(2, shape[1] // 2),
    }
    parameters = inspect.signature(builder).parameters
    unset = {
        field: value
        for field, value in half.items()
        if field in parameters and e.edits.section.values.get(field) is None
    }
    seed = {"seed": stream_seed(e.sampling_seed, Use.OPERATOR)} if "seed" in parameters else {}
    operator: LinearOperator = e.edits.section.construct(builder, shape=shape, **unset, **seed, **context)
    return operator


def _mask(e: Experiment, name: str) -> LinearOperator:
    if name in MASKS:
        return _construct(e, MASKS[name])
    path = Path(name)
    if not path.is_file():
        raise ValueError(
            f"{unknown_name(f'{SECTION}.mask', name, list(MASKS))} Or give an image file, white where pixels are "
            f"known and black where they are not."
        )
    try:
        return _construct(e, "mask_image", known=read_mask(path))
    except ValueError as error:
        raise ValueError(f"{SECTION}.mask={name}: {error}") from error


def read_mask(path: Path) -> Tensor:
    """A mask of an image file, (H, W): 1 where it is white and 0 where it is black.

    Raises:
        ValueError: it cannot be read, or its channels differ.
    """
    try:
        with Image.open(path) as file:
            pixels = np.asarray(file.convert("RGB"))
    except (OSError, SyntaxError) as error:
        raise ValueError(f"it cannot be read as an image: {error}") from error
    if (pixels != pixels[..., :1]).any():
        raise ValueError("it is in colour; a mask is black and white.")
    return torch.from_numpy(pixels[..., 0] / 255)


def methods() -> list[str]:
    """Everything that control.method may be for a linear measurement."""
    return ["replacement", "repaint", *register_posterior]


def _method(e: Experiment, name: str, operator: LinearOperator) -> Method:
    settings, section = e.edits.control, e.edits.section
    if name in ("replacement", "repaint"):
        return _projected(e, name, operator)
    if name not in register_posterior:
        raise ValueError(unknown_name(f"{SECTION}.method", name, methods()))
    posterior = section.construct(
        register_posterior[name], model=e.sampler.model, operator=operator, noise_std=settings.noise_std
    )
    return Wrapped(e.sampler, posterior)


def _projected(e: Experiment, name: str, operator: LinearOperator) -> Projected:
    sampler, section = (
        _loop(
            e,
            f"{SECTION}.method={name!r}",
            "take a method that wraps the model (dps, pseudo_inverse, moment_matching)",
        ),
        e.edits.section,
    )
    need(sampler.model.process, Replacement.needs, f"{SECTION}.method={name!r}")
    walk: Callable[[PCSampler], PCSampler] = _as_it_is
    if name == "repaint":

        def walk(constrained: PCSampler) -> PCSampler:
            resampled: PCSampler = section.construct(repaint, sampler=constrained)
            return resampled

        walk(sampler)  # to be refused now if its settings are out of range
    noise_std = e.edits.control.noise_std
    if noise_std and operator.gain is None:
        raise ValueError(
            f"{SECTION}.method={name!r} counts a measurement's noise only where A A^T is a multiple of the "
            f"identity, which {type(operator).__name__}'s is not: set {SECTION}.noise_std=0, or take "
            f"pseudo_inverse or moment_matching."
        )
    return Projected(sampler, operator, noise_std, walk)


def _as_it_is(sampler: PCSampler) -> PCSampler:
    return sampler


def _loop(e: Experiment, what: str, otherwise: str) -> PCSampler:
    """The predictor-corrector sampler.

    Raises:
        ValueError: the configuration has another.
    """
    if not isinstance(e.sampler, PCSampler):
        raise ValueError(
            f"{what} works between the steps of a predictor: set sampling.method='pc', or {otherwise}."
        )
    return e.sampler


def _sdedit(e: Experiment) -> NoisedEdit:
    settings = e.edits.control
    refuse_measurement(e)
    sampler = _loop(e, f"{SECTION}.task='sdedit'", "take task interpolate")
    strength = 0.5 if settings.strength is None else settings.strength
    intermediate_time(sampler.model.process, strength)
    return NoisedEdit(sampler, strength)


def refuse_measurement(e: Experiment) -> None:
    """Refuse what only a measurement has, for a task without one."""
    settings = e.edits.control
    if settings.noise_std:
        raise ValueError(f"task {settings.task!r} measures nothing: leave {SECTION}.noise_std at 0.")
    if settings.task == "sdedit" and settings.method is not None:
        raise ValueError(
            f"task 'sdedit' takes the sampler as it is and no {SECTION}.method, got {settings.method!r}; leave it "
            f"unset."
        )
