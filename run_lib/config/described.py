"""What a file of weights tells of its network, as fields of a configuration, and a configuration's file of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from configs.base import get_config as base_config
from models.checkpoints.loader import read, readable, recognise
from run_lib.config.converting import WrittenPlan
from run_lib.config.network_fields import Fields, fields_of_network
from run_lib.config.settings import ConvertSettings
from run_lib.data.levels import as_shape
from run_lib.files import of_json

_OF_A_RUN = ("init_from", "init_from_ema", "resume_from", "resume_anyway", "convert", "components")
"""Fields of a configuration that say what is done with a file, and nothing of the network in it."""


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
    found = fields_of(source, images_of(values))
    return WrittenPlan(settings, source, text_of(source, found))


def images_of(values: ConfigDict) -> tuple[int, int]:
    """Height and width of the images of a configuration."""
    _, height, width = as_shape(values.data.image_size, values.data.num_channels)
    return height, width


def fields_of(source: str, size: tuple[int, int]) -> Fields:
    """The fields that a file or folder tells.

    Args:
        source: the file.
        size: height and width of the images, which some files do not tell.
    """
    content = read(source)
    recognised = recognise(content, source)
    payload = recognised.payload
    if isinstance(payload, Mapping) and isinstance(payload.get("config"), str):
        return _of_ours(payload["config"])
    with readable(source, recognised.family):
        described = recognised.family.described(payload, size)
    if described is None:
        raise ValueError(
            f"{source} is of the family {recognised.family.name!r}, whose files do not tell the architecture: "
            f"docs/configs.md has the configurations of published ones, and your own file of score_sde runs as it is."
        )
    return fields_of_network(described)


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
