"""What a file tells of its network, in fields of a configuration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from models import register_model
from models.checkpoints.architecture import Described
from models.checkpoints.diffusers_schedule import NoiseSchedule
from run_lib.config.components import Role
from run_lib.config.roles import ROLES
from run_lib.data.augment import NonLeaky
from sde_lib.settings import REQUIRED

STEPS, BATCH = 50, 64
"""Times of a written configuration's sampler, as diffusers' pipelines have unless told otherwise; images at a time."""


@dataclass(frozen=True)
class Fields:
    """Fields of a configuration and their values, and what nothing tells."""

    values: Mapping[str, Any]
    untold: tuple[str, ...]


def fields_of_network(described: Described) -> Fields:
    """The fields that make the network of a file and its process, but for those that have their defaults.

    Raises:
        ValueError: the network is told of augmentation that none here tells of.
    """
    architecture, untold = described.architecture, list(described.untold)
    given = dict(architecture.arguments)
    found: dict[str, Any] = {}
    sides = {*given.pop("image_size")}
    found["data.image_size"] = sides.pop() if len(sides) == 1 else architecture.arguments["image_size"]
    found["data.num_channels"] = given.pop("in_channels")
    if given.pop("centered", True) is False:
        found["data.centered"] = False
    if told := given.pop("augment_labels", 0):
        if told != NonLeaky.num_labels:
            raise ValueError(
                f"the file's network is told {told} numbers of augmentation, and data.augment='edm', which alone here "
                f"tells any, has {NonLeaky.num_labels}: no configuration makes it."
            )
        found["data.augment"] = "edm"
    found["model.name"] = architecture.name
    out_channels = given.pop("out_channels", None)
    if out_channels == 2 * found["data.num_channels"]:
        found["model.variance"] = "learned_range"
        untold.append("What the further channels are: variances in their range, as published.")
    spare = getattr(register_model[architecture.name], "spare_label", False)
    if classes := given.pop("num_classes", None):
        found["model.num_classes"] = classes - (1 if described.label_dropout and not spare else 0)
    found |= _settings(ROLES["network"], architecture.name, given)
    if architecture.preconditioning is not None:
        found["model.preconditioning"] = architecture.preconditioning
        found |= _settings(ROLES["preconditioning"], architecture.preconditioning, architecture.wrapping)
    if described.label_dropout:
        found["training.label_dropout"] = described.label_dropout
    if described.schedule is None:
        untold.append("The process: training.sde and model.output.")
    else:
        found["training.sde"] = described.schedule.sde
        if not described.schedule.continuous and described.schedule.sde != "ddpm":
            found["training.continuous"] = False
        found["model.output"] = described.schedule.output
        found |= _settings(ROLES["sde"], described.schedule.sde, described.schedule.arguments)
    found |= _sampler(described.schedule)
    return Fields(found, tuple(untold))


def _sampler(schedule: NoiseSchedule | None) -> dict[str, Any]:
    """A sampler that every such process can have, on the scheduler's own levels where the file says where they lie; the
    likelihood that it has; and batches of an evaluation that fit beside a network of images."""
    bound = {} if schedule is None or schedule.continuous else {"eval.bpd_method": "vlb"}
    return {**_steps(schedule), "eval.batch_size": BATCH, **bound}


def _steps(schedule: NoiseSchedule | None) -> dict[str, Any]:
    if schedule is None or schedule.spacing is None:
        return {"sampling.predictor": "auto", "sampling.num_steps": STEPS}
    offset = {"sampling.steps_offset": schedule.offset} if schedule.offset else {}
    return {
        "sampling.predictor": "ddim",
        "sampling.num_steps": STEPS,
        "sampling.grid": "respaced",
        "sampling.spacing": schedule.spacing,
    } | offset


def _settings(role: Role, name: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a component's arguments that are not its defaults."""
    found = {}
    for path, setting in role.settings(role.choices[name]):
        value = arguments.get(setting.name, setting.default)
        usual = tuple(setting.default) if isinstance(setting.default, list) else setting.default
        if value is not REQUIRED and value != usual:
            found[path] = value
    return found
