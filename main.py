"""score-pc: train, sample and evaluate score-based and diffusion models.

    python main.py --config configs/ddpm/digits.py --mode all
"""

from __future__ import annotations

import sys
from pathlib import Path

from absl import app, flags
from ml_collections import config_flags

from run_lib.build import build
from run_lib.files import writable, write_json
from run_lib.modes import MODES
from run_lib.run import Run
from sde_lib.registry import unknown_name

_CONFIG = config_flags.DEFINE_config_file("config", None, "Configuration file; --config.<field>=<value> overrides.")
_MODE = flags.DEFINE_string("mode", "all", f"What to do: {', '.join(MODES)}.")
_WORKDIR = flags.DEFINE_string("workdir", None, "Where everything lands; default runs/<config path without .py>.")
_EVAL_FOLDER = flags.DEFINE_string("eval_folder", "eval", "Folder of an evaluation inside the work directory.")
_TRACEBACK = flags.DEFINE_bool("traceback", False, "Show the traceback of an error.")


def main(argv: list[str]) -> None:
    if len(argv) > 1:
        raise ValueError(f"unexpected argument {argv[1]!r}; flags begin with --.")
    config_file = config_flags.get_config_filename(flags.FLAGS["config"])
    if config_file is None or not Path(config_file).is_file():
        raise ValueError(f"--config names no file: {config_file}. Try --config configs/ddpm/digits.py")
    if _MODE.value not in MODES:
        raise ValueError(unknown_name("mode", _MODE.value, list(MODES)))
    experiment = build(_CONFIG.value)
    workdir = writable(Path(_WORKDIR.value or default_workdir(config_file)))
    write_json(workdir / "config.json", experiment.config)
    MODES[_MODE.value](Run(experiment, workdir, _EVAL_FOLDER.value, config_file))


def default_workdir(config_file: str) -> Path:
    """runs/<path of the configuration, without .py>, also for a path outside this folder."""
    path = Path(config_file).with_suffix("")
    if path.is_absolute() or ".." in path.parts:
        path = Path(*[part for part in path.parts if part not in (path.anchor, "..")][-3:])
    return Path("runs") / path


def parse(argv: list[str]) -> list[str]:
    """Absl's parser; a misspelt config field is an error in one line."""
    try:
        rest: list[str] = app.parse_flags_with_usage(argv)
    except (AttributeError, KeyError, TypeError) as error:
        raise SystemExit(f"error: {_plain(error)}") from None
    return rest


def _plain(error: Exception) -> str:
    return str(error.args[0] if error.args else error).replace("\\n", " ").replace("\n", " ").replace("'", "").strip('"')


def guarded(argv: list[str]) -> None:
    """Run, and say what was wrong without a traceback when the user can mend it."""
    try:
        main(argv)
    except ValueError as error:
        if _TRACEBACK.value:
            raise
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None


if __name__ == "__main__":
    app.run(guarded, flags_parser=parse)
