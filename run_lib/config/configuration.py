"""A configuration with every field there is: defaults, a file's values, and those that a user gave on top."""

from __future__ import annotations

import dataclasses
import difflib
import functools
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ml_collections import ConfigDict, FrozenConfigDict

from configs.base import get_config as base_config
from run_lib.automatic.choice import Choice
from run_lib.config.automatic import MEASURED, MEASURING, Began, resolve, set_value, wanted
from run_lib.config.components import Chosen, choose
from run_lib.config.fields import check_values
from run_lib.config.plugins import load_plugins
from run_lib.config.roles import ROLES, components_of, settings_by_section
from sde_lib.registry import snake_case, unknown_name

SPELLINGS = {
    "training.loss": "training.sde",
    "training.continuouse": "training.continuous",
    "model.sigma_begin": "model.sigma_max",
}
"""Fields that single files of score_sde use for another one."""

RECORDED = ("data", "model", "training", "optim", "sampling", "guidance")
"""Sections whose components are recorded with all their settings, defaults included."""
RESOLVED = "components"
"""Key of those in a record, beside the sections."""


@dataclass(frozen=True)
class Record:
    """A resolved configuration as plain data: kept with what was made by it, and read by nobody.

    Attributes:
        values: JSON.
    """

    values: Mapping[str, Any]

    @functools.cached_property
    def hash(self) -> str:
        """Twelve hexadecimal digits of its SHA-256."""
        return hashlib.sha256(json.dumps(self.values, sort_keys=True).encode()).hexdigest()[:12]


@dataclass(frozen=True)
class Configuration:
    """A complete configuration.

    Attributes:
        values: every field there is; a component's setting that is not set is None.
        given: fields, such as ``sampling.snr``, that were given on the command line, in a section file or in
            Python: each must have an effect.
        mode: what is to be done with it.
        arguments: words of the command line that are no flags, for modes that take them.
        automatic: what the fields that were ``auto`` are set to, and why.
    """

    values: ConfigDict
    given: frozenset[str]
    mode: str = "all"
    arguments: tuple[str, ...] = ()
    automatic: Mapping[str, Choice] = dataclasses.field(default_factory=dict)

    @functools.cached_property
    def record(self) -> Record:
        """The fields that are set, and every setting of the chosen components, as plain data."""
        fields = {
            key: {k: v for k, v in value.items() if v is not None} if isinstance(value, dict) else value
            for key, value in self.plain().items()
        }
        roles = {key: role for key, role in ROLES.items() if role.section in RECORDED}
        chosen = {key: choose(role, self.values) for key, role in roles.items()}
        resolved = {key: {"name": c.name, **c.resolved()} for key, c in chosen.items() if c is not None}
        values = {**fields, RESOLVED: resolved}
        return Record(json.loads(json.dumps(values, default=str, sort_keys=True)))

    def plain(self) -> dict[str, Any]:
        """The values as dictionaries, from which other processes build plans of their own."""
        return {key: value for key, value in self.values.to_dict().items() if key != "mode"}

    def find(self, role: str) -> Chosen | None:
        """The component that fills a role; None: the configuration leaves it empty."""
        return choose(ROLES[role], self.values)

    def choose(self, role: str) -> Chosen:
        """The component of a role that is never empty."""
        found = self.find(role)
        assert found is not None, f"role {role!r} is empty"
        return found


def read(
    config: ConfigDict,
    given: Iterable[str] | None = None,
    mode: str = "all",
    arguments: Sequence[str] = (),
    workdir: Path | None = None,
) -> Configuration:
    """Complete a configuration, its plugins loaded first.

    Args:
        config: some or all of its fields.
        given: see ``Configuration``; None: every field that differs from its default, as of a configuration
            that was written in Python.
        mode, arguments: see ``Configuration``.
        workdir: where a run may go on, with its own values of what is ``auto``; None: nowhere.

    Raises:
        ValueError: a plugin that cannot be imported, an unknown field, spellings of one setting that disagree, values
            that fields cannot have.
    """
    load_plugins(config.get("plugins", ""))
    values = complete(config)
    found: Mapping[str, Choice] = {}
    if paths := wanted(values):
        for path in paths:
            set_value(values, path, default_of(path))
        check_values(values)  # what they are chosen from
        paths = [path for path in paths if mode not in MEASURING or path not in MEASURED]
        found = resolve(values, paths, Began(workdir, values.resume_from))
        for path, choice in found.items():
            set_value(values, path, choice.value)
    check_values(values)
    if given is None:
        given = [path for path, value in leaves(config) if value != default_of(path)]
    with values.mode.unlocked():
        values.mode.name = mode
    spelt = frozenset(SPELLINGS.get(path, normalised(path)) for path in given)
    return Configuration(values, spelt, mode, tuple(arguments), MappingProxyType(dict(found)))


def of_record(values: Mapping[str, Any]) -> ConfigDict:
    """The configuration that a record, or a ``config.json``, was made of."""
    held = {key: value for key, value in values.items() if key != RESOLVED}
    if held.pop("tf32", False):  # of records of before each kind of work had a precision
        for section in ("training", "sampling", "eval"):
            held[section] = {"precision": "tf32", **held.get(section, {})}
    return ConfigDict(held)


def normalised(path: str) -> str:
    """The path of a field with its block's name as registries have it: ``sampling.langevin.snr`` for
    ``sampling.Langevin.snr``."""
    section, *block = path.split(".")
    return ".".join([section, *map(snake_case, block[:-1]), *block[-1:]])


def leaves(config: ConfigDict, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every field and its value, fields of blocks by their whole path."""
    for key, value in config.items():
        if isinstance(value, ConfigDict):
            yield from leaves(value, f"{prefix}{key}.")
        elif value is not None:
            yield f"{prefix}{key}", value


def default_of(path: str) -> Any:
    """The default of a field of ``configs/base.py``; None of any other."""
    return _defaults().get(path)


@functools.cache
def _base() -> FrozenConfigDict:
    """``configs/base.py``, to be read alone: made once."""
    return FrozenConfigDict(base_config())


@functools.cache
def _defaults() -> Mapping[str, Any]:
    return MappingProxyType(dict(leaves(base_config())))


@functools.cache
def base_fields() -> frozenset[str]:
    """The fields that are no component's own."""
    base = base_config()
    inside = {
        f"{section}.{field}"
        for section in base
        if isinstance(base[section], ConfigDict)
        for field in base[section]
    }
    return frozenset(inside | {field for field in base if not isinstance(base[field], ConfigDict)})


def known_fields() -> dict[str, set[str]]:
    """Section -> names of its fields: its own, settings of components, other spellings."""
    found = {section: set(value) for section, value in _base().items() if isinstance(value, ConfigDict)}
    for section, fields in settings_by_section().items():
        found[section] |= fields
    for path in SPELLINGS:
        section, _, field = path.partition(".")
        found[section].add(field)
    return found


def check_fields(config: ConfigDict) -> None:
    """Refuse fields that neither the defaults nor a component have: a misspelt setting is never ignored.

    Raises:
        ValueError: naming the field and the nearest one that exists.
    """
    sections, fields = _base(), known_fields()
    for section, value in config.items():
        if section not in sections:
            raise ValueError(unknown_name("config section", section, list(sections)))
        if not isinstance(value, ConfigDict):
            continue
        known = fields[section]
        for field, inside in value.items():
            if isinstance(inside, ConfigDict):
                _check_block(f"config.{section}.{field}", snake_case(field), inside, components_of(section))
            elif field not in known:
                raise ValueError(unknown_field(f"config.{section}", field, known))


def _check_block(path: str, name: str, block: ConfigDict, components: Mapping[str, set[str]]) -> None:
    if name not in components:
        raise ValueError(
            f"{path} is a block of settings, and {unknown_name('component', name, list(components))}"
        )
    for field in block:
        if field not in components[name]:
            raise ValueError(unknown_field(path, field, components[name]))


def unknown_field(path: str, field: str, known: Iterable[str]) -> str:
    """The message for a field that nobody knows."""
    near = difflib.get_close_matches(field, sorted(known), n=1, cutoff=0.5)
    hint = f" Did you mean {path}.{near[0]}?" if near else f" Known: {', '.join(sorted(known)) or 'none'}."
    return f"unknown config field {path}.{field}.{hint}"


def complete(config: ConfigDict) -> ConfigDict:
    """A configuration with every field there is: defaults where it has none, other spellings resolved.

    A file of score_sde's may build its configuration from nothing, and then has its own fields only.

    Raises:
        ValueError: an unknown field, or two spellings of one setting that disagree.
    """
    check_fields(config)
    full = base_config()
    with full.ignore_type():  # of all sections, once: entering it walks over every field
        for section, fields in settings_by_section().items():
            for field in fields - set(full[section]):
                full[section][field] = None
        for section, given in config.items():
            if not isinstance(given, ConfigDict):
                full[section] = given
                continue
            for field, value in given.items():
                if isinstance(value, ConfigDict):
                    held = full[section].get(snake_case(field)) or {}  # the same block, written otherwise
                    full[section][snake_case(field)] = ConfigDict({**held, **value})
                else:
                    full[section][field] = value
        for path, meant in SPELLINGS.items():
            _resolve_spelling(full, config, path, meant)
        if full.sampling.num_steps is None:
            full.sampling.num_steps = full.model.num_scales
    return full


def _resolve_spelling(full: ConfigDict, config: ConfigDict, path: str, meant: str) -> None:
    section, _, spelling = path.partition(".")
    field = meant.partition(".")[2]
    values, given = full[section], config.get(section, {})
    if values.get(spelling) is not None:
        if given.get(field) not in (None, values[spelling]):
            raise ValueError(
                f"config.{path}={values[spelling]!r} is another spelling of config.{meant}, "
                f"which is {given[field]!r}; set one of them."
            )
        values[field] = values[spelling]
    values[spelling] = None
    if values[field] is None:
        values[field] = default_of(meant)
