"""What a library of weights refuses, said to a user of the program: in the configuration's fields."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from models.checkpoints.architecture import Described
from models.checkpoints.misfits import ArchitectureError, AveragesError
from run_lib.config.components import naming_fields
from run_lib.config.network_fields import fields_of_network
from run_lib.config.roles import NETWORK_FIELDS, ROLES
from sde_lib.settings import REQUIRED

_USUAL: dict[str, Any] = {
    "data.augment": "none",
    "model.num_classes": 0,
    "model.out_channels": None,
    "model.variance": None,
    "model.preconditioning": None,
}
"""Fields that decide about a network and are none of its own settings, as they are where a file says nothing."""


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


def flags_of(described: Described, record: Mapping[str, Any]) -> str:
    """The flags of a command line that make the network of a file out of that of a configuration.

    Args:
        described: the network that is wanted; its dropout is not, which is of training, nor is its process, nor what
            the file does not tell.
        record: of the configuration.

    Raises:
        ValueError: no configuration makes it.
    """
    role, architecture = ROLES["network"], described.architecture
    untold = described.guessed | {"dropout"}
    usual: dict[str, Any] = {
        field: None if setting.default is REQUIRED else setting.default
        for field, setting in role.settings(role.choices[architecture.name])
        if setting.name not in untold
    }
    told = {"data.centered": True} if "centered" in architecture.arguments else {}
    known = {name: value for name, value in architecture.arguments.items() if name not in untold}
    asked = replace(described, architecture=replace(architecture, arguments=known), schedule=None)
    wanted = _USUAL | usual | told | dict(fields_of_network(asked).values)
    if "out_channels" in untold:  # which says whether variances are learned
        del wanted["model.out_channels"], wanted["model.variance"]
    flags = []
    for field, value in wanted.items():
        section, _, name = field.partition(".")
        if section not in (
            "data",
            "model",
            "training",
        ):  # how it is sampled and evaluated is the configuration's
            continue
        held = record[section].get(name, usual.get(field))
        if _plain(held) != _plain(value):
            flags.append(shlex.quote(f"--config.{field}={value}"))
    return " ".join(flags)


def _plain(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
