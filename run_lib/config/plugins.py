"""The user's own components: files or modules that register them."""

from __future__ import annotations

from pathlib import Path

from run_lib.config.bare_names import import_module, load_module


def load_plugins(names: str) -> None:
    """Import the user's files or modules, so that what they register is known.

    ``run_lib.config.bare_names`` has the rule by which their own imports are found.

    Args:
        names: paths that end with ``.py`` and dotted names of modules, with commas between them.

    Raises:
        ValueError: a plugin that is missing or fails to import; the cause is quoted.
    """
    for name in filter(None, (n.strip() for n in names.split(","))):
        try:
            if not name.endswith(".py"):
                import_module(name)
            elif Path(name).is_file():
                # A name of its own: a file of the user's may be called like a module of ours.
                load_module(Path(name), f"plugin_{Path(name).stem}")
            else:
                raise FileNotFoundError("no such file")
        except (Exception, SystemExit) as error:
            where = _line_in(name, error)
            raise ValueError(
                f"plugin {name!r} failed to import{where}: {type(error).__name__}: {error}"
            ) from error


def _line_in(name: str, error: BaseException) -> str:
    traceback, line = error.__traceback__, ""
    while traceback is not None:
        if Path(traceback.tb_frame.f_code.co_filename).resolve() == Path(name).resolve():
            line = f" at line {traceback.tb_lineno}"
        traceback = traceback.tb_next
    return line
