"""What a file of weights tells of its network, as fields of a configuration, and a configuration's file of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ml_collections import ConfigDict

from configs.base import get_config as base_config
from models import register_model
from models.checkpoints.architecture import Described
from models.checkpoints.loader import read, readable, recognise
from run_lib.config.components import Role
from run_lib.config.converting import WrittenPlan
from run_lib.config.roles import ROLES
from run_lib.config.settings import ConvertSettings
from run_lib.data.augment import NonLeaky
from run_lib.files import of_json
from sde_lib.settings import REQUIRED

_OF_A_RUN = ("init_from", "init_from_ema", "resume_from", "resume_anyway", "convert", "components")
"""Fields of a configuration that say what is done with a file, and nothing of the network in it."""


@dataclass(frozen=True)
class Fields:
    """Fields of a configuration and their values, and what nothing tells."""

    values: Mapping[str, Any]
    untold: tuple[str, ...]


def plan_written(values: ConfigDict) -> WrittenPlan:
    """Read a file's description of its network.

    Raises:
        ValueError: no file is named, or no place to write to; the file cannot be read, or does not tell its network.
    """
    source, settings = values.init_from, ConvertSettings.of(values.convert)
    if not source:
        raise ValueError(
            "config.convert.to='config' writes the configuration of a file of weights: name it, "
            "--config.init_from=FILE."
        )
    found = fields_of(source)
    return WrittenPlan(settings, source, text_of(source, found))


def fields_of(source: str) -> Fields:
    """The fields that a file or folder tells."""
    content = read(source)
    recognised = recognise(content, source)
    payload = recognised.payload
    if isinstance(payload, Mapping) and isinstance(payload.get("config"), str):
        return _of_ours(payload["config"])
    with readable(source, recognised.family):
        described = recognised.family.described(payload)
    if described is None:
        raise ValueError(
            f"{source} is of the family {recognised.family.name!r}, whose files do not tell the architecture: take the "
            f"configuration of its project, docs/configs.md."
        )
    return _of_network(described)


def _of_ours(record: str) -> Fields:
    """The configuration that a file of ours holds, where it differs from the defaults."""
    base = base_config()
    found: dict[str, Any] = {}
    for section, held in of_json(record).items():
        if section in _OF_A_RUN:
            continue
        if not isinstance(held, Mapping):
            found |= _differing(section, held, base.get(section))
            continue
        for name, value in held.items():
            usual = base[section].get(name) if section in base and name in base[section] else None
            found |= _differing(f"{section}.{name}", value, usual)
    return Fields(found, ())


def _differing(path: str, value: Any, usual: Any) -> dict[str, Any]:
    value = tuple(value) if isinstance(value, list) else value
    return {} if value == (tuple(usual) if isinstance(usual, list) else usual) else {path: value}


def _of_network(described: Described) -> Fields:
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
        if described.schedule.spacing is not None:
            found |= {"sampling.grid": "respaced", "sampling.spacing": described.schedule.spacing}
            found |= {"sampling.steps_offset": described.schedule.offset} if described.schedule.offset else {}
    return Fields(found, tuple(untold))


def _settings(role: Role, name: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a component's arguments that are not its defaults."""
    found = {}
    for path, setting in role.settings(role.choices[name]):
        value = arguments.get(setting.name, setting.default)
        usual = tuple(setting.default) if isinstance(setting.default, list) else setting.default
        if value is not REQUIRED and value != usual:
            found[path] = value
    return found


def text_of(source: str, fields: Fields) -> str:
    """A configuration's file: what the fields say, and in a comment what nothing does."""
    shown = source.replace("\\", "/").rpartition("/")[2]
    printable = "".join(c for c in shown if c.isprintable() and c not in '"\\')
    lines = [
        f'"""The network of {printable}, as the file describes it."""',
        "",
        "from ml_collections import ConfigDict",
        "",
        "from configs.base import get_config as default",
        "",
    ]
    if fields.untold:
        lines += ["# What the file does not tell:", *(f"# - {sentence}" for sentence in fields.untold), ""]
    lines += ["", "def get_config() -> ConfigDict:", "    config = default()"]
    lines += [f"    config.{path} = {value!r}" for path, value in fields.values.items()]
    return "\n".join([*lines, "    return config", ""])
