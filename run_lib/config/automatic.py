"""Fields whose value may be ``auto``: measured of the data, or chosen from the images and the machine.

A run that goes on has the values that it began with: those in the record of its work directory.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from models import register_model
from run_lib.automatic.choice import Choice
from run_lib.automatic.machine import Machine, this_machine
from run_lib.automatic.setup import FIELDS as SETUP
from run_lib.automatic.setup import choose_setup
from run_lib.computing.placement import find_device
from run_lib.config.components import choose
from run_lib.config.roles import NETWORK_FIELDS, ROLES
from run_lib.data.facts import automatic as measured
from run_lib.data.facts import automatic_moments
from run_lib.data.latents import Latents
from run_lib.data.levels import as_shape
from run_lib.files import read_json
from run_lib.training.checkpoints import Checkpoints

AUTO = "auto"
SCALES = ("data.latent_mean", "data.latent_std")
"""What it measures of latents, and scales them by."""
MEASURED = (*SCALES, "model.sigma_max", "model.sigma_data")
"""What ``--mode stats`` measures of the data."""
MEASURING = ("pack", "stats")
"""Modes in which it is not measured yet."""
PRECISION = "training.precision"
"""Chosen for any network, by the device alone."""
HALF = ("bfloat16", "float16")
AUTOMATIC = (*MEASURED, PRECISION, *SETUP)
"""Fields whose value may be ``auto``."""
RECORD = "config.json"
"""In a work directory: how its weights are trained."""
NETWORK = "adm"
"""The network whose other fields are chosen."""


@dataclass(frozen=True)
class Began:
    """A run that may have begun before, with values for what is ``auto``.

    Args:
        workdir: its work directory, whose record counts where there are checkpoints; None: there is none.
        resume_from: a checkpoint of another run that goes on here; empty: none.
    """

    workdir: Path | None
    resume_from: str = ""

    @functools.cached_property
    def file(self) -> Path | None:
        """The record of the training that goes on; None: one begins."""
        runs = [self.workdir] if self.workdir and Checkpoints(self.workdir / "checkpoints").latest() else []
        runs += [Path(self.resume_from).parent.parent] if self.resume_from else []
        return next((run / RECORD for run in runs if (run / RECORD).is_file()), None)

    @functools.cached_property
    def _values(self) -> Any:
        try:
            return read_json(self.file) if self.file else {}
        except ValueError as error:
            raise ValueError(
                f"{self.file} {error}, and config fields that are auto have the values in it: set them, or take "
                f"another --workdir."
            ) from error

    def find(self, path: str) -> Any:
        """The value of a field; None: no record has it.

        Raises:
            ValueError: the record cannot be read.
        """
        section, _, name = path.partition(".")
        values = self._values.get(section) if isinstance(self._values, dict) else None
        found = values.get(name) if isinstance(values, dict) else None
        return tuple(found) if isinstance(found, list) else found


def wanted(values: ConfigDict) -> list[str]:
    """The fields of a complete configuration that are ``auto``."""
    return [path for path in AUTOMATIC if _value(values, path) == AUTO]


def resolve(values: ConfigDict, paths: list[str], before: Began) -> dict[str, Choice]:
    """What fields are set to, and why.

    Args:
        values: a complete configuration; what it has in those fields does not count.
        paths: the fields.
        before: with what the run began.

    Raises:
        ValueError: data that have not been measured, a network whose setup nobody chooses, a device that is not here.
    """
    held = {path: before.find(path) for path in paths}
    found = {path: Choice(value, f"as in {before.file}") for path, value in held.items() if value is not None}
    for path in MEASURED:
        if path in paths and path not in found:
            found[path] = Choice(_measured(values, path), "measured by --mode stats")
        if path in SCALES and path in found:
            set_value(values, path, found[path].value)  # by which the others are scaled
    if PRECISION in paths and PRECISION not in found:
        found[PRECISION] = _machine(values).choice
    if left := [path for path in paths if path not in found]:
        given = {path: _value(values, path) for path in SETUP if path not in paths}
        given |= {path: choice.value for path, choice in found.items() if path in SETUP}
        half = (found[PRECISION].value if PRECISION in found else values.training.precision) in HALF
        found |= _setup(values, given, left[0], half)
    return {path: found[path] for path in paths}


def _measured(values: ConfigDict, path: str) -> float | tuple[float, ...]:
    what = path.partition(".")[2]
    if path in SCALES:
        return automatic_moments(values.data, what)
    return measured(values.data, what, _latents(values))


def _latents(values: ConfigDict) -> Latents | None:
    codec, latents = (choose(ROLES[role], values) for role in ("codec", "latents"))
    if codec is None or latents is None:
        return None
    found: Latents = latents.build(codec=codec.build(), name=codec.name, shape=_shape(values))
    return found


def _shape(values: ConfigDict) -> tuple[int, ...]:
    return tuple(values.data.shape) or as_shape(values.data.image_size, values.data.num_channels)


def _machine(values: ConfigDict) -> Machine:
    return this_machine(find_device(values.device))


def _setup(values: ConfigDict, given: Mapping[str, Any], first: str, half: bool) -> dict[str, Choice]:
    """The fields of ``SETUP`` that are not given."""
    shape = _shape(values)
    if values.model.name != NETWORK or len(shape) != 3:
        raise ValueError(
            f"config.{first}=auto is chosen for images and model.name={NETWORK!r} alone, and this is "
            f"{values.model.name!r} for samples of shape {shape}: set a value."
        )
    defaults = _defaults()
    held = {path: defaults.get(path) if value is None else value for path, value in given.items()}
    model, training = values.model, values.training
    return choose_setup(
        (shape[1], shape[2]),
        _machine(values),
        {path: value for path, value in held.items() if value is not None},
        half=half,
        accumulate=training.accumulate,
        averages=1 + len(model.ema_rates) + len(model.ema_stds),
        shard=training.shard,
    )


def _defaults() -> dict[str, Any]:
    """What the network has where a field is not set."""
    parameters = inspect.signature(register_model[NETWORK]).parameters
    return {NETWORK_FIELDS.get(name, f"model.{name}"): p.default for name, p in parameters.items()}


def _value(values: ConfigDict, path: str) -> Any:
    section, _, field = path.partition(".")
    return values[section].get(field)


def set_value(values: ConfigDict, path: str, value: Any) -> None:
    """Set a field, to a value of any type."""
    section, _, field = path.partition(".")
    with values[section].ignore_type():
        values[section][field] = value
