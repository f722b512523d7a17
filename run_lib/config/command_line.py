"""The command line: absl's flags, with every mistake as one line."""

from __future__ import annotations

import difflib
import re
import sys
from pathlib import Path

from absl import flags
from ml_collections import ConfigDict

from configs.base import get_config as default_config
from run_lib.config.section_files import with_section_files


def parse(argv: list[str]) -> list[str]:
    """The arguments that are no flags, after the program's name.

    Raises:
        ValueError: an unknown flag, a misspelt field, a value of another type, a configuration that fails.
    """
    argv = with_section_files(argv)
    sys.argv = argv  # where ml_collections looks for the fields that are overridden
    file = config_file(argv)
    if file is not None and not Path(file.split(":")[0]).is_file():
        raise ValueError(f"--config names no file: {file}. Try --config configs/ddpm/digits.py")
    try:
        rest: list[str] = flags.FLAGS(argv)
    except flags.Error as error:
        # absl passes on what a configuration raises as the text of its traceback.
        where = f"the configuration {file} cannot be read: " if "Traceback" in str(error) else ""
        raise ValueError(_misspelt(argv) or where + _last_line(error)) from error
    except Exception as error:  # whatever a configuration file of the user's raises
        wrong = f"{type(error).__name__}: {_last_line(error)}"
        raise ValueError(_misspelt(argv) or f"the configuration {file} cannot be read: {wrong}") from error
    return rest


def config_file(argv: list[str]) -> str | None:
    """The value of --config."""
    for argument, following in zip(argv, [*argv[1:], ""], strict=True):
        name, equals, value = argument.lstrip("-").partition("=")
        if name == "config" and argument.startswith("-"):
            return value if equals else following
    return None


def default_workdir(config: str) -> Path:
    """runs/<path of the configuration, without .py>, also for a path outside this folder."""
    path = Path(config).with_suffix("")
    if path.is_absolute() or ".." in path.parts:
        path = Path(*[part for part in path.parts if part not in (path.anchor, "..")][-3:])
    return Path("runs") / path


def _misspelt(argv: list[str]) -> str | None:
    """What is wrong with the first --config.<field> that no configuration has."""
    for argument in argv:
        match = re.match(r"--?(?:no)?config\.([\w.]+)", argument)
        if match is None:
            continue
        known, path = default_config(), "config"
        for part in match.group(1).split("."):
            if not isinstance(known, ConfigDict):
                return f"config field {path} has no part {part!r}: it is a value, {known!r}."
            if part not in known:
                near = difflib.get_close_matches(part, list(known), n=1, cutoff=0.5)
                hint = f" Did you mean {path}.{near[0]}?" if near else f" Known: {', '.join(known)}."
                return f"unknown config field {path}.{part}.{hint}"
            known, path = known[part] if known[part] is not None else 0, f"{path}.{part}"
    return None


def _last_line(error: Exception) -> str:
    lines = [
        line.strip() for line in str(error.args[0] if isinstance(error, KeyError) else error).splitlines()
    ]
    return next((line for line in reversed(lines) if line), type(error).__name__)
