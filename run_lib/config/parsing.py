"""Values of fields as they are written on a command line."""

from __future__ import annotations

import ast
from typing import Any, get_args

from ml_collections import ConfigDict

from configs.base import get_config as base_config
from run_lib.config.automatic import AUTO, AUTOMATIC
from run_lib.config.configuration import SPELLINGS
from run_lib.config.roles import ROLES
from sde_lib.registry import snake_case

EITHER: dict[str, tuple[type, ...]] = {
    "data.image_size": (int, tuple),
    "device": (str,),
    "ema.std": (float, tuple),
    "eval.metrics": (tuple, str),
    "tune.metrics": (tuple, str),
}
"""Fields of ``configs/base.py`` that take values of more types than their default's."""
SWITCH = {"true": True, "false": False, "1": True, "0": False, "yes": True, "no": False}
FURTHER: dict[str, type] = {
    "fir": bool,
    "conv_size": int,
    "conditional": bool,
    "scale_by_sigma": bool,
    "resamp_with_conv": bool,
}
"""What a network may state beside its parameters, where that is not a name."""


def kinds_of(path: str) -> tuple[type, ...]:
    """The types that a field's values may have, narrowest first; a field that only plugins know may have any."""
    path = SPELLINGS.get(path, path)
    if path in EITHER:
        return EITHER[path]
    section, _, field = path.partition(".")
    base = base_config()
    if not field:
        return (base.get_type(section),)
    if section == "eval" and field.startswith("enable_"):
        return (bool,)  # also before the plugin that has it is loaded
    if field in base[section]:
        return (base[section].get_type(field),)
    found: list[type] = []
    for role in ROLES.values():
        for name in role.choices:
            block = f"{role.section}.{snake_case(name)}"
            for at, setting in role.settings(role.choices[name]):
                if path in (at, f"{block}.{setting.name}"):
                    kinds = (
                        tuple(type(c) for c in setting.choices) if setting.choices else members(setting.type)
                    )
                    found += [kind for kind in kinds if kind not in found]
    if not found:
        found = [FURTHER.get(field, str)]
    order = [bool, int, float, tuple, str, object]
    return tuple(sorted(found, key=lambda k: order.index(k) if k in order else len(order)))


def members(kind: Any) -> tuple[type, ...]:
    """The members of a union; else the type itself."""
    return tuple(m for m in get_args(kind) if isinstance(m, type)) or (kind,)


def parse_value(path: str, text: str) -> Any:
    """The value of a field, written as ``text``.

    Raises:
        ValueError: it is of none of the field's types; the message shows the flag.
    """
    if text == AUTO and path in AUTOMATIC:
        return AUTO
    kinds, expected = kinds_of(path), []
    if text == "None" and kinds != (str,):
        return None
    for kind in kinds:
        try:
            return _as(kind, text)
        except ValueError as error:
            expected.append(str(error))
    shown = text if len(text) <= SHOWN else f"{text[:SHOWN]}... ({len(text)} characters)"
    raise ValueError(f"--config.{path}={shown}: {' or '.join(expected)} is expected.")


SHOWN = 80
"""Characters of a value that a message quotes."""
_EXPECTED = {int: "a whole number", float: "a number", bool: "true or false", tuple: "a tuple such as (1,2)"}


def _as(kind: type, text: str) -> Any:
    """A value of a kind; the error says what is expected of it."""
    if kind is bool:
        if text.lower() not in SWITCH:
            raise ValueError(_EXPECTED[kind])
        return SWITCH[text.lower()]
    if kind in (int, float, str):
        try:
            return kind(text)
        except ValueError as error:
            raise ValueError(_EXPECTED[kind]) from error
    try:
        value = ast.literal_eval(text)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError) as error:  # as of ((((...
        if kind is object:
            return text
        raise ValueError(_EXPECTED[kind]) from error
    if kind is tuple and not isinstance(value, tuple | list):
        raise ValueError(_EXPECTED[kind])
    return _tuple(value)


def _tuple(value: Any) -> Any:
    return tuple(map(_tuple, value)) if isinstance(value, list | tuple) else value


def set_field(config: ConfigDict, path: str, value: Any) -> None:
    """Set a field, or a setting in the block of a component."""
    *blocks, field = path.split(".")
    for block in blocks:
        if not isinstance(config.get(block), ConfigDict):
            with config.ignore_type():
                config[block] = ConfigDict()
        config = config[block]
    with config.ignore_type():  # of the innermost block alone: entering it walks over every field inside
        config[field] = value
