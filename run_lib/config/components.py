"""Roles of a configuration: where a component is chosen by name, and which fields are its settings."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from ml_collections import ConfigDict

from sde_lib.registry import snake_case
from sde_lib.settings import REQUIRED, Setting, settings_of


class Choices(Protocol):
    """Factories by name: a ``Registry``, or several of them as one."""

    @property
    def kind(self) -> str: ...
    def __getitem__(self, name: str) -> Any: ...
    def __iter__(self) -> Iterator[str]: ...
    def __contains__(self, name: str) -> bool: ...


@dataclass(frozen=True, eq=False)
class Role:
    """A place in a configuration where one component is chosen.

    Attributes:
        field: that names the component, such as ``sampling.predictor``.
        choices: what can be chosen.
        section: where the component's settings are: the setting ``eta`` of a predictor is
            ``sampling.eta``, or ``sampling.ddim.eta`` in a block of the component's own.
        chosen: name of the component that a configuration chooses; None: the role is not filled.
        context: parameters that the rest of the plan gives, which are no settings.
        paths: parameter -> the field that sets it, where that is not ``section.parameter``.
        further: fields beside the parameters that a component understands.
        switch: whether the field is true or false, and switches the only one of the choices on.
        under: the choice under which the role is filled, such as ``sampling.method='pc'``; empty: any.
    """

    field: str
    choices: Choices
    section: str
    chosen: Callable[[ConfigDict], str | None]
    context: frozenset[str] = frozenset()
    paths: Mapping[str, str] = dataclasses.field(default_factory=dict)
    further: Callable[[Any], Iterable[str]] = lambda factory: ()
    under: str = ""
    switch: bool = False

    def choice(self, name: str) -> str:
        """How a configuration makes the choice: ``sampling.predictor='ddim'``."""
        return f"{self.field}={True if self.switch else name!r}"

    def settings(self, factory: Any) -> Iterator[tuple[str, Setting]]:
        """The settings of one of the choices, each with the field that sets it."""
        for setting in settings_of(factory):
            if setting.name not in self.context:
                yield self.paths.get(setting.name, f"{self.section}.{setting.name}"), setting

    def fields(self, name: str) -> frozenset[str]:
        """Every field that the component of the given name takes, those of its block included."""
        return _fields(self, name, self.choices[name])

    def flat(self, name: str, path: str) -> str:
        """The section's field of the setting that a field of the block of the given component sets; any other is
        itself."""
        block, _, setting = path.rpartition(".")
        own = block == f"{self.section}.{snake_case(name)}"
        return self.paths.get(setting, f"{self.section}.{setting}") if own else path


@contextmanager
def naming_fields(fields: Mapping[str, str]) -> Iterator[None]:
    """Have an error within the block name the fields that a user sets, and not the parameters of a function.

    A parameter is known by ``name=`` or ``(name)``, and one of several words wherever it stands: ``channels`` is
    English as well.

    Args:
        fields: parameter -> field.

    Raises:
        ValueError: that of the block, renamed.
    """
    try:
        yield
    except ValueError as error:
        said = str(error)
        for name, path in fields.items():
            written = rf"{name}(?!\w|\.\w|\()" if "_" in name else rf"{name}(?==)|(?<=\(){name}(?=\))"
            said = re.sub(rf"(?<![\w.'\"/-])(?:{written})", f"config.{path}", said)
        if said == str(error):
            raise
        raise ValueError(said) from error


@functools.cache
def _fields(role: Role, name: str, factory: Any) -> frozenset[str]:
    block = f"{role.section}.{snake_case(name)}"
    found = {f"{role.section}.{extra}" for extra in role.further(factory)}
    for path, setting in role.settings(factory):
        found |= {path, f"{block}.{setting.name}"}
    return frozenset(found)


@dataclass(frozen=True)
class Chosen:
    """A component and the settings that a configuration gives it; what it leaves unset is the component's default.

    Attributes:
        role: that it fills.
        name: under which it is registered.
        factory: a class or function.
        settings: by parameter.
    """

    role: Role
    name: str
    factory: Any
    settings: Mapping[str, Any]

    @property
    def takes(self) -> frozenset[str]:
        """Names of the factory's parameters."""
        return frozenset(inspect.signature(self.factory).parameters)

    def value(self, parameter: str) -> Any:
        """What a parameter is set to, or its default."""
        if parameter in self.settings:
            return self.settings[parameter]
        return inspect.signature(self.factory).parameters[parameter].default

    def resolved(self) -> dict[str, Any]:
        """Every setting that has a value, its default where it is not set."""
        found = {setting.name: self.settings.get(setting.name, setting.default)
                 for _, setting in self.role.settings(self.factory)}  # fmt: skip
        return {name: value for name, value in found.items() if value is not REQUIRED and value is not None}

    def build(self, **context: Any) -> Any:
        """Call the factory with its settings, and with what of ``context`` it names.

        Raises:
            ValueError: a class that lacks methods, or a parameter without a value.
        """
        if inspect.isabstract(self.factory):
            lacking = ", ".join(sorted(self.factory.__abstractmethods__))
            raise ValueError(f"{self.factory.__name__} must implement {lacking} to be used.")
        parameters = inspect.signature(self.factory).parameters
        named = {key: value for key, value in context.items() if key in parameters}
        arguments = {**self.settings, **named}
        for key, parameter in parameters.items():
            variadic = parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
            if parameter.default is parameter.empty and not variadic and key not in arguments:
                path = self.role.paths.get(key, f"{self.role.section}.{key}")
                raise ValueError(
                    f"{self.factory.__name__} needs {key!r}, and it is not in config.{path}, which is not set; "
                    f"give it a default value."
                )
        with self.naming_fields():
            return self.factory(**arguments)

    @contextmanager
    def naming_fields(self) -> Iterator[None]:
        """Have what the component refuses within the block name fields, and not the parameters that they set."""
        fields = {
            s.name: path for path, s in self.role.settings(self.factory) if not path.endswith(f".{s.name}")
        }
        with naming_fields(fields):
            yield

    def __str__(self) -> str:
        return f"{self.role.choices.kind} {self.name!r}"


def choose(role: Role, config: ConfigDict) -> Chosen | None:
    """The component that a complete configuration chooses for a role; None: the role is empty.

    Raises:
        ValueError: an unknown name; a value that the setting cannot have.
    """
    name = role.chosen(config)
    return None if name is None else choose_named(role, config, name)


def choose_named(role: Role, config: ConfigDict, name: str) -> Chosen:
    """A component for a role, with the settings that a complete configuration gives it.

    A setting in the component's own block goes before the section's field of the same name.

    Raises:
        ValueError: an unknown name; a value that the setting cannot have.
    """
    factory = role.choices[name]
    block = _block(config, role.section, name)
    settings: dict[str, Any] = {}
    wrong: list[str] = []
    for path, setting in role.settings(factory):
        section, _, last = path.partition(".")
        own = setting.name in block
        value = block[setting.name] if own else config[section].get(last)
        if value is not None:
            field = f"{role.section}.{snake_case(name)}.{setting.name}" if own else path
            with reasons(wrong):
                settings[setting.name] = _checked(setting, value, snake_case(name), field)
    if wrong:
        raise ValueError(" ".join(wrong))
    return Chosen(role, snake_case(name), factory, settings)


@contextmanager
def reasons(found: list[str]) -> Iterator[None]:
    """Collect what is wrong instead of raising it, so that all of it is said at once."""
    try:
        yield
    except ValueError as error:
        found.append(str(error))


def _checked(setting: Setting, value: Any, component: str, field: str) -> Any:
    try:
        return dataclasses.replace(setting, name=field.rpartition(".")[2]).check(value, of=component)
    except ValueError as error:
        raise ValueError(f"{error} (config.{field})") from error


def _block(config: ConfigDict, section: str, name: str) -> Mapping[str, Any]:
    """``config.section.name``, the settings of one component, where they are given so."""
    fields, block = config[section], snake_case(name)
    found = fields[block] if block in fields else None  # ``get`` would look for similar names first
    return found if isinstance(found, ConfigDict) else {}
