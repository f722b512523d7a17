"""What a library of weights refuses, said to a user of the program: in the configuration's fields."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from models.checkpoints.architecture import Architecture
from models.checkpoints.misfits import ArchitectureError, AveragesError
from run_lib.config.components import naming_fields
from run_lib.config.roles import NETWORK_FIELDS, ROLES
from sde_lib.settings import REQUIRED

_GIVEN = {
    "in_channels": "data.num_channels",
    "out_channels": "model.out_channels",
    "image_size": "data.image_size",
    "centered": "data.centered",
    "num_classes": "model.num_classes",
}
"""What a network is given that is none of its own settings -> the field that says it."""


@contextmanager
def in_fields(averages: str = "", architecture: str = "") -> Iterator[None]:
    """Have an error within the block name fields and not parameters, and say what to do in them.

    Args:
        averages: what to do where a file has no averaged weights that can be used.
        architecture: what to do where a file is of another network.

    Raises:
        ValueError: that of the block, in other words.
    """
    with naming_fields(NETWORK_FIELDS):
        try:
            yield
        except AveragesError as error:
            raise ValueError(f"{error.why} {averages}".rstrip()) from error
        except ArchitectureError as error:
            raise ValueError(f"{error.why} {architecture}".rstrip()) from error


def flags_of(architecture: Architecture, record: Mapping[str, Any]) -> str:
    """The flags of a command line that make a network out of that of a configuration.

    Args:
        architecture: the network that is wanted; its dropout is not, which is of training.
        record: of the configuration.
    """
    role, given = ROLES["network"], dict(architecture.arguments)
    side = {*given["image_size"]}
    given |= {"image_size": side.pop() if len(side) == 1 else given["image_size"]}
    given |= {"num_classes": given["num_classes"] or 0}
    given |= {
        "out_channels": None if given["out_channels"] == given["in_channels"] else given["out_channels"]
    }
    wanted = {"model.name": architecture.name} | {field: given.pop(name) for name, field in _GIVEN.items()}
    usual: dict[str, Any] = {}
    for field, setting in role.settings(role.choices[architecture.name]):
        if setting.name != "dropout":
            usual[field] = None if setting.default is REQUIRED else setting.default
            wanted[field] = given.get(setting.name, usual[field])
    flags = []
    for field, value in wanted.items():
        section, _, name = field.partition(".")
        held = record[section].get(name, usual.get(field))
        if (tuple(held) if isinstance(held, list) else held) != value:
            flags.append(shlex.quote(f"--config.{field}={value}"))
    return " ".join(flags)
