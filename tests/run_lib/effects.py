"""What setting a field does to the plan of a mode: it is changed, the field is refused by name, or nothing happens."""

from __future__ import annotations

import functools
import hashlib
import itertools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from ml_collections import ConfigDict

from run_lib.config.configuration import Configuration, base_fields, read
from run_lib.config.effects import check_effects
from run_lib.config.fields import declared_fields
from run_lib.config.files import load_config_file
from run_lib.config.parsing import set_field
from run_lib.config.reading import reads
from run_lib.config.roles import ROLES
from sde_lib.settings import REQUIRED, Setting
from tests.reachable import parts

Effect = Literal["changed", "refused", "nothing"]
Unused = frozenset[tuple[str, str]]
RECORDS = frozenset(
    {
        ("Subject", "record"), ("Subject", "components"), ("ReconstructionPlan", "depends_on"),
        ("TuningPlan", "depends_on"), ("TuningPlan", "values"), ("ControlPlan", "facts"),
        ("DescriptionPlan", "unused"), ("Chosen", "role"), ("ConversionPlan", "process"),
        ("Guidance", "likelihood_of"), ("Guidance", "bound_of"),
    }
)  # fmt: skip
"""Parts of plans that say how they were configured, and decide nothing."""


@dataclass(frozen=True)
class Case:
    """A configuration that a mode plans from.

    Args:
        config: path or name of a configuration file.
        mode: of the program.
        fields: set on top of it.
        unused: parts of the plan, class and field, that the mode's work does not touch.
    """

    config: str
    mode: str
    fields: Mapping[str, Any] = field(default_factory=dict)
    unused: Unused = frozenset()

    def configuration(self, changes: Mapping[str, Any]) -> Configuration:
        """It with the changes, which are given as on a command line."""
        config = _loaded(self.config).copy_and_resolve_references()
        for path, value in {**self.fields, **changes}.items():
            set_field(config, path, value)
        return read(config, changes, self.mode)

    def plan(self, changes: Mapping[str, Any]) -> tuple[Configuration, Any]:
        """The plan of the mode, as the program makes it.

        Raises:
            ValueError: it cannot be made, or a change has no effect.
        """
        configuration = self.configuration(changes)
        plan = configuration.choose("mode").build().plan(configuration)
        check_effects(configuration)
        return configuration, plan

    def fingerprint(self, changes: Mapping[str, Any]) -> dict[str, Any]:
        """All that the mode's work has of the plan.

        Raises:
            ValueError: see ``plan``.
        """
        return fingerprint(self.plan(changes)[1], self.unused | RECORDS)


@functools.cache
def _loaded(config: str) -> ConfigDict:
    return load_config_file(config)


def fingerprint(plan: Any, without: Unused) -> dict[str, Any]:
    """Every value that an object holds, however deep, by the way to it; what is shared is there once.

    Args:
        plan: the object.
        without: parts, class and field, that are left out.
    """
    found: dict[str, Any] = {}
    seen: dict[int, Any] = {}
    waiting = [("", plan)]
    while waiting:
        where, one = waiting.pop()
        if id(one) in seen:
            continue
        found[where] = _value(one)
        kind = type(one).__name__
        inside = {name: part for name, part in parts(one).items() if (kind, name) not in without}
        if inside:
            seen[id(one)] = one  # held, so that no other object gets its address
            waiting += [(f"{where}.{name}", part) for name, part in inside.items()]
    return found


def _value(one: Any) -> Any:
    if isinstance(one, torch.Tensor | np.ndarray):
        held = torch.as_tensor(one)
        content = b"" if held.is_meta else held.detach().contiguous().view(-1).numpy().tobytes()
        return (str(held.dtype), tuple(held.shape), hashlib.sha1(content).hexdigest())
    if one is None or isinstance(one, bool | int | float | str | bytes | Path | torch.dtype | torch.device):
        return repr(one)
    if callable(one) and hasattr(one, "__qualname__"):
        return f"{one.__module__}.{one.__qualname__}"
    return type(one).__qualname__


def effect(case: Case, before: Mapping[str, Any], changes: Mapping[str, Any]) -> tuple[Effect, str]:
    """What changes do, and where the plan is another or why it is refused."""
    try:
        after = case.fingerprint(changes)
    except ValueError as error:
        return "refused", str(error)
    if after == before:
        return "nothing", ""
    return "changed", next(key for key in sorted({*before, *after}) if before.get(key) != after.get(key))


def settings(configuration: Configuration) -> dict[str, Setting]:
    """The fields that a configuration has: those of ``configs/base.py``, and the chosen components' settings."""
    found = {path: s for path, s in declared_fields().items() if path in base_fields()}
    for role in ROLES.values():
        if (name := role.chosen(configuration.values)) is not None:
            found |= dict(role.settings(role.choices[name]))
        if not role.switch:
            found[role.field] = Setting(role.field, str, choices=tuple(role.choices))
        else:
            found[role.field] = Setting(role.field, bool, default=False)
    return {path: s for path, s in found.items() if not path.startswith("mode")}


def others(setting: Setting, now: Any) -> Iterator[Any]:
    """Values that a setting may have, and not the one it has."""
    now = setting.default if now is None and setting.default is not REQUIRED else now
    for value in _candidates(setting, now):
        try:
            checked = setting.check(value)
        except ValueError:
            continue
        if checked is not None and checked != now:
            yield checked


def _candidates(setting: Setting, near: Any) -> Iterator[Any]:
    if setting.choices is not None:
        yield from setting.choices
        return
    kinds = get_args(setting.type) or (setting.type,)
    if bool in kinds:
        yield from (True, False)
    if int in kinds:
        yield from _numbers(int, near)
    if float in kinds:
        yield from _numbers(float, near)
    if tuple in kinds:
        inside = get_args(setting.element) or (setting.element,)
        held = list(near) if isinstance(near, tuple | list) else []
        for kind in (int, float):
            if kind in inside:
                for value in _numbers(kind, held[0] if held else 1):
                    yield (*held[:-1], value) if held else (value,)
                    yield (value,)
        yield tuple(held[:-1])
    if str in kinds:
        yield "other"


def _numbers(kind: type, near: Any) -> Iterator[Any]:
    at = near if isinstance(near, int | float) and not isinstance(near, bool) else 1
    yield from (kind(value) for value in (at + 1, at * 0.9, at / 2 + 0.1, at * 2, 0.3, 1, 2, 3, 0))


def value_of(configuration: Configuration, path: str) -> Any:
    """The value of a field."""
    found: Any = configuration.values
    for name in path.split("."):
        found = found[name]
    return found


OTHER_VALUES: Mapping[str, tuple[Any, ...]] = {
    "device": ("meta",),
    "data.shape": ((1, 8, 4),),
    "tune.sweep": ("num_steps=4",),
    "reconstruct.input": ("train",),
    "sampling.listed_times": ((0.8, 0.5, 0.1),),
    "sampling.ode_method": ("dop853",),
    "training.preview_predictor": ("heun",),
    "sampling.shares": (((1.0,), (0.25, 0.75)),),
}
"""Of fields whose declaration says too little."""
IMPORTED = "plugins"
"""Modules that it names are imported before anything is planned."""


def tried(configuration: Configuration, path: str, setting: Setting, most: int) -> list[Any]:
    """Other values of a field, at most so many."""
    found = OTHER_VALUES[path] if path in OTHER_VALUES else others(setting, value_of(configuration, path))
    return list(itertools.islice(found, most))


def wrong_effects(case: Case, paths: Iterable[str] | None = None, *, most: int = 5) -> list[str]:
    """What is wrong with fields in a mode: one that it reads changes nothing, or one that it does not read does.

    Args:
        case: the configuration and the mode.
        paths: the fields that are tried; None: all that the configuration has.
        most: values of each.
    """
    configuration, before = case.configuration({}), case.fingerprint({})
    known = settings(configuration)
    chosen = [path for path in known if path != IMPORTED and (paths is None or path in paths)]
    values = {path: tried(configuration, path, known[path], most) for path in chosen}
    found = [f"{case.mode}: no other value of {path} is known" for path in chosen if not values[path]]
    silent: dict[str, Any] = {}
    chosen_anew: list[dict[str, Any]] = [{} for _ in range(most // 2)]
    for path in chosen:
        if reads(configuration, path):
            found += _without_effect(case, before, path, values[path])
        # Apart from the others: what another choice has of settings is another configuration's.
        elif known[path].choices is not None:
            for k, value in enumerate(values[path][: len(chosen_anew)]):
                chosen_anew[k][path] = value
        elif values[path]:
            silent[path] = values[path][0]
    found += with_effect(case, before, silent, values)
    return found + [one for changes in chosen_anew for one in with_effect(case, before, changes)]


def _without_effect(case: Case, before: Mapping[str, Any], path: str, values: Iterable[Any]) -> list[str]:
    seen = []
    for value in values:
        kind, why = effect(case, before, {path: value})
        if kind == "changed":
            return []
        seen.append((value, kind, why))
    named = all(kind == "refused" and path.rpartition(".")[2] in why for _, kind, why in seen)
    return [] if named else [f"{case.mode} is said to read {path}, and its plan is the same: {seen}"]


def with_effect(
    case: Case,
    before: Mapping[str, Any],
    changes: Mapping[str, Any],
    values: Mapping[str, Sequence[Any]] = {},
) -> list[str]:
    """The fields that are said not to be read and change the plan.

    All are tried at once. Where that is refused, the fields whose being set is, the others that the refusal names,
    and the rest are tried apart; where that parts nothing, or the plan is another, halves are. Where one field's value
    is refused, ``values`` has others: one must be taken, or every refusal name the field.
    """
    if not changes:
        return []
    kind, where = effect(case, before, changes)
    if kind == "nothing":
        return []
    if kind == "refused" and len(changes) == 1:
        ((path, _),) = changes.items()
        name, left = path.rpartition(".")[2], list(values.get(path, ()))[1:]
        if left:
            return with_effect(case, before, {path: left[0]}, {path: left})
        return [] if name in where else [f"{case.mode}: no value of {path} is taken: {where}"]
    if len(changes) == 1:
        return [f"{case.mode} is said not to read {changes}, and its plan is another: {where}"]
    apart = _apart(where, changes) if kind == "refused" else [changes]
    if len(apart) == 1:
        items, half = list(changes.items()), len(changes) // 2
        apart = [dict(items[:half]), dict(items[half:])]
    return [one for part in apart for one in with_effect(case, before, part, values)]


def _apart(refusal: str, changes: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The changes that a refusal says are set, the others that it names, and the rest; none of them empty."""
    named = {word.rstrip(".").removeprefix("config.") for word in re.findall(r"[\w.]+", refusal)}
    said = {word.removeprefix("config.") for word in re.findall(r"([\w.]+) is set", refusal)}
    parts: dict[tuple[bool, bool], dict[str, Any]] = {}
    for path, value in changes.items():
        parts.setdefault((path in said, path in named), {})[path] = value
    return list(parts.values())
