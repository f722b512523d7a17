"""Plans of configurations that tests write in Python."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ml_collections import ConfigDict

from run_lib.config.configuration import read
from run_lib.config.effects import check_effects
from run_lib.config.plans import Planner, make_plan
from run_lib.config.subject import Subject, build_subject


def with_fields(config: ConfigDict, fields: dict[str, Any]) -> ConfigDict:
    """The configuration with fields set, written with ``__`` for the dot."""
    with config.ignore_type():
        for field, value in fields.items():
            section, _, name = field.rpartition("__")
            (config[section] if section else config)[name] = value
    return config


def planned(config: ConfigDict, planner: Planner[Any], fields: dict[str, Any] | None = None) -> Any:
    """The plan of a file's configuration with fields given on top of it."""
    fields = fields or {}
    return make_plan(with_fields(config, fields), planner, given=paths(fields))


def subject(config: ConfigDict, fields: dict[str, Any] | None = None, *, weights: bool = True) -> Subject:
    """The network and its process of a file's configuration with fields given on top of it."""
    fields = fields or {}
    configuration = read(with_fields(config, fields), paths(fields))
    found = build_subject(configuration, weights=weights)
    check_effects(configuration)
    return found


def paths(fields: Iterable[str]) -> list[str]:
    return [field.replace("__", ".") for field in fields]
