"""``--config.sampling=best.json``: fields of a section of the configuration from a file."""

from __future__ import annotations

import difflib
import json
import re
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from configs.base import get_config as default_config


def with_section_files(argv: list[str]) -> list[str]:
    """The arguments with each ``--config.SECTION=FILE`` replaced by what the file sets, in its place.

    So a field given later on the command line goes before the file's, and the file's before an earlier one.

    Args:
        argv: as the program was called; a file is JSON: an object of the section's fields, as ``--mode tune``
            writes them.

    Raises:
        ValueError: a file that is missing or of another form, or a field that the section has not.
    """
    expanded: list[str] = []
    left = list(argv)
    while left:
        argument = left.pop(0)
        match = re.fullmatch(r"--?config\.(\w+)(?:=(.*))?", argument)
        if match is None or not isinstance(default_config().get(match.group(1)), ConfigDict):
            expanded.append(argument)
            continue
        file = match.group(2) if match.group(2) is not None else (left.pop(0) if left else "")
        expanded += _arguments(match.group(1), file)
    return expanded


def _arguments(section: str, file: str) -> list[str]:
    flag, known = f"--config.{section}", default_config()[section]
    if not file or file.startswith("--") or not Path(file).is_file():
        raise ValueError(
            f"{flag} takes a JSON file of the section's fields, such as --mode tune writes, and {file!r} is no "
            f"file; single fields are set by {flag}.<field>=<value>."
        )
    try:
        fields = json.loads(Path(file).read_text())
    except ValueError as error:
        raise ValueError(f"{flag}={file} is no JSON ({error}); write an object of fields.") from error
    if not isinstance(fields, dict):
        raise ValueError(f'{flag}={file} must hold an object of fields, such as {{"snr": 0.1}}.')
    for field in fields:
        if field not in known:
            near = difflib.get_close_matches(field, list(known), n=1, cutoff=0.5)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise ValueError(f"{flag}={file}: config.{section} has no field {field!r}.{hint}")
    return [f"{flag}.{field}={_written(value, f'{flag}={file}, {field}')}" for field, value in fields.items()]


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
