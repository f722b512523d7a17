"""score-pc: train, sample and evaluate score-based and diffusion models.

python main.py --config configs/ddpm/digits.py --mode all
"""

from __future__ import annotations

import sys
from pathlib import Path

from absl import flags
from ml_collections import config_flags

from run_lib.config.build import build
from run_lib.config.command_line import default_workdir, parse
from run_lib.evaluation.report import IncompleteError
from run_lib.files import writable, write_json
from run_lib.modes import MODES, WITHOUT_WEIGHTS
from run_lib.processes import refuse_several
from run_lib.run import Run
from sde_lib.registry import unknown_name

_CONFIG = config_flags.DEFINE_config_file(
    "config", None, "Configuration file; --config.<field>=<value> overrides."
)
_MODE = flags.DEFINE_string("mode", "all", f"What to do: {', '.join(MODES)}.")
_WORKDIR = flags.DEFINE_string(
    "workdir", None, "Where everything lands; default runs/<config path without .py>."
)
_EVAL_FOLDER = flags.DEFINE_string(
    "eval_folder", "eval", "Folder of an evaluation inside the work directory."
)
_TRACEBACK = flags.DEFINE_bool("traceback", False, "Show the traceback of an error.")


def main(argv: list[str]) -> None:
    if len(argv) > 1:
        raise ValueError(f"unexpected argument {argv[1]!r}; flags begin with --.")
    if not flags.FLAGS["config"].present:
        raise ValueError("which configuration? Try --config configs/ddpm/digits.py")
    config_file = config_flags.get_config_filename(flags.FLAGS["config"])
    if _MODE.value not in MODES:
        raise ValueError(unknown_name("mode", _MODE.value, list(MODES)))
    refuse_several(_MODE.value)
    experiment = build(_CONFIG.value, weights=_MODE.value not in WITHOUT_WEIGHTS)
    workdir = writable(Path(_WORKDIR.value or default_workdir(config_file)))
    write_json(workdir / "config.json", experiment.config)
    MODES[_MODE.value](Run(experiment, workdir, _EVAL_FOLDER.value, config_file))


def guarded(argv: list[str]) -> None:
    """Run, and say what was wrong without a traceback when the user can mend it."""
    try:
        main(parse(argv))
    except ValueError as error:
        if flags.FLAGS.is_parsed() and _TRACEBACK.value:
            raise
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    except IncompleteError as error:
        print(f"incomplete: {error}", file=sys.stderr)
        raise SystemExit(3) from None
    except KeyboardInterrupt:
        print("interrupted: the same command goes on from the latest checkpoint", file=sys.stderr)
        raise SystemExit(130) from None


if __name__ == "__main__":
    guarded(sys.argv)
