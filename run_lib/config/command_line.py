"""The command line: absl's flags, and the fields of a configuration, with every mistake as one line."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from absl import flags
from ml_collections import ConfigDict

from configs.base import get_config as base_config
from run_lib.config.configuration import check_fields, complete, known_fields, normalised, unknown_field
from run_lib.config.files import last_line
from run_lib.config.mode import Mode, register_mode
from run_lib.config.parsing import kinds_of, parse_value, set_field
from run_lib.config.plugins import load_plugins
from run_lib.config.roles import components_of
from run_lib.config.section_files import fields_of_file
from sde_lib.registry import snake_case

FLAG = re.compile(r"-(?!\.?\d|inf\b)")
"""How flags begin, and negative numbers do not."""


@dataclass(frozen=True)
class Override:
    """``--config.PATH=TEXT``; ``text`` is None where no value was written."""

    path: str
    text: str | None


@dataclass(frozen=True)
class CommandLine:
    """A parsed command line.

    Attributes:
        arguments: those that are no flags, after the program's name.
        overrides: of the configuration, in their order.
    """

    arguments: list[str]
    overrides: tuple[Override, ...]

    @property
    def plugins(self) -> str:
        """The plugins that it names."""
        return next((o.text or "" for o in reversed(self.overrides) if o.path == "plugins"), "")

    def check_arguments(self, mode: type[Mode]) -> None:
        """Refuse arguments that are no flags, of a mode that takes none."""
        if self.arguments and not mode.takes_arguments:
            word = self.arguments[0]
            hint = f" For the mode: --mode {word}." if word in register_mode else ""
            raise ValueError(f"unexpected argument {self.arguments[0]!r}; flags begin with --.{hint}")


def parse(argv: list[str]) -> CommandLine:
    """Set absl's flags and collect the overrides of the configuration.

    Raises:
        ValueError: an unknown flag, or a flag's value of another type.
    """
    rest, overrides = [argv[0]], []
    left = argv[1:]
    while left:
        argument = left.pop(0)
        if re.match(r"--?flagfile(=|$)", argument):
            raise ValueError(
                "--flagfile is not taken: no file names code or a place to write to. Write the flags on the command "
                "line; fields of one section may come from a file, --config.SECTION=FILE.json."
            )
        match = re.fullmatch(r"--?(no)?config\.([\w.]+)(?:=(.*))?", argument, re.DOTALL)
        if match is None:
            rest.append(argument)
            continue
        negated, text, path = match[1], match[3], normalised(match[2])
        if negated:
            overrides.append(Override(path, "false"))
            continue
        # As absl has it, a value may follow as the next argument, unless the field is a switch.
        if text is None and left and not FLAG.match(left[0]) and not _is_switch(path):
            text = left.pop(0)
        overrides.append(Override(path, text))
    try:
        arguments: list[str] = flags.FLAGS(rest)
    except flags.Error as error:
        said = last_line(error)
        hint = ": write --FLAG=VALUE; --help has the flags." if said.startswith("Missing value") else ""
        raise ValueError(f"{said}{hint}") from error
    return CommandLine(arguments[1:], tuple(overrides))


def find_configuration(line: CommandLine, config: str | None, mode: str) -> str:
    """The configuration that is named; without one ``base``, the defaults, for a mode that needs none.

    Raises:
        ValueError: none is named and the mode needs one, an unknown mode, arguments that it does not take.
    """
    if mode not in register_mode:
        load_plugins(line.plugins)
    if config and mode not in register_mode:
        return config  # its plugins may have the mode
    kind = register_mode[mode]
    line.check_arguments(kind)
    if not config and kind.needs_configuration:
        raise ValueError(
            "which configuration? Try --config configs/ddpm/digits.py (a small network, trained, sampled and evaluated "
            "in minutes) or --config toy/mixture_2d (nothing to train); --mode doctor looks here, --mode list "
            "names what can be chosen, and --help has modes, flags and examples."
        )
    return config or "base"


def _is_switch(path: str) -> bool:
    section, _, field = path.partition(".")
    base = base_config()
    if section not in base or (field and not isinstance(base[section], ConfigDict)):
        return False
    return kinds_of(path) == (bool,)


def configure(config: ConfigDict, line: CommandLine) -> tuple[ConfigDict, list[str]]:
    """A file's configuration with the overrides of the command line; and the fields that it gave.

    Raises:
        ValueError: a misspelt field, a value of another type, a section file that cannot be read, a plugin that
            cannot be imported.
    """
    load_plugins(line.plugins or config.get("plugins", ""))
    check_fields(config)
    values, given = config.copy_and_resolve_references(), []
    for path, value in _values(line):
        set_field(values, path, value)
        given.append(path)
    complete(values)
    return values, given


def _values(line: CommandLine) -> Iterator[tuple[str, object]]:
    for override in line.overrides:
        section, _, field = override.path.partition(".")
        if not field and isinstance(base_config().get(section), ConfigDict):
            yield from fields_of_file(section, override.text)
            continue
        _check_path(override.path)
        if override.text is None and kinds_of(override.path) != (bool,):
            raise ValueError(f"--config.{override.path} needs a value: --config.{override.path}=...")
        yield override.path, True if override.text is None else parse_value(override.path, override.text)


def _check_path(path: str) -> None:
    """Refuse a field that no section and no component has.

    Raises:
        ValueError: naming the nearest.
    """
    section, _, field = path.partition(".")
    base = base_config()
    if section not in base:
        raise ValueError(unknown_field("config", section, list(base)))
    if not field:
        return
    if not isinstance(base[section], ConfigDict):
        raise ValueError(
            f"config field config.{section} has no part {field!r}: it is a value, {base[section]!r}."
        )
    name, _, setting = field.partition(".")
    if setting:
        components = components_of(section)
        if snake_case(name) not in components:
            raise ValueError(unknown_field(f"config.{section}", name, components))
        if setting not in components[snake_case(name)]:
            raise ValueError(unknown_field(f"config.{section}.{name}", setting, components[snake_case(name)]))
    elif name not in known_fields()[section]:
        raise ValueError(unknown_field(f"config.{section}", name, known_fields()[section]))


def work_directory(given: str | None, config: str, modes: Path | None) -> Path:
    """The folder that ``--workdir`` names; without it the mode's, and where it has none ``default_workdir``.

    Raises:
        ValueError: an empty name.
    """
    if given is not None and not given.strip():
        raise ValueError("--workdir is empty: name a folder, or leave the flag out.")
    return Path(given) if given is not None else modes or default_workdir(config)


def default_workdir(config: str) -> Path:
    """runs/<path of the configuration, without configs/ and .py>, also for a path outside this folder.

    So a shipped one has the same folder by its name and by its path.
    """
    path = Path(config.partition(":")[0]).with_suffix("")
    if path.is_absolute() or ".." in path.parts:
        path = Path(*[part for part in path.parts if part not in (path.anchor, "..")][-3:])
    return Path("runs") / (path.relative_to("configs") if path.parts[:1] == ("configs",) else path)
