"""``--config.sampling=best.json``: fields of a section of the configuration from a file."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from run_lib.config.configuration import known_fields
from run_lib.config.parsing import parse_value
from run_lib.config.roles import components_of
from run_lib.files import read_json
from sde_lib.registry import snake_case

NOT_FROM_FILES = {
    "guidance.classifier_config": "code to run",
    "guidance.guide_config": "code to run",
    "control.output": "a path to write to",
    "reconstruct.output": "a path to write to",
    "convert.path": "a path to write to",
    "tune.folder": "a path to write to",
    "pack.path": "a path to write to",
    "extractor.path": "a path to write to",
}
"""Fields that are only set on the command line, or by a configuration file, which is code by the user's own wish."""


def fields_of_file(section: str, file: str | None) -> Iterator[tuple[str, Any]]:
    """What a JSON file sets in a section, field by field.

    A field given later on the command line goes before the file's, and the file's before an earlier one.

    Args:
        section: of the configuration.
        file: an object of the section's fields, as ``--mode tune`` writes them; a component's block is an object.

    Raises:
        ValueError: a file that is missing or of another form, or a field that the section has not.
    """
    flag = f"--config.{section}"
    if not file or file.startswith("--") or not Path(file).is_file():
        raise ValueError(
            f"{flag} takes a JSON file of the section's fields, such as --mode tune writes, and {file or ''!r} is no "
            f"file; single fields are set by {flag}.<field>=<value>."
        )
    try:
        held = read_json(Path(file))
    except ValueError as error:
        raise ValueError(f"{flag}={file} {error}; write an object of fields.") from error
    if not isinstance(held, dict):
        raise ValueError(f'{flag}={file} must hold an object of fields, such as {{"snr": 0.1}}.')
    known, components = known_fields()[section], components_of(section)
    for field, value in held.items():
        if isinstance(value, dict) and snake_case(field) in components:
            for setting, inside in value.items():
                _check(setting, components[snake_case(field)], f"{flag}={file}: config.{section}.{field}")
                _refuse(f"{section}.{setting}", f"{flag}={file}")
                path = f"{section}.{snake_case(field)}.{setting}"
                yield path, parse_value(path, _written(inside, f"{flag}={file}, {field}.{setting}"))
            continue
        _check(field, known, f"{flag}={file}: config.{section}")
        _refuse(f"{section}.{field}", f"{flag}={file}")
        yield (
            f"{section}.{field}",
            parse_value(f"{section}.{field}", _written(value, f"{flag}={file}, {field}")),
        )


def _refuse(path: str, where: str) -> None:
    if path in NOT_FROM_FILES:
        raise ValueError(
            f"{where} sets {path}, which names {NOT_FROM_FILES[path]}: that belongs on the command line, as plugins "
            f"do. Give it as --config.{path}=..."
        )


def _check(field: str, known: set[str], where: str) -> None:
    if field == "plugins":
        raise ValueError(
            f"{where}: a file names no plugins; they belong on the command line, --config.plugins=..."
        )
    if field not in known:
        near = difflib.get_close_matches(field, sorted(known), n=1, cutoff=0.5)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"{where} has no field {field!r}.{hint}")


def _written(value: Any, where: str) -> str:
    if isinstance(value, list):
        return repr(_tuple(value))
    if value is None or isinstance(value, dict):
        raise ValueError(
            f"{where}: a field is a number, a name, true, false or a list, not {json.dumps(value)}; leave out what "
            f"is to keep its value."
        )
    return str(value)


def _tuple(values: list[Any]) -> tuple[Any, ...]:
    return tuple(_tuple(v) if isinstance(v, list) else v for v in values)
