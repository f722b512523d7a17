"""score-pc: train, sample and evaluate score-based and diffusion models.

python main.py --config configs/ddpm/digits.py --mode all
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from absl import flags

from run_lib import modes  # noqa: F401 - registers them
from run_lib.config.command_line import configure, default_workdir, find_configuration, parse
from run_lib.config.configuration import read
from run_lib.config.effects import check_effects, idle_sections
from run_lib.config.files import load_config_file
from run_lib.config.mode import register_mode
from run_lib.config.subject import build_placement
from run_lib.config.usage import usage, wants_help
from run_lib.evaluation.report import IncompleteError
from run_lib.files import writable
from run_lib.processes import refuse_several
from run_lib.run import Run

_CONFIG = flags.DEFINE_string("config", None, "Configuration: a file, or a shipped one such as ddpm/digits.")
_MODE = flags.DEFINE_string("mode", "all", "What to do.")
_WORKDIR = flags.DEFINE_string("workdir", None, "Where everything lands.")
_EVAL_FOLDER = flags.DEFINE_string("eval_folder", "eval", "Folder of an evaluation in the work directory.")
_TRACEBACK = flags.DEFINE_bool("traceback", False, "Show the traceback of an error.")


def main(argv: list[str]) -> None:
    if wants_help(argv):
        print(usage())
        return
    line = parse(argv)
    name = find_configuration(line, _CONFIG.value, _MODE.value)
    config, given = configure(load_config_file(name), line)
    kind = register_mode[_MODE.value]
    line.check_arguments(kind)
    refuse_several(_MODE.value, kind.many_processes)
    configuration = read(config, given, _MODE.value, line.arguments)
    mode = configuration.choose("mode").build()
    plan = mode.plan(configuration)
    check_effects(configuration)
    if idle := idle_sections(configuration):
        print(f"note: --mode {_MODE.value} does not read config.{', config.'.join(idle)}", file=sys.stderr)
    workdir = Path(_WORKDIR.value or default_workdir(name))
    if mode.uses_workdir:
        writable(workdir)
    mode.work(build_placement(configuration.values).place(plan), Run(workdir, _EVAL_FOLDER.value, name))


def guarded(argv: list[str]) -> None:
    """Run, and say what was wrong without a traceback when the user can mend it."""
    try:
        main(argv)
        sys.stdout.flush()
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
    except BrokenPipeError:  # whoever read the output has seen enough, as head does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what is left to be flushed
        raise SystemExit(141) from None


if __name__ == "__main__":
    guarded(sys.argv)
