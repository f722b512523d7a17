"""The user's own components: files or modules that register them."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path


def load_plugins(names: str) -> None:
    """Import the user's files or modules, so that what they register is known.

    Raises:
        ValueError: a plugin that is missing or fails to import; the cause is quoted.
    """
    for name in filter(None, (n.strip() for n in names.split(","))):
        try:
            if name.endswith(".py"):
                if not Path(name).is_file():
                    raise FileNotFoundError("no such file")
                # A name of its own: a file of the user's may be called like a module of ours.
                spec = importlib.util.spec_from_file_location(f"plugin_{Path(name).stem}", name)
                assert spec is not None and spec.loader is not None
                module = importlib.util.module_from_spec(spec)
                sys.modules[spec.name] = module
                spec.loader.exec_module(module)
            else:
                importlib.import_module(name)
        except (Exception, SystemExit) as error:
            where = _line_in(name, error)
            raise ValueError(
                f"plugin {name!r} failed to import{where}: {type(error).__name__}: {error}"
            ) from error


def _line_in(name: str, error: BaseException) -> str:
    traceback, line = error.__traceback__, ""
    while traceback is not None:
        if traceback.tb_frame.f_code.co_filename.endswith(name):
            line = f" at line {traceback.tb_lineno}"
        traceback = traceback.tb_next
    return line
