"""Configuration files: found by name, executed, and their values returned."""

from __future__ import annotations

import inspect
from pathlib import Path

from ml_collections import ConfigDict

import configs
from run_lib.config.bare_names import load_module

SHIPPED = Path(configs.__file__).parent if configs.__file__ else Path(next(iter(configs.__path__)))


def find_config(name: str) -> Path | None:
    """The file that ``--config`` names: a path, or a shipped configuration such as ``ddpm/digits``; None: neither.

    A path that exists goes first; ``.py`` may be left out, and of a shipped one ``configs/`` too.
    """
    path = Path(name)
    candidates = [path, path.with_name(path.name + ".py")] if path.name else []
    if not path.is_absolute():
        inside = Path(*path.parts[1:]) if path.parts[:1] == ("configs",) else path
        candidates += (
            [SHIPPED / inside, (SHIPPED / inside).with_name(inside.name + ".py")] if inside.name else []
        )
    return next((c for c in candidates if c.is_file() and c.suffix == ".py"), None)


def load_config_file(name: str, option: str = "--config") -> ConfigDict:
    """The values of a configuration file.

    Args:
        name: as for ``find_config``; what follows a colon is the argument of its ``get_config``.
        option: that named it, for messages.

    Raises:
        ValueError: no such file, one that fails, or one without ``get_config``.
    """
    file, _, argument = name.partition(":")
    path = find_config(file)
    if path is None:
        raise ValueError(f"{option} names no file: {name}. Try --config configs/ddpm/digits.py")
    try:
        get_config = load_module(path, f"configuration_{path.stem}").get_config
        takes_argument = bool(inspect.signature(get_config).parameters)
        config = get_config(argument) if argument and takes_argument else get_config()
    except (Exception, SystemExit) as error:  # whatever a configuration file of the user's raises
        raise ValueError(
            f"the configuration {file} cannot be read: {type(error).__name__}: {last_line(error)}"
        ) from error
    if argument and not takes_argument:
        raise ValueError(f"the configuration {file} takes no argument, and {argument!r} follows its name.")
    if not isinstance(config, ConfigDict):
        raise ValueError(
            f"get_config of the configuration {file} returns a {type(config).__name__}, and not a ConfigDict."
        )
    return config


def last_line(error: BaseException) -> str:
    """The last line of what an error says."""
    lines = str(error.args[0] if isinstance(error, KeyError) and error.args else error).splitlines()
    return next((line.strip() for line in reversed(lines) if line.strip()), type(error).__name__)
